//! Why an event is as it is: the verdict of each stage with what gave it, and what the configuration of now would say.
//!
//! Nothing here decides anything: the adapters, the step of `process` and the index of rules are asked, the same
//! functions that made the row.

mod alert;
mod columns;
mod delivery;
mod find;
mod verdicts;
mod watched;

use std::ops::Range;

use config::Places;
use dedupe::Verdict;
use kafka::control::Control;
use kafka::salts::Salts;
use process::{Pipeline, Salt, Step};
use rules::RuleIndex;
use serde::Serialize;
use serde_json::{Map, Value};
use warehouse::Warehouse;

use crate::replay::read::{self, Raw};
use crate::{Installation, Report, Result, blocking};
use columns::{Columns, number, text};
use verdicts::Context;

pub use alert::{AlertReport, Chart, Point, Told, alert};
pub use columns::Difference;
pub use delivery::{Delivery, Edge, Signed, delivery};
pub use find::Selector;
pub use verdicts::{Because, RuleVerdict, StageVerdict};

/// Why events are as they are.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainReport {
    /// Whether something was found, and the configuration of now would decide the same.
    pub ok: bool,
    /// What was asked about.
    pub about: String,
    /// For a request or a file: what ingest would say to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// Each event.
    pub events: Vec<Explained>,
    /// What to do next, if something.
    pub next: Vec<String>,
}

/// Why an event is as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// Its place in `raw`; `None` for what was not sent.
    pub place: Option<RecordPlace>,
    /// The verdict of each stage.
    pub stages: Vec<StageVerdict>,
    /// The verdict of each rule; `None` when the bytes are gone, so that rules cannot be asked.
    pub rules: Option<Vec<RuleVerdict>>,
    /// Values that the sender gave and that could not be read.
    pub unreadable: Vec<String>,
    /// The configuration under which the row was decided, and the one of now.
    pub config: Versions,
    /// What the configuration of now would say otherwise; `None` when the bytes are gone or a row is missing.
    pub differences: Option<Vec<Difference>>,
    /// The row: stored, or as it would be. Columns that are empty are left out.
    pub row: Map<String, Value>,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordPlace {
    /// The lane.
    pub lane: u16,
    /// The offset in `raw`.
    pub offset: u64,
    /// Whether it has a row.
    pub has_row: bool,
    /// Whether `raw` still holds its bytes.
    pub has_bytes: bool,
}

/// Under which configurations an event was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// That of the row; `None` when there is none.
    pub stored: Option<String>,
    /// That of now.
    pub now: String,
}

impl Report for ExplainReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// What explains the events of one installation.
pub struct Explainer {
    installation: Installation,
    warehouse: Warehouse,
    control: Control,
    pipeline: Pipeline,
    routes: RuleIndex,
    places: Places,
    salts: Salts,
}

impl Explainer {
    /// Asks both engines what is needed.
    ///
    /// # Errors
    /// When an engine does not answer or holds no Hookline.
    pub async fn open(installation: &Installation) -> Result<Self> {
        let cluster = installation.cluster.clone();
        Ok(Self {
            warehouse: installation.connect().await?,
            control: installation.identity().await?,
            pipeline: installation.pipeline_with_links().await?,
            routes: installation.config.routes(),
            places: Places::read(&installation.file),
            salts: blocking(move || Ok(kafka::salts::read(&cluster)?)).await?,
            installation: installation.clone(),
        })
    }

    /// Explains records of a lane that `raw` still holds.
    ///
    /// # Errors
    /// When an engine fails, or `raw` does not hold all of them.
    pub async fn range(&self, lane: u16, range: Range<u64>) -> Result<Vec<Explained>> {
        let cluster = self.installation.cluster.clone();
        let asked = range.clone();
        let records = blocking(move || read::read(&cluster, lane, &asked)).await?;
        let rows = columns::stored(&self.warehouse, &self.control.incarnation, lane, range).await?;
        let mut step = Step::new(&self.pipeline, &self.control);
        let mut explained = Vec::with_capacity(records.len());
        for record in &records {
            let row = rows.get(&record.offset);
            let verdict = match row {
                Some(row) => verdict_of(row),
                None => self.verdict_without_row(record, &mut step, lane).await?,
            };
            explained.push(self.one(record, &mut step, lane, row, verdict));
        }
        Ok(explained)
    }

