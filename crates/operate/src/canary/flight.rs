//! One event of the canary: sent, and waited for.

use std::time::Duration;

use config::{Canary, Source};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};
use warehouse::{Side, Warehouse};

use super::Path;
use crate::rehearse::made_up::{Maker, Scenario};
use crate::rehearse::post::{Answered, Poster};
use crate::{Installation, clock};

/// What the link of its events is called: always the same, so that it leaves one link behind and not one a minute.
const LINK: &str = "canary";
/// Between two looks at what has arrived, at first and later.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LATER: Duration = Duration::from_secs(1);
/// How long ClickHouse may take for one look: what hangs is away.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How far the clock of ingest may be behind this one.
const SKEW_MS: i64 = 10 * 60_000;

/// How long it took, or why it did not come.
pub(super) type Arrival = Result<Duration, Failure>;

/// What became of an event.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) row: Arrival,
    /// Of no meaning where no message is waited for.
    pub(super) message: Arrival,
}

/// Why an event did not come through.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) why: String,
}

/// The label of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It cannot be made or signed by this configuration.
    Configuration,
    /// Ingest gave no answer.
    Unreachable,
    /// Ingest answered something else than 202.
    Refused,
    /// ClickHouse does not answer.
    ClickHouse,
    /// It is not a row.
    NoRow,
    /// No message about it was delivered.
    NoMessage,
    /// It counts as production data.
    Production,
    /// It is a dead letter: set aside, or not read.
    DeadLetter,
}

impl Reason {
    pub(super) const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Unreachable,
        Self::Refused,
        Self::ClickHouse,
        Self::NoRow,
        Self::NoMessage,
        Self::Production,
        Self::DeadLetter,
    ];

    /// Whether an event can fail for it on the way there: a message is missed only by one that waits for it.
    pub(super) fn is_of(self, path: Path) -> bool {
        self != Self::NoMessage || path == Path::Message
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::ClickHouse => "clickhouse",
            Self::NoRow => "no_row",
            Self::NoMessage => "no_message",
            Self::Production => "production",
            Self::DeadLetter => "dead_letter",
        }
    }
}

fn failed<T>(reason: Reason, why: impl ToString) -> Result<T, Failure> {
    Err(Failure { reason, why: why.to_string() })
}

/// An event that ingest has taken.
struct Taken {
    id: String,
    receipt: String,
    at: Instant,
    /// The time before which no row of it can be, in milliseconds since 1970.
    since: String,
}

pub(super) struct Flight<'f> {
    pub(super) installation: &'f Installation,
    pub(super) canary: &'f Canary,
    /// Where ingest is, if that is known.
    pub(super) ingest: Option<&'f str>,
    /// The connection that has answered last; none, to make one.
    pub(super) warehouse: &'f mut Option<Warehouse>,
}

