//! Giving a group of dead letters up: the plan, and the confirmed decision. It is written beside each letter, and no
//! byte is deleted.

use std::sync::Arc;

use axum::extract::{Query, State as From};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use maud::{Markup, html};
use operate::dead_letters::discard::{Discard, discard};
use operate::dead_letters::{self, ListReport};
use operate::{Error, Installation};
use warehouse::{DeadLetterFilter, DeadLetterState};

use super::group::{Confirmed, Decided, Group, PATH, address_of, form, is_or_are, what};
use super::{failed, layout, redrive, time, wants_token};
use crate::State;
use crate::guard::Visitor;
use crate::redrives::{Busy, Chosen, MOST_LETTERS};

const TITLE: &str = "Discard dead letters";

/// The plan: how many would be given up, and what that means. Nothing changes.
pub(crate) async fn plan(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Query(group): Query<Group>,
) -> Response {
    let Some(form_key) = &visitor.form_key else { return wants_token(TITLE, PATH, &visitor) };
    let (chosen, installation) = (group.so_far(), state.installation());
    let report = match open(&installation, &chosen).await {
        Ok(report) => report,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let content = html! {
        h1 { (TITLE) }
        (planned(&chosen, &report, form_key, &installation.flag()))
        p { a href=(PATH) { "Back to all dead letters" } }
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}

/// Those that are open, of every life of the topics: also those whose bytes are gone can be given up.
async fn open(installation: &Installation, chosen: &Chosen) -> Result<ListReport, Error> {
    let filter = DeadLetterFilter { state: Some(DeadLetterState::Open), ..chosen.filter() };
    dead_letters::list(installation, &filter).await
}

/// How many, and the form that confirms it.
fn planned(chosen: &Chosen, report: &ListReport, form_key: &str, flag: &str) -> Markup {
    let open = report.open;
    let first = report.groups.iter().map(|group| group.first_seen).min();
    let last = report.groups.iter().map(|group| group.last_seen).max();
    let meaning = html! {
        p { "None of them will count: no row of an event and no message comes of it. An event that comes in another way counts." }
        p { "They stay in the list, with who and why beside each, and their bytes stay on the topic until its retention ends. Until then "
            code { "hookline dlq redrive " (flag) " --force" } " takes them all the same." }
        p { "Letters that came after this plan was made are left alone." }
    };
    html! {
        (what(chosen))
        @if open == 0 { p class="state fine" { "None of them is open." } } @else {
            p class="state attention" { (open) " " (is_or_are(open)) " open. Nothing has happened yet." }
            @if let (Some(first), Some(last)) = (first, last) {
                p { "The first was received " (time(first)) ", the last " (time(last)) "." }
            }
            p { "What can be mended is better redriven: " a href=(address_of("bytes", chosen)) { "look at their bytes" } ", or "
                a href=(address_of("redrive", chosen)) { "plan a redrive" } "." }
            (form(("Discard", "discard"), chosen, open, form_key, &meaning, "Why they are not to count"))
        }
    }
}

/// Gives up what was planned.
pub(crate) async fn decide(
    From(state): From<Arc<State>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Confirmed>,
) -> Response {
    let Decided { chosen, who, why } = match form.decided(&visitor) {
        Ok(decided) => decided,
        Err(refused) => return *refused,
    };
    let held = match state.redrives.hold() {
        Ok(held) => held,
        Err(busy) => return another_decision(&busy, &visitor),
    };
    let installation = state.installation();
    let request = Discard { filter: chosen.filter(), all: false, who, why, limit: MOST_LETTERS, dry_run: false };
    tracing::info!(
        source = chosen.source,
        stage = chosen.stage,
        reason = chosen.reason,
        until = chosen.until,
        who = request.who,
        why = request.why,
        "dead letters are discarded at the console"
    );
    // It goes on without the tab that began it, and no redrive begins before it has ended.
    let meant = installation.as_ref().clone();
    let work = async move {
        let _held = held;
        let done = discard(&meant, &request).await;
        match &done {
            Ok(report) => tracing::info!(discarded = report.discarded, "dead letters were discarded"),
            Err(error) => tracing::warn!("a discard has failed: {}", runtime::with_causes(error)),
        }
        done
    };
    let done = match tokio::spawn(work).await.map_err(Error::from).flatten() {
        Ok(report) => report.discarded,
        Err(error) => return failed(TITLE, PATH, &visitor, &error),
    };
    let rest = open(&installation, &chosen).await.map(|report| report.open);
    let content = html! {
        h1 { (TITLE) }
        (decided(&chosen, done, rest))
        p { a href=(PATH) { "Back to all dead letters" } }
    };
    layout(TITLE, PATH, &visitor, &content).into_response()
}

/// What came of it, and how many of the group are open after it.
fn decided(chosen: &Chosen, done: u64, rest: Result<u64, Error>) -> Markup {
    html! {
        (what(chosen))
        @if done == 0 { p class="state attention" role="status" { "None was discarded: none of them was open any more." } } @else {
            p class="state fine" role="status" { (done) " " (is_or_are(done)) " discarded." }
        }
        @match rest {
            Ok(0) => {},
            Ok(rest) => p class="state attention" { (rest) " of them " (is_or_are(rest)) " still open: "
                a href=(address_of("discard", chosen)) { "plan another discard" } "." },
            Err(error) => p class="state attention" { "Whether others are still open is not known: " (runtime::with_causes(&error)) },
        }
    }
}

fn another_decision(busy: &Busy, visitor: &Visitor) -> Response {
    let content = html! {
        h1 { (TITLE) }
        (redrive::busy(busy, "Not discarded"))
        p { a href=(PATH) { "Back to all dead letters" } }
    };
    (StatusCode::CONFLICT, layout(TITLE, PATH, visitor, &content)).into_response()
}

#[cfg(test)]
mod tests {
    use warehouse::DeadLetterGroup;

    use super::*;

    fn chosen() -> Chosen {
        Chosen { source: "<b>dub".into(), stage: "adapt".into(), reason: "not_json".into(), until: 5 }
    }

    fn plan(open: u64) -> String {
        let group = DeadLetterGroup {
            source: "dub".into(),
            stage: "adapt".into(),
            reason: "not_json".into(),
            number: open,
            open,
            redriven: 0,
            discarded: 0,
            first_seen: 1_764_000_000_000,
            last_seen: 1_764_000_060_000,
        };
        let groups = if open == 0 { Vec::new() } else { vec![group] };
        planned(&chosen(), &ListReport { ok: open == 0, open, groups }, "key", "--config a.toml").into_string()
    }

    #[test]
    fn a_plan_says_how_many_and_what_it_means_and_is_bounded() {
        let page = plan(3);
        assert!(page.contains("3 are open. Nothing has happened yet.") && page.contains("Discard 3"), "{page}");
        assert!(page.contains("received 2025-11-24 16:00:00, the last 2025-11-24 16:01:00"), "{page}");
        assert!(
            page.contains("None of them will count") && page.contains("dlq redrive --config a.toml --force"),
            "{page}"
        );
        assert!(
            page.contains("name=\"form_key\" value=\"key\"") && page.contains("name=\"until\" value=\"5\""),
            "{page}"
        );
        assert!(!page.contains("<b>dub") && !page.contains("takes the oldest"), "{page}");
        let page = plan(250_000);
        assert!(page.contains("Discard 100000") && page.contains("One discard takes the oldest 100000"), "{page}");
        let page = plan(0);
        assert!(page.contains("None of them is open") && !page.contains("<form"), "{page}");
    }

    #[test]
    fn what_was_decided_is_said_with_what_is_still_open() {
        let page = |done, rest| decided(&chosen(), done, rest).into_string();
        let all = page(1, Ok(0));
        assert!(all.contains("1 is discarded.") && !all.contains("still open"), "{all}");
        let some = page(100_000, Ok(150_000));
        assert!(
            some.contains("150000 of them are still open") && some.contains("/dead-letters/discard?source="),
            "{some}"
        );
        // The same form sent once more.
        assert!(page(0, Ok(0)).contains("None was discarded"));
        let unknown = page(2, Err(Error::NoInstallation("no ClickHouse".into())));
        assert!(unknown.contains("2 are discarded") && unknown.contains("is not known: no ClickHouse"), "{unknown}");
    }
}