    fn one(
        &self,
        record: &Raw,
        step: &mut Step<'_>,
        lane: u16,
        stored: Option<&Columns>,
        verdict: Option<Verdict>,
    ) -> Explained {
        let raw = record.view(lane);
        let decoded = step.decode(&raw);
        let salt = step.salt_day(&decoded).and_then(|day| self.salts.get(&day).copied().map(Salt));
        // What was a dead letter and can be read now has no verdict on its row; it would be the first of its key.
        let verdict = decoded.candidate().map(|_| verdict.unwrap_or(Verdict::First));
        // The catalogue is not the configuration: of a link that it did not know then, it says nothing now either.
        let knew = stored.is_none_or(|row| number(row, "catalogue_version") != 0);
        let catalogue = step.catalogue().filter(|_| knew);
        let decided = step.enrich(&raw, decoded, verdict, salt, catalogue.as_deref());
        let now = columns::of_event(&decided.event, &self.installation.warehouse);
        let context = Context { config: &self.installation.config, places: &self.places };
        let row = stored.unwrap_or(&now);
        let mut stages = context.stages(row, true);
        stages.push(report_verdict(row, stored.is_some()));
        Explained {
            place: Some(RecordPlace { lane, offset: record.offset, has_row: stored.is_some(), has_bytes: true }),
            stages,
            rules: Some(context.rules(&self.routes, &decided.event)),
            unreadable: decided.unreadable.iter().map(|value| value.name().to_owned()).collect(),
            config: self.versions(stored),
            differences: stored.map(|stored| columns::differences(stored, &now)),
            row: without_empty(row),
        }
    }

    /// A record whose bytes are gone: its row alone.
    fn of_row(&self, lane: u16, row: &Columns) -> Explained {
        let context = Context { config: &self.installation.config, places: &self.places };
        let mut stages = context.stages(row, true);
        stages.push(report_verdict(row, true));
        let offset = number(row, "raw_offset").try_into().unwrap_or(0);
        Explained {
            place: Some(RecordPlace { lane, offset, has_row: true, has_bytes: false }),
            stages,
            rules: None,
            unreadable: Vec::new(),
            config: self.versions(Some(row)),
            differences: None,
            row: without_empty(row),
        }
    }

    fn versions(&self, stored: Option<&Columns>) -> Versions {
        let stored = stored.map(|row| text(row, "config_version").to_owned());
        Versions { stored, now: self.installation.config.version_hash().to_owned() }
    }
}

/// What the dedupe window said, as the row has it; `None` for a dead letter.
fn verdict_of(row: &Columns) -> Option<Verdict> {
    match text(row, "outcome") {
        "dead_letter" => None,
        "duplicate" => Some(Verdict::Duplicate {
            first_offset: row.get("first_offset").and_then(Value::as_u64).unwrap_or(0),
            delay_ms: number(row, "duplicate_delay"),
        }),
        _ => Some(Verdict::First),
    }
}

fn report_verdict(row: &Columns, has_row: bool) -> StageVerdict {
    let database = text(row, "database");
    let reports = match (text(row, "outcome"), text(row, "counted"), verdicts::is_test(row)) {
        (_, _, true) => "it is test data and is in no production report",
        ("duplicate", ..) => "a duplicate is in no report",
        ("dead_letter", ..) => "a dead letter is in no report until it is redriven",
        (_, "human", _) => "it is in the reports",
        _ if matches!(text(row, "type"), "lead" | "sale") => {
            "it is in the reports: leads and sales count, and it does not matter who tells of them"
        }
        _ => "only raw_clicks of the reports counts it",
    };
    let verdict = match has_row {
        true => format!("a row of {database}.records; {reports}"),
        false => format!("no row yet; it would be one of {database}.records; {reports}"),
    };
    StageVerdict { stage: "report", verdict, because: Vec::new() }
}

/// The columns that say something.
fn without_empty(row: &Columns) -> Columns {
    let says = |value: &Value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty(),
        Value::Object(pairs) => !pairs.is_empty(),
        Value::Bool(flag) => *flag,
        Value::Null => false,
    };
    row.iter().filter(|(_, value)| says(value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Explains stored events.
///
/// # Errors
/// When an engine fails.
pub async fn stored(installation: &Installation, selector: &Selector) -> Result<ExplainReport> {
    let explainer = Explainer::open(installation).await?;
    let (events, next) = find::explain(&explainer, selector).await?;
    let same = |event: &Explained| event.differences.as_ref().is_none_or(Vec::is_empty);
    let ok = !events.is_empty() && events.iter().all(same);
    Ok(ExplainReport { ok, about: selector.to_string(), edge: None, events, next })
}