impl Flight<'_> {
    /// Sends an event and waits for what is to come of it: at most three times the patience.
    pub(super) async fn fly(&mut self) -> Came {
        let taken = match self.send().await {
            Ok(taken) => taken,
            Err(failure) => return Came { row: Err(failure.clone()), message: Err(failure) },
        };
        let (row, key) = match self.row(&taken).await {
            Ok(found) => found,
            Err(failure) => return Came { row: Err(failure.clone()), message: Err(failure) },
        };
        let message = match &self.canary.rule {
            Some(rule) => self.message(&taken, rule, &key).await,
            None => failed(Reason::NoMessage, "no message is waited for"),
        };
        Came { row: Ok(row), message }
    }

    async fn send(&self) -> Result<Taken, Failure> {
        let now_ms = clock::now().0;
        let id = format!("canary-{now_ms:x}");
        let Some(source) = self.installation.config.source(&self.canary.source) else {
            return failed(Reason::Configuration, format!("no source is called {:?}", self.canary.source));
        };
        let body = self.body(source, &id, now_ms)?;
        let Some(ingest) = self.ingest else {
            return failed(Reason::Configuration, "it is not known where ingest is: set [canary] ingest");
        };
        // A new connection for each, as a sender makes it that was away; and a secret that is live now.
        let poster = match Poster::new(source, ingest, LINK) {
            Ok(poster) => poster,
            Err(error) => return failed(Reason::Configuration, error),
        };
        let posted = timeout(self.canary.patience, poster.post_once(&format!("msg_{id}"), &body)).await;
        match posted {
            Ok(Ok(Answered::Taken(receipt))) => {
                Ok(Taken { id, receipt, at: Instant::now(), since: (now_ms - SKEW_MS).to_string() })
            }
            Ok(Ok(Answered::Refused { said, .. })) => failed(Reason::Refused, format!("{ingest} {said}")),
            Ok(Ok(Answered::Unreachable(why))) => failed(Reason::Unreachable, format!("{ingest} {why}")),
            Ok(Err(error)) => failed(Reason::Configuration, error),
            Err(_elapsed) => {
                let waited = self.canary.patience.as_secs();
                failed(Reason::Unreachable, format!("{ingest} did not answer within {waited} s"))
            }
        }
    }

    /// The event: a click, or what the rule asks for.
    fn body(&self, source: &Source, id: &str, now_ms: i64) -> Result<Value, Failure> {
        let config = &self.installation.config;
        let mut maker = Maker::new(config, &source.name, LINK, now_ms);
        let rule = self.canary.rule.as_deref();
        let made = match rule.map(|name| (name, config.rule(name))) {
            None => Ok(maker.event(Scenario::Click, "click", LINK)),
            Some((name, None)) => return failed(Reason::Configuration, format!("no rule is called {name:?}")),
            Some((name, Some(rule))) => match maker.of_rule(&rule.rule).map(|mut events| events.pop()) {
                Ok(Some(event)) => Ok(event),
                Ok(None) => Err(format!("rule {name:?} asks for no event")),
                Err(why) => Err(format!("no event can be made for rule {name:?}: {why}")),
            },
        };
        match made {
            Ok(mut made) => {
                made.body["id"] = json!(id);
                Ok(made.body)
            }
            Err(why) => failed(Reason::Configuration, why),
        }
    }

    /// Waits for the row: how long it took, and its event key.
    async fn row(&mut self, taken: &Taken) -> Result<(Duration, String), Failure> {
        let deadline = taken.at + self.canary.patience;
        let mut pause = LOOK_FIRST;
        loop {
            let looked = self.look(taken, &Question::Row(Side::Test)).await;
            if let Ok(Some(found)) = looked {
                found.is_event(taken)?;
                return Ok((taken.at.elapsed(), found.key));
            }
            if Instant::now() >= deadline {
                return self.no_row(taken, looked).await;
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_LATER);
        }
    }

    /// Why no row was seen: ClickHouse cannot say, or has it where it must not be, or has it not.
    async fn no_row<T>(&mut self, taken: &Taken, looked: Result<Option<Found>, String>) -> Result<T, Failure> {
        let (id, waited) = (&taken.id, self.canary.patience.as_secs());
        let elsewhere = match looked {
            Ok(_) => self.look(taken, &Question::Row(Side::Production)).await,
            Err(why) => Err(why),
        };
        match elsewhere {
            Err(why) => failed(Reason::ClickHouse, format!("whether {id} is a row cannot be seen: {why}")),
            // What could not be read, and what was set aside, is never known to be test data.
            Ok(Some(found)) => {
                found.is_event(taken)?;
                let why = format!("{id} counts as production data: what runs there has another configuration");
                failed(Reason::Production, why)
            }
            Ok(None) => {
                failed(Reason::NoRow, format!("{id} was taken as {} and is not a row {waited} s later", taken.receipt))
            }
        }
    }

    /// Waits for the message about it: an alert of the rule, planned, and delivered.
    async fn message(&mut self, taken: &Taken, rule: &str, key: &str) -> Arrival {
        let began = Instant::now();
        let mut pause = LOOK_FIRST;
        loop {
            let looked = self.look(taken, &Question::Message { rule, key }).await;
            if matches!(looked, Ok(Some(_))) {
                return Ok(taken.at.elapsed());
            }
            if began.elapsed() >= self.canary.patience {
                let (id, waited) = (&taken.id, self.canary.patience.as_secs());
                return match looked {
                    Err(why) => failed(Reason::ClickHouse, format!("whether {id} has a message cannot be seen: {why}")),
                    Ok(_) => failed(
                        Reason::NoMessage,
                        format!("{id} is a row, and no message of rule {rule} about it is delivered {waited} s later"),
                    ),
                };
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_LATER);
        }
    }

    /// Looks once, over the connection that there is; over a new one after a failure.
    async fn look(&mut self, taken: &Taken, question: &Question<'_>) -> Result<Option<Found>, String> {
        let asked = async {
            let warehouse = match self.warehouse.as_ref() {
                Some(warehouse) => warehouse.clone(),
                None => self.installation.connect().await.map_err(|error| runtime::with_causes(&error))?,
            };
            let answer = question.ask(&warehouse, taken).await?;
            Ok((warehouse, answer))
        };
        let late = || format!("it did not answer within {} s", LOOK_WITHIN.as_secs());
        let looked = timeout(LOOK_WITHIN, asked).await.unwrap_or_else(|_elapsed| Err(late()));
        let (warehouse, answer) = looked.map_or_else(|why| (None, Err(why)), |(one, answer)| (Some(one), Ok(answer)));
        *self.warehouse = warehouse;
        answer
    }
}

