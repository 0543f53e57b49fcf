//! Erasing what is stored about a link, a source, or a visitor on a day; with proof that nothing of it rests, and with
//! what cannot be erased before its retention ends.
//!
//! An erasure is noted on the topic `control` before its first row is touched, so one that is cut short is found and
//! finished, and whatever writes rows again (`report` after a loss, a replay) leaves a stub in the place of what was
//! erased.

mod catalogue;
mod report;
mod topics;

use std::time::{Duration, Instant};

use event::{Erasure, Millis, Scope};
use jiff::Timestamp;
use jiff::civil::Date;
use kafka::Topic;
use kafka::control::{self, Control, NotedErasure, SentTo};
use warehouse::{Former, Resting, Sent, Warehouse};

use crate::error::{During, refuse, refuse_unless};
use crate::ledger::raw;
use crate::ledger::recover::Word;
use crate::replay::settled;
use crate::{Installation, Result, blocking, clock};
pub use report::{DayAgain, EraseReport, LanePlaces, Named, OneErasure, TopicRest, Waiting};

/// A request that ingest took up before the erasure began may reach `raw` this much later.
const IN_FLIGHT: Duration = Duration::from_secs(4);
/// How long rows of what was accepted before may take.
const ROWS_WITHIN: Duration = Duration::from_secs(60);
/// How often is looked whether something has come or gone.
const LOOK: Duration = Duration::from_millis(500);
/// Turns after which rows that still come are said: what they were made of was received before the erasure.
const TURNS: usize = 3;
/// How long is waited for old parts to leave the disks, with `wait`.
const GONE_WITHIN: Duration = Duration::from_secs(30 * 60);

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// All about a link, by the platform's id or `domain/slug`.
    Link(String),
    /// All of a source.
    Source(String),
    /// The events of a visitor on a day.
    Visitor {
        /// The day of UTC.
        day: Date,
        /// The number in the column `visitor`.
        number: u64,
    },
    /// All that was ever erased, once more: after a backup was restored.
    Again,
}

/// An erasure that is asked for.
#[derive(Debug, Clone)]
pub struct Erase {
    /// What is to be erased.
    pub what: What,
    /// Who says so, and why. `None`: only look.
    pub word: Option<Word>,
    /// Whether to wait until the parts that were rewritten have left the disks.
    pub wait: bool,
}

impl What {
    /// Which records that are, by a key.
    fn scope(&self, key: [u64; 2]) -> Option<Scope> {
        Some(match self {
            Self::Link(name) => Scope::link(key, name),
            Self::Source(name) => Scope::source(name),
            Self::Visitor { day, number } => Scope::visitor(key, days_since_1970(*day), *number),
            Self::Again => return None,
        })
    }

    /// Whether a noted erasure is about this.
    fn is_that_of(&self, erasure: &Erasure) -> bool {
        self.scope(erasure.key).is_none_or(|scope| scope == erasure.scope)
    }
}

/// Days from 1970 to a day.
fn days_since_1970(day: Date) -> i64 {
    const START: Date = Date::constant(1970, 1, 1);
    day.duration_since(START).as_hours() / 24
}

/// Every erasure that was noted, the oldest first.
///
/// # Errors
/// When Kafka fails, or an erasure cannot be read.
pub(crate) async fn noted(installation: &Installation) -> Result<Vec<NotedErasure>> {
    let cluster = installation.cluster.clone();
    blocking(move || control::erasures(&cluster).during(|| format!("Kafka at {}", cluster.brokers))).await
}

/// Looks what an erasure would take, or erases, and proves what is left.
///
/// # Errors
/// When nothing can be meant by the request, or an engine fails: the same again goes on where it was.
pub async fn erase(installation: &Installation, request: &Erase) -> Result<EraseReport> {
    let warehouse = installation.connect().await?;
    let control = installation.identity().await?;
    check(installation, &request.what)?;
    let run = Run { installation, warehouse: &warehouse, control: &control, request };
    let targets = run.targets(noted(installation).await?).await?;
    let (mut waiting, is_open) = (Waiting::default(), targets.iter().any(|target| target.is_open));
    if request.word.is_some() && is_open {
        for target in targets.iter().filter(|target| target.is_open) {
            run.note(&target.noted).await?;
        }
        waiting.records = run.wait_for_rows().await?;
    }
    let mut erasures = Vec::new();
    for target in targets {
        erasures.push(run.one(target, &mut waiting).await?);
    }
    let unfinished = warehouse.unfinished_mutations().await?;
    // What was rewritten after an erasure was done held nothing of it any more.
    let done_at = erasures.iter().filter_map(|one| one.done_at).max().filter(|_| !is_open);
    let by_ms = done_at.map_or(clock::now().0, Timestamp::as_millisecond);
    let mut former = Former::default();
    if request.word.is_some() {
        let until = Instant::now() + GONE_WITHIN;
        former = warehouse.former_parts(by_ms).await?;
        while request.wait && former.parts > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            former = warehouse.former_parts(by_ms).await?;
        }
    }
    let detached = warehouse.detached_parts().await?;
    Ok(EraseReport::new(installation, request, erasures, waiting, unfinished, former, detached))
}

