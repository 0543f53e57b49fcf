//! Dead letters and what people decided about them.
//!
//! A dead letter is a row of `records`; what was decided about it is a row of `dead_letter_decisions`, beside it and not in it, so that
//! nothing in the fact table ever changes. A redrive is noted before its first record is appended, and once more after
//! the last one: a letter of which only the first is there was cut short, perhaps in the middle of its records, and is
//! open. Where nothing is noted, as after a loss of ClickHouse, a redrive is known by its own row (`redrive_of`).

use clickhouse::Row;
use event::{Column, Kind, Millis, Value};
use serde::{Deserialize, Serialize};

use crate::connect::{quote, quoted};
use crate::native::{Columns, Constant};
use crate::{Side, Warehouse, WarehouseError};

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadLetterState {
    /// Nothing was decided, or a redrive of it was begun and has not ended.
    Open,
    /// Its bytes were appended to `raw` again.
    Redriven,
    /// Somebody decided that it will not be counted.
    Discarded,
}

impl DeadLetterState {
    /// Every state.
    pub const ALL: [DeadLetterState; 3] = [Self::Open, Self::Redriven, Self::Discarded];

    /// Its name, as in the view `dead_letters`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What is noted about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// Its bytes are about to be appended to `raw` again. Until [`Decided::Redriven`] is noted it stays open.
    Redriving,
    /// All of them were appended.
    Redriven,
    /// Somebody decided that it will not be counted.
    Discarded,
}

impl Decided {
    /// Its name, as in the table `dead_letter_decisions`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redriving => "redriving",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }
}

/// Which dead letters are meant; what is left out does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The life of the topics.
    pub incarnation: Option<String>,
    /// The configured source.
    pub source: Option<String>,
    /// The stage that refused it.
    pub stage: Option<String>,
    /// Why, as a fixed label.
    pub reason: Option<String>,
    /// Received at or after, milliseconds since 1970.
    pub since: Option<i64>,
    /// Received before, milliseconds since 1970.
    pub until: Option<i64>,
    /// The lane.
    pub lane: Option<u16>,
    /// The raw offset.
    pub offset: Option<u64>,
    /// The receipt id that the sender was given.
    pub receipt: Option<String>,
    /// What became of it.
    pub state: Option<DeadLetterState>,
}

impl DeadLetterFilter {
    /// The condition over the view `dead_letters`.
    fn condition(&self) -> String {
        let text =
            |column: &str, value: &Option<String>| value.as_ref().map(|value| format!("{column} = {}", quote(value)));
        let time = |comparison: &str, at: Option<i64>| {
            at.map(|at| format!("received_at {comparison} fromUnixTimestamp64Milli({at})"))
        };
        let parts = [
            text("incarnation", &self.incarnation),
            text("source", &self.source),
            text("stage", &self.stage),
            text("reason", &self.reason),
            text("request_id", &self.receipt),
            time(">=", self.since),
            time("<", self.until),
            self.lane.map(|lane| format!("lane = {lane}")),
            self.offset.map(|offset| format!("raw_offset = {offset}")),
            self.state.map(|state| format!("state = '{}'", state.name())),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "1".to_owned() } else { parts.join(" AND ") }
    }
}

/// Dead letters that have source, stage and reason in common.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct DeadLetterGroup {
    /// The configured source, `''` when the record does not say.
    pub source: String,
    /// The stage that refused them.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub number: u64,
    /// How many nobody has decided about.
    pub open: u64,
    /// How many were appended again.
    pub redriven: u64,
    /// How many were given up.
    pub discarded: u64,
    /// When the first was received, milliseconds since 1970.
    pub first_seen: i64,
    /// When the last was received, milliseconds since 1970.
    pub last_seen: i64,
}

/// What one person decided about one group of dead letters for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct DecisionGroup {
    /// When, for the last of them: milliseconds since 1970.
    pub at: i64,
    /// `redriven`, `discarded`, or `redriving` where a redrive has begun and not ended.
    pub state: String,
    /// How many dead letters.
    pub letters: u64,
    /// Their source.
    pub source: String,
    /// Why they were dead letters.
    pub reason: String,
    /// Who decided.
    pub who: String,
    /// Why.
    pub why: String,
}

