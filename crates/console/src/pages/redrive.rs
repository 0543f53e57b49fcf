//! A redrive in three steps: the plan, the confirmed start, and its progress, which does not need the tab.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State as From};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use futures::stream;
use maud::{Markup, html};
use operate::dead_letters::redrive::{RedriveReport, redrive};
use operate::dead_letters::{self, Open};
use runtime::Shutdown;
use serde::Deserialize;

use super::group::{Confirmed, Decided, Group, PATH, address_of, form, is_or_are, source, was_or_were, what};
use super::{failed, layout, shown, time, wants_token};
use crate::State;
use crate::guard::{Visitor, is_of_session, of_another_session};
use crate::redrives::{self, Busy, Chosen, Job};

const TITLE: &str = "Redrive dead letters";
/// Letters that a plan reads: enough to see what would become of them, and read in seconds.
const PLANNED: u64 = 1_000;
/// Reasons why letters stay that are shown, those of the most letters first.
const MOST_REASONS: usize = 12;
/// Between two looks of the live page.
const EVERY: Duration = Duration::from_secs(1);

/// The plan: how many, and what would become of them. Nothing changes.
pub(crate) async fn plan(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(group): Query<Group>,
) -> Response {
    let Some(form_key) = &visitor.form_key else { return wants_token(TITLE, PATH, &visitor) };
    let (chosen, installation) = (group.so_far(), state.installation());
    let open = match dead_letters::open(&installation, &chosen.filter()).await {
        Ok(open) => open,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let report = match redrive(&installation, &chosen.request(PLANNED, None)).await {
        Ok(report) => report,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let content = html! {
        h1 { (TITLE) }
        (planned(&chosen, open, &report, form_key))
        p { a href=(PATH) { "Back to all dead letters" } }
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}

/// What would become of them, and the form that confirms it: where some of those that were read can be redriven, or
/// others were not read.
fn planned(chosen: &Chosen, open: Open, report: &RedriveReport, form_key: &str) -> Markup {
    let Open { all, within_reach } = open;
    let is_part = report.seen < within_reach;
    let discard = html! { a href=(address_of("discard", chosen)) { "discard them" } };
    let meaning = html! {
        p { "They are appended to the log again and read as of today; an event that has come in another way meanwhile counts once. "
            "Letters that came after this plan was made are left alone." }
    };
    html! {
        (what(chosen))
        @if all == 0 { p class="state fine" { "None of them is open." } } @else {
            p class="state attention" { (all) " " (is_or_are(all)) " open. Nothing has happened yet." }
            @if within_reach < all {
                p { (all - within_reach) " of them " (is_or_are(all - within_reach)) " of topics that Kafka no longer has, and stay open: their bytes are gone. "
                    "To give them up, once the others are redriven: " (discard) "." }
            }
        }
        @if within_reach > 0 {
            h2 { "What would become of them" }
            @if is_part { p { "Of the oldest " (report.seen) ", which were read for this plan; the others were not looked at:" } }
            (figures(report, "would be redriven"))
            @if report.redriven == 0 && is_part {
                p class="state attention" { "None of those that were read can be redriven now. They stay as they are; of the others, those that can be are redriven." }
            }
            @if report.redriven == 0 && !is_part {
                p { "None of them can be redriven now, so there is nothing to confirm. Mend the cause first, or " (discard) "." }
            } @else { (form(("Redrive", "redrive"), chosen, within_reach, form_key, &meaning, "Why: what was mended")) }
        }
    }
}

/// Starts what was planned.
pub(crate) async fn start(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Extension(shutdown): Extension<Shutdown>,
    Form(form): Form<Confirmed>,
) -> Response {
    let Decided { chosen, who, why } = match form.decided(&visitor) {
        Ok(decided) => decided,
        Err(refused) => return *refused,
    };
    if let Err(busy) = state.redrives.is_free() {
        return not_started(&busy, &visitor);
    }
    let installation = state.installation();
    let open = match dead_letters::open(&installation, &chosen.filter()).await {
        Ok(open) => open.within_reach,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let work = |job| redrives::redrive(installation.as_ref().clone(), job);
    match state.redrives.start(chosen, open, (who, why), &shutdown, work) {
        Ok(job) => Redirect::to(&address(&job)).into_response(),
        Err(busy) => not_started(&busy, &visitor),
    }
}

fn not_started(why: &Busy, visitor: &Visitor) -> Response {
    let content = html! {
        h1 { (TITLE) }
        (busy(why, "Not started"))
    };
    (StatusCode::CONFLICT, layout(TITLE, PATH, visitor, &content)).into_response()
}

/// What was not done since another decision about dead letters is on its way.
pub(crate) fn busy(busy: &Busy, not_done: &str) -> Markup {
    html! {
        @match busy {
            Busy::Redrive(running) => {
                p class="state attention" role="alert" { (not_done) ": a redrive runs, and one decision about dead letters is carried out at a time." }
                p { a href=(address(running)) { "Look at the one that runs" } }
            }
            Busy::Discard => p class="state attention" role="alert" { (not_done) ": others are being discarded, which takes seconds. Try again then." },
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Which {
    number: u64,
}

/// A redrive that was started here: how far it is.
pub(crate) async fn progress(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(Which { number }): Query<Which>,
) -> Response {
    let Some(job) = state.redrives.find(number) else { return unknown(&visitor) };
    let content = html! {
        h1 { "Redrive " (job.number) }
        p id="stale" class="state attention" role="status" hidden { "Not live: the stream has stopped. What is shown is old." }
        @if job.is_over() { (standing(&job)) } @else {
            div id="live" data-live=(format!("/dead-letters/progress/live?number={number}")) aria-live="off" { (standing(&job)) }
            // Beside what is live, so that the keyboard stays on the button; it goes when the redrive is over.
            div class="running" {
                p class="quiet" { "This page may be closed: the redrive goes on." }
                @match &visitor.form_key {
                    Some(form_key) => form class="card" method="post" action="/dead-letters/cancel" {
                        input type="hidden" name="form_key" value=(form_key);
                        input type="hidden" name="number" value=(number);
                        button { "Cancel what is left" }
                    },
                    None => p class="quiet" { "Cancelling it wants the token." },
                }
            }
        }
        p { a href=(PATH) { "Back to all dead letters" } }
    };
    layout("Redrive", PATH, &visitor, &content).into_response()
}

/// The same, again and again until it has ended.
pub(crate) async fn live(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Extension(shutdown): Extension<Shutdown>,
    Query(Which { number }): Query<Which>,
) -> Response {
    let Some(job) = state.redrives.find(number) else { return unknown(&visitor) };
    let again = stream::unfold((Some(job), shutdown), |(job, shutdown)| async {
        // None: what it has come to was sent.
        let job = job?;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.given() => return None,
        }
        let is_over = job.is_over();
        let event = Event::default().data(standing(&job).into_string().replace(['\r', '\n'], " "));
        Some((Ok::<_, Infallible>(event), ((!is_over).then_some(job), shutdown)))
    });
    Sse::new(again).keep_alive(KeepAlive::default()).into_response()
}

#[derive(Deserialize)]
pub(crate) struct Cancel {
    form_key: String,
    number: u64,
}

/// Ends a redrive between two of its steps.
pub(crate) async fn cancel(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Cancel>,
) -> Response {
    if !is_of_session(&visitor, &form.form_key) {
        return of_another_session();
    }
    let Some(job) = state.redrives.find(form.number) else { return unknown(&visitor) };
    tracing::info!(number = job.number, "a redrive is cancelled at the console");
    job.cancel();
    Redirect::to(&address(&job)).into_response()
}

fn unknown(visitor: &Visitor) -> Response {
    let content = html! {
        h1 { "No such redrive" }
        p { "This console has been started anew since, or has had many others. What a redrive has done is written beside each letter; what it did not "
            "reach is still open." }
        p { a href=(PATH) { "Back to all dead letters" } }
    };
    (StatusCode::NOT_FOUND, layout("Redrive", PATH, visitor, &content)).into_response()
}

/// Where its progress is.
fn address(job: &Job) -> String {
    format!("/dead-letters/progress?number={}", job.number)
}

/// The redrives that were started here, in a list.
pub(crate) fn list(jobs: &[Arc<Job>]) -> Markup {
    html! {
        @if !jobs.is_empty() {
            h2 { "Redrives of this console" }
            ul {
                @for job in jobs {
                    li {
                        a href=(address(job)) { "Redrive " (job.number) }
                        ": " (shown(&job.chosen.reason)) " of " (source(&job.chosen.source)) ", by " (shown(&job.who)) ", " (word(job).1)
                    }
                }
            }
        }
    }
}

/// Its state: a class, and a word, since colour alone says nothing to many.
fn word(job: &Job) -> (&'static str, &'static str) {
    match job.ended() {
        None if job.is_cancelled() => ("state attention", "ENDS after this step"),
        None => ("state attention", "RUNS"),
        Some((_, Err(_))) => ("state broken", "FAILED"),
        Some((_, Ok(report))) if report.cancelled => ("state attention", "CANCELLED"),
        Some((_, Ok(report))) if not_redriven(job, &report) > 0 => ("state attention", "DONE, not all were redriven"),
        Some((_, Ok(_))) => ("state fine", "DONE"),
    }
}

/// How many of those that were open when it began it has not redriven.
fn not_redriven(job: &Job, report: &RedriveReport) -> u64 {
    job.open.saturating_sub(report.redriven)
}

fn standing(job: &Job) -> Markup {
    let (class, word) = word(job);
    let ended = job.ended();
    html! {
        p class=(class) role="status" data-over[ended.is_some()] { (word) }
        @if let Some((_, Err(why))) = &ended { p class="state broken" role="alert" { (shown(why)) } }
        (what(&job.chosen))
        @let report = match &ended { Some((_, Ok(report))) => report.clone(), _ => job.so_far() };
        @let taken = job.taken();
        p { label for="progress" { "Looked at " (report.seen) " of " (taken) } }
        progress id="progress" max=(taken.max(1)) value=(report.seen.min(taken)) { (report.seen) " of " (taken) }
        (figures(&report, "redriven"))
        @let rest = not_redriven(job, &report);
        @if ended.is_some() && rest > 0 {
            p { (rest) " of the " (job.open) " that were open when it began " (was_or_were(rest)) " not redriven by it: look at why they stay, or plan another redrive." }
        }
        p class="quiet" {
            "Begun " (time(job.began.as_millisecond())) " by " (shown(&job.who)) ": " (shown(&job.why)) "."
            @if let Some((at, _)) = &ended { " Ended " (time(at.as_millisecond())) "." }
        }
    }
}

/// What came of them, or would.
fn figures(report: &RedriveReport, redriven: &str) -> Markup {
    let mut skipped: Vec<_> = report.skipped.iter().collect();
    skipped.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    html! {
        dl {
            dt { (report.redriven) " " (redriven) }
            dd { "as " (report.appended) " records"
                @if report.unreadable > 0 { ", of which " (report.unreadable) " are dead letters again" } }
            @for (why, count) in skipped.iter().take(MOST_REASONS) {
                dt { (count) @if **count == 1 { " stays as it is" } @else { " stay as they are" } }
                dd { (shown(why)) @if let Some(found) = report.examples.get(*why) { "; the first of them: " (shown(found)) } }
            }
            @if skipped.len() > MOST_REASONS { dd { "and for " (skipped.len() - MOST_REASONS) " other reasons" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(open: Open, report: &RedriveReport) -> String {
        let chosen = Chosen { source: "dub".into(), stage: "adapt".into(), reason: "not_json".into(), until: 5 };
        planned(&chosen, open, report, "key").into_string()
    }

    #[test]
    fn a_group_whose_oldest_cannot_be_redriven_can_be_redriven_all_the_same() {
        let none = RedriveReport { seen: PLANNED, left: PLANNED, ..RedriveReport::default() };
        let page = plan(Open { all: 51_000, within_reach: 51_000 }, &none);
        assert!(page.contains("Redrive 51000") && page.contains("the others were not looked at"), "{page}");
        // All were read: there is nothing to confirm.
        let page = plan(Open { all: PLANNED, within_reach: PLANNED }, &none);
        assert!(!page.contains("<form") && page.contains("nothing to confirm"), "{page}");
    }

    #[test]
    fn what_is_confirmed_is_what_a_redrive_reaches() {
        let read = RedriveReport { seen: PLANNED, redriven: PLANNED, ..RedriveReport::default() };
        let page = plan(Open { all: 2_500, within_reach: 2_000 }, &read);
        assert!(page.contains("2500 are open") && page.contains("Redrive 2000"), "{page}");
        assert!(page.contains("500 of them are of topics that Kafka no longer has"), "{page}");
        let page = plan(Open { all: 250_000, within_reach: 250_000 }, &read);
        assert!(
            page.contains("Redrive 100000") && page.contains("takes the oldest 100000; the rest stays open"),
            "{page}"
        );
        let page = plan(Open { all: 1, within_reach: 0 }, &RedriveReport::default());
        assert!(!page.contains("<form") && page.contains("1 of them is of topics"), "{page}");
    }
}