/// What ClickHouse is asked about an event.
enum Question<'q> {
    /// Whether it is a row.
    Row(Side),
    /// Whether a message of a rule about it was delivered; `key` is its event key.
    Message { rule: &'q str, key: &'q str },
}

/// What was asked for, and is there.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Its event key.
    key: String,
    /// Where and why it was refused, if it is a dead letter.
    dead: Option<String>,
}

impl Found {
    fn of(row: &Map<String, Value>) -> Self {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let dead = (text("outcome") == "dead_letter").then(|| format!("{}, {}", text("stage"), text("reason")));
        Self { key: text("event_key").to_owned(), dead }
    }

    fn is_event(&self, taken: &Taken) -> Result<(), Failure> {
        match &self.dead {
            None => Ok(()),
            Some(refused) => failed(
                Reason::DeadLetter,
                format!("{} was taken as {} and is a dead letter ({refused})", taken.id, taken.receipt),
            ),
        }
    }
}

impl Question<'_> {
    /// What was asked for, if it is there.
    async fn ask(&self, warehouse: &Warehouse, taken: &Taken) -> Result<Option<Found>, String> {
        let since = ("since", taken.since.as_str());
        let rows = match self {
            Self::Row(side) => warehouse.query(*side, ROW, &[since, ("receipt", &taken.receipt)]).await,
            Self::Message { rule, key } => {
                warehouse.query(Side::Test, MESSAGE, &[since, ("rule", rule), ("key", key)]).await
            }
        };
        let rows = rows.map_err(|error| runtime::with_causes(&error))?;
        Ok(rows.first().map(Found::of))
    }
}

const ROW: &str = "SELECT event_key, outcome, stage, reason FROM records WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}) \
                   AND request_id = {receipt:String} LIMIT 1";
/// A message names its alerts where it is planned.
const MESSAGE: &str = "SELECT {key:String} AS event_key FROM delivery_attempts \
    WHERE at >= fromUnixTimestamp64Milli({since:Int64}) AND stage = 'delivered' AND bundle_id IN (\
    SELECT bundle_id FROM delivery_attempts WHERE at >= fromUnixTimestamp64Milli({since:Int64}) AND stage = 'planned' \
    AND hasAny(alert_ids, (SELECT groupArray(alert_id) FROM alerts \
    WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}) AND rule = {rule:String} AND sample = {key:String}))) LIMIT 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_set_aside_is_a_dead_letter_and_no_event() {
        let taken = Taken { id: "canary-1".into(), receipt: "req_1".into(), at: Instant::now(), since: "0".into() };
        let found = |outcome: &str| {
            let row =
                json!({ "event_key": "k", "outcome": outcome, "stage": "ingest", "reason": "switched_to_quarantine" });
            Found::of(row.as_object().unwrap())
        };
        assert!(found("event").is_event(&taken).is_ok());
        let failure = found("dead_letter").is_event(&taken).unwrap_err();
        assert_eq!(failure.reason, Reason::DeadLetter);
        assert!(failure.why.contains("ingest, switched_to_quarantine"), "{}", failure.why);
    }
}