/// One dead letter, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct DeadLetterRow {
    /// The life of the topics that lane and offset count in.
    pub incarnation: String,
    /// The lane.
    pub lane: u16,
    /// The raw offset.
    pub raw_offset: u64,
    /// When it was received, milliseconds since 1970.
    pub received_at: i64,
    /// The configured source.
    pub source: String,
    /// The key of its raw record.
    pub event_key: String,
    /// The receipt id that the sender was given.
    pub request_id: String,
    /// The stage that refused it.
    pub stage: String,
    /// Why, as a fixed label.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// `lane/offset` of the dead letter that this is a redrive of, or `''`.
    pub redrive_of: String,
    /// What became of it: the name of a [`DeadLetterState`].
    pub state: String,
    /// When that was decided, milliseconds since 1970; 0 when nobody has.
    pub decided_at: i64,
    /// Who decided.
    pub decided_by: String,
    /// Why.
    pub decided_why: String,
}

impl DeadLetterRow {
    /// Whether a redrive of it was begun and has not ended: some of its records may have been appended.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.state == DeadLetterState::Open.name() && self.decided_at != 0
    }
}

/// How many dead letters of a source and stage nobody has decided about.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct OpenDeadLetters {
    /// The configured source.
    pub source: String,
    /// The stage that refused them.
    pub stage: String,
    /// How many.
    pub number: u64,
}

/// Somebody's decision about one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The dead letter's lane.
    pub lane: u16,
    /// Its raw offset.
    pub raw_offset: u64,
    /// What was decided.
    pub decided: Decided,
    /// When.
    pub at: Millis,
    /// By whom.
    pub who: String,
    /// Why.
    pub why: String,
}

/// An event that counts already.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct CountedKey {
    /// The configured source.
    pub source: String,
    /// The event key.
    pub event_key: String,
    /// The lane of the row.
    pub lane: u16,
    /// Its raw offset.
    pub raw_offset: u64,
}