/// Refuses what cannot be meant.
fn check(installation: &Installation, what: &What) -> Result<()> {
    match what {
        What::Link(name) => refuse_unless!(
            !name.is_empty() && name != "/",
            "name a link: the platform's id of it, or DOMAIN/SLUG, as the columns link_id, domain and slug have them"
        ),
        What::Source(name) => refuse_unless!(!name.is_empty(), "name a source"),
        What::Visitor { number, day } => {
            refuse_unless!(*number != 0, "the visitor 0 stands for all that are unknown");
            let days = i64::from(installation.layout().identifiers_days);
            if days_since_1970(*day) < clock::now().0.div_euclid(86_400_000) - days - 31 {
                refuse!(
                    "no row has a visitor of {day} any more: the column is cleared {days} days after a record was received"
                );
            }
        }
        What::Again => {}
    }
    Ok(())
}

/// One erasure on its way.
struct Target {
    noted: NotedErasure,
    /// Whether it is on the topic.
    is_noted: bool,
    /// Whether there is something to do: it was not done before, or rows are there again.
    is_open: bool,
    before: Vec<Resting>,
}

struct Run<'r> {
    installation: &'r Installation,
    warehouse: &'r Warehouse,
    control: &'r Control,
    request: &'r Erase,
}

impl Run<'_> {
    /// The erasures that are meant, and what rests of each.
    async fn targets(&self, noted: Vec<NotedErasure>) -> Result<Vec<Target>> {
        let what = &self.request.what;
        let mut known: Vec<NotedErasure> = noted.into_iter().filter(|noted| what.is_that_of(&noted.erasure)).collect();
        let mut targets = Vec::new();
        if *what == What::Again {
            for noted in known {
                let before = self.warehouse.resting(&noted.erasure).await?;
                let is_open = noted.done.is_none() || !is_nothing(&before);
                targets.push(Target { noted, is_noted: true, is_open, before });
            }
            return Ok(targets);
        }
        let now = Timestamp::now();
        // The last one of the same: unfinished it is finished, up to now; else what has come since is another erasure.
        let last = known.pop();
        if let Some(mut noted) = last {
            let until_now = Erasure { through: Millis(now.as_millisecond()), ..noted.erasure.clone() };
            let before = self.warehouse.resting(&until_now).await?;
            match noted.done {
                None => {
                    noted.erasure = until_now;
                    return Ok(vec![Target { noted, is_noted: true, is_open: true, before }]);
                }
                Some(_) => {
                    // A message that was planned since is known by the erasure of its alerts.
                    let left = self.warehouse.resting(&noted.erasure).await?;
                    let (is_open, is_all) = (!is_nothing(&left), before == left);
                    if is_open || is_all {
                        targets.push(Target { noted, is_noted: true, is_open, before: left });
                    }
                    if is_all {
                        return Ok(targets);
                    }
                }
            }
        }
        let word = self.request.word.clone().unwrap_or(Word { who: String::new(), why: String::new() });
        let scope = |key| what.scope(key).unwrap_or(Scope::Source(String::new()));
        let noted = NotedErasure::new(scope, word.who, word.why, now);
        let before = self.warehouse.resting(&noted.erasure).await?;
        targets.push(Target { noted, is_noted: false, is_open: true, before });
        Ok(targets)
    }

    async fn note(&self, noted: &NotedErasure) -> Result<()> {
        let (cluster, noted) = (self.installation.cluster.clone(), noted.clone());
        blocking(move || {
            control::note_erasure(&cluster, &noted)
                .during(|| format!("the erasure {} could not be noted", noted.erasure.id))
        })
        .await
    }

    /// Waits until what was accepted before is rows. How many records are not, for as long as that may take.
    async fn wait_for_rows(&self) -> Result<u64> {
        tokio::time::sleep(IN_FLIGHT).await;
        let ends = raw::kept(&self.installation.cluster, self.control.lanes).await?;
        let until = Instant::now() + ROWS_WITHIN;
        loop {
            let settled = settled(self.installation, self.control.lanes).await?;
            let settled = |lane: u16| settled.get(usize::from(lane)).copied().unwrap_or(0);
            let waiting: u64 = ends.iter().map(|(lane, kept)| kept.to.saturating_sub(settled(*lane))).sum();
            if waiting == 0 || Instant::now() >= until {
                return Ok(waiting);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Erases a target. It is done if nothing waits that may tell of it later.
    async fn one(&self, target: Target, waiting: &mut Waiting) -> Result<OneErasure> {
        let Target { mut noted, mut is_noted, is_open, before } = target;
        let (warehouse, erasure) = (self.warehouse, &noted.erasure.clone());
        // What is only known as long as it is there; of a run before this one, by its note.
        let sent = with_noted(warehouse.sent_about(erasure).await?, &noted.sent);
        let mut names = match &erasure.scope {
            Scope::Link(_) => warehouse.names_of_erased(erasure).await?,
            _ => Vec::new(),
        };
        let keys = match &erasure.scope {
            Scope::Link(_) => catalogue::keys(self.installation, erasure, &names).await?,
            _ => Vec::new(),
        };
        names.retain(|name| !erasure.is_link(name));
        let (mut after, mut days, mut records) = (before.clone(), Vec::new(), 0);
        let apply = self.request.word.is_some() && is_open;
        if apply {
            is_noted = true;
            let known: Vec<SentTo> = sent.iter().map(to_note).collect();
            if known != noted.sent {
                noted.sent = known;
                self.note(&noted).await?;
            }
            // First: the other names of a link are known from its rows alone, and a run that is cut short after these
            // are gone would leave what is said under them for good.
            catalogue::erase(self.installation, &keys).await?;
            for _ in 0..TURNS {
                warehouse.erase_beside(erasure).await?;
                records = warehouse.put_stubs(erasure).await?;
                warehouse.delete_erased(erasure).await?;
                after = warehouse.resting(erasure).await?;
                if is_nothing(&after) {
                    break;
                }
            }
            let layout = self.installation.layout();
            for (side, day) in warehouse.recompute_erased(&layout, erasure).await? {
                days.push(DayAgain { database: warehouse.database(side).to_owned(), day });
            }
            let messages = warehouse.unplanned_messages(erasure).await?;
            waiting.messages += messages;
            if is_done(&after, &Waiting { messages, ..*waiting }) && noted.done.is_none() {
                noted.done = Some((Timestamp::now(), records));
                self.note(&noted).await?;
            }
        }
        let topics = self.topics(erasure).await?;
        Ok(OneErasure {
            id: is_noted.then(|| erasure.id.clone()),
            what: self.request.what.words(&erasure.scope),
            through: erasure.through.0,
            who: noted.who,
            why: noted.why,
            at: noted.at,
            done_at: noted.done.map(|(at, _)| at),
            records: noted.done.map_or(records, |(_, records)| records),
            before,
            after: if apply || !is_open { Some(after) } else { None },
            days,
            also_named: names,
            catalogue: keys,
            sent,
            topics,
        })
    }

    /// What rests on topics until their retention ends.
    async fn topics(&self, erasure: &Erasure) -> Result<Vec<TopicRest>> {
        let (plan, now) = (&self.installation.plan, clock::now().0);
        let oldest = |topic| plan.gone_after(topic).map_or(0, |after| now - millis(after));
        let places = self.warehouse.erased_places(erasure, oldest(Topic::DeadLetters).min(oldest(Topic::Raw))).await?;
        let kept = raw::kept(&self.installation.cluster, self.control.lanes).await?;
        let places = places.into_iter().filter(|lane| lane.incarnation == self.control.incarnation).collect();
        Ok(topics::rest(plan, erasure, places, &kept, now))
    }
}

/// Who was sent messages, as texts tell and as was noted before some of them were erased.
fn with_noted(mut sent: Vec<Sent>, noted: &[SentTo]) -> Vec<Sent> {
    for SentTo { destination, messages, until } in noted {
        match sent.iter_mut().find(|known| known.destination == *destination) {
            Some(known) => {
                known.messages = known.messages.max(*messages);
                known.until = known.until.max(*until);
            }
            None => sent.push(Sent { destination: destination.clone(), messages: *messages, until: *until }),
        }
    }
    sent.sort_by(|one, other| one.destination.cmp(&other.destination));
    sent
}

fn to_note(Sent { destination, messages, until }: &Sent) -> SentTo {
    SentTo { destination: destination.clone(), messages: *messages, until: *until }
}

/// Whether no row is left.
fn is_nothing(resting: &[Resting]) -> bool {
    resting.iter().all(|resting| resting.rows == 0)
}

/// Whether an erasure is done: nothing is left, and nothing that it is about may still become a row or a text.
fn is_done(after: &[Resting], waiting: &Waiting) -> bool {
    waiting.is_nothing() && is_nothing(after)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl What {
    /// What is erased, for people. A link or a visitor of which only the hash is known is named by that.
    fn words(&self, scope: &Scope) -> String {
        match (self, scope) {
            (Self::Link(name), _) => format!("the link {name}"),
            (Self::Source(name), _) => format!("the source {name}"),
            (Self::Visitor { day, number }, _) => format!("the visitor {number} of {day}"),
            (Self::Again, scope) => words_of(scope),
        }
    }
}

/// What is erased, as far as its note tells.
pub(crate) fn words_of(scope: &Scope) -> String {
    match scope {
        Scope::Source(name) => format!("the source {name}"),
        Scope::Link(hash) => format!("a link (hash {hash:016x})"),
        Scope::Visitor { day, visitor } => format!("a visitor of {} (hash {visitor:016x})", day_of(*day)),
    }
}

/// The day that is so many days after 1970 began.
fn day_of(days: i64) -> String {
    let at = Timestamp::from_second(days.saturating_mul(86_400));
    at.map_or_else(|_| format!("day {days}"), |at| at.strftime("%F").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_sent_messages_is_known_after_their_texts_are_gone() {
        let sent = |destination: &str, messages, until| Sent { destination: destination.into(), messages, until };
        let before = with_noted(vec![sent("sales", 2, 20), sent("growth", 3, 10)], &[]);
        let noted: Vec<SentTo> = before.iter().map(to_note).collect();
        // A run was cut short in the middle of the texts, and one more message was planned since.
        let rest = with_noted(vec![sent("growth", 1, 30)], &noted);
        assert_eq!(rest, [sent("growth", 3, 30), sent("sales", 2, 20)]);
        assert_eq!(with_noted(Vec::new(), &noted), before);
    }

    #[test]
    fn an_erasure_is_known_again_by_what_was_asked_for_and_days_are_counted_in_utc() {
        let key = [7, 9];
        let day: Date = "2026-11-29".parse().unwrap();
        assert_eq!(day_of(days_since_1970(day)), "2026-11-29");
        assert_eq!(days_since_1970(Date::constant(1970, 1, 2)), 1);
        let all = [
            What::Link("l_1".into()),
            What::Link("a/b".into()),
            What::Source("l_1".into()),
            What::Visitor { day, number: 7 },
            What::Visitor { day, number: 8 },
            What::Visitor { day: Date::constant(2026, 11, 28), number: 7 },
        ];
        for (place, what) in all.iter().enumerate() {
            let scope = what.scope(key).unwrap();
            let erasure = Erasure { id: "e".into(), key, scope, through: Millis(0) };
            let same: Vec<usize> = (0..all.len()).filter(|other| all[*other].is_that_of(&erasure)).collect();
            assert_eq!(same, [place], "{what:?}");
            assert!(What::Again.is_that_of(&erasure));
        }
        assert_eq!(words_of(&Scope::Link(255)), "a link (hash 00000000000000ff)");
    }

    #[test]
    fn an_erasure_is_not_done_while_records_of_before_may_become_rows() {
        let rests = |rows| vec![Resting { table: "hookline.records".into(), what: "events", rows }];
        let waiting = |records, messages| Waiting { records, messages };
        assert!(is_done(&rests(0), &waiting(0, 0)) && !is_done(&rests(1), &waiting(0, 0)));
        assert!(!is_done(&rests(0), &waiting(500, 0)) && !is_done(&rests(0), &waiting(0, 1)));
    }
}