impl Warehouse {
    /// Dead letters by source, stage and reason; most first.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>, WarehouseError> {
        let sql = format!(
            "SELECT source::String AS source, stage::String AS stage, reason::String AS reason, count() AS number, \
             countIf(state = 'open') AS open, countIf(state = 'redriven') AS redriven, \
             countIf(state = 'discarded') AS discarded, \
             toUnixTimestamp64Milli(min(received_at)) AS first_seen, toUnixTimestamp64Milli(max(received_at)) AS last_seen \
             FROM {}.dead_letters WHERE {} GROUP BY source, stage, reason ORDER BY number DESC, source, stage, reason",
            self.database(Side::Production),
            filter.condition(),
        );
        self.rows("group the dead letters", sql).await
    }

    /// Dead letters, the oldest first, after `skip` of them and at most `limit`.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        skip: u64,
        limit: u64,
    ) -> Result<Vec<DeadLetterRow>, WarehouseError> {
        let sql = format!(
            "SELECT incarnation::String AS incarnation, lane, raw_offset, toUnixTimestamp64Milli(letters.received_at) AS received_at, \
             source::String AS source, event_key, request_id, stage::String AS stage, reason::String AS reason, detail, redrive_of, \
             state::String AS state, toUnixTimestamp64Milli(letters.decided_at) AS decided_at, decided_by, decided_why \
             FROM (SELECT * FROM {}.dead_letters WHERE {}) AS letters \
             ORDER BY letters.received_at, lane, raw_offset LIMIT {limit} OFFSET {skip}",
            self.database(Side::Production),
            filter.condition(),
        );
        self.rows("list the dead letters", sql).await
    }

    /// What was decided, the newest first: what one person decided about one group for one reason is one.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn dead_letter_decisions(&self, most: u64) -> Result<Vec<DecisionGroup>, WarehouseError> {
        let sql = format!(
            "SELECT toUnixTimestamp64Milli(max(letters.decided_at)) AS at, if(state = 'open', 'redriving', state)::String AS state, \
             count() AS letters, \
             source::String AS source, reason::String AS reason, decided_by AS who, decided_why AS why \
             FROM (SELECT * FROM {}.dead_letters WHERE decided_by != '') AS letters \
             GROUP BY state, source, reason, who, why ORDER BY at DESC, source, reason LIMIT {most}",
            self.database(Side::Production),
        );
        self.rows("list what was decided about dead letters", sql).await
    }

    /// How many dead letters wait for a decision.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn open_dead_letters(&self) -> Result<Vec<OpenDeadLetters>, WarehouseError> {
        let sql = format!(
            "SELECT source::String AS source, stage::String AS stage, count() AS number FROM {}.dead_letters \
             WHERE state = 'open' GROUP BY source, stage",
            self.database(Side::Production),
        );
        self.rows("count the open dead letters", sql).await
    }

    /// Writes decisions down. A repeat of the same ones changes nothing.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: write the same decisions again.
    pub async fn decide(&self, incarnation: &str, decisions: &[Decision]) -> Result<(), WarehouseError> {
        let incarnation = [Constant { name: "incarnation", value: Value::Text(incarnation) }];
        for server in self.servers() {
            let mut columns = Columns::new(&DECISION_COLUMNS);
            let here = |decision: &&Decision| self.of_lane(decision.lane).shard() == server.shard();
            for decision in decisions.iter().filter(here) {
                let mut row = columns.row();
                row.push(Value::Short(decision.lane));
                row.push(Value::Unsigned(decision.raw_offset));
                row.push(Value::Text(decision.decided.name()));
                row.push(Value::Time(decision.at.0));
                row.push(Value::Text(&decision.who));
                row.push(Value::Text(&decision.why));
                row.finish()?;
            }
            // No token: the newest decision counts, so one that is there twice says nothing else.
            let table = "dead_letter_decisions";
            self.insert_log(server, Side::Production, table, &columns, &incarnation, "").await?;
        }
        Ok(())
    }

    /// Which of these keys count already, as a row of an event in either database, whenever that was.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn counted_keys(&self, keys: &[&str]) -> Result<Vec<CountedKey>, WarehouseError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let list = quoted(keys);
        let of = |side| {
            format!(
                "SELECT source::String AS source, event_key, lane, raw_offset FROM {}.records \
                 WHERE outcome = 'event' AND event_key IN ({list})",
                self.database(side)
            )
        };
        let sql = format!("{} UNION ALL {}", of(Side::Production), of(Side::Test));
        self.rows("look for events that count already", sql).await
    }

    /// Which of these dead letters (`lane/offset`) have a row that is a redrive of them, whether or not a decision was noted.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn redriven(&self, incarnation: &str, letters: &[String]) -> Result<Vec<String>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Redriven {
            redrive_of: String,
        }
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let list = quoted(letters);
        let of = |side| {
            format!(
                "SELECT redrive_of FROM {}.records WHERE incarnation = {} AND redrive_of IN ({list})",
                self.database(side),
                quote(incarnation)
            )
        };
        let sql = format!("SELECT DISTINCT redrive_of FROM ({} UNION ALL {})", of(Side::Production), of(Side::Test));
        let rows: Vec<Redriven> = self.rows("look for redriven dead letters", sql).await?;
        Ok(rows.into_iter().map(|row| row.redrive_of).collect())
    }
}

static DECISION_COLUMNS: [Column; 6] = [
    Column { name: "lane", kind: Kind::Short, doc: "" },
    Column { name: "raw_offset", kind: Kind::Unsigned, doc: "" },
    Column { name: "decision", kind: Kind::Low, doc: "" },
    Column { name: "at", kind: Kind::Time, doc: "" },
    Column { name: "who", kind: Kind::Text, doc: "" },
    Column { name: "why", kind: Kind::Text, doc: "" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_only_what_was_asked_and_quotes_it() {
        assert_eq!(DeadLetterFilter::default().condition(), "1");
        let filter = DeadLetterFilter {
            source: Some("d'ub".into()),
            offset: Some(7),
            state: Some(DeadLetterState::Open),
            ..DeadLetterFilter::default()
        };
        assert_eq!(filter.condition(), r"source = 'd\'ub' AND raw_offset = 7 AND state = 'open'");
    }
}
