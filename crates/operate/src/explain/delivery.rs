//! What was not stored: a captured request or a file, taken through the same steps.

use std::time::Duration;

use adapter::{Element, fallback_key};
use config::Places;
use dedupe::{Fate, Verdict, Witness, hindsight};
use event::lane::of_key;
use event::raw::RawHeaders;
use kafka::control::Control;
use process::Step;
use process::pipeline::DEDUPE;
use serde::Serialize;
use signature::{Request, Verifier};

use super::columns;
use super::verdicts::Context;
use super::{ExplainReport, Explained, Explainer, Versions, report_verdict, without_empty};
use crate::error::refuse;
use crate::replay::read::Raw;
use crate::{Installation, Result};

/// How long the engines may take to say whether an event is known already.
const ENGINES: Duration = Duration::from_secs(10);

/// A request, or the events of a file as a sender would post them.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// What it is called in the report.
    pub about: String,
    /// The configured source that it is sent to.
    pub source: String,
    /// When it arrives, in milliseconds since 1970.
    pub at: i64,
    /// Its content type.
    pub content_type: String,
    /// Its body, decompressed.
    pub body: Vec<u8>,
    /// What its signature covers; `None` for a file, which has none.
    pub signed: Option<Signed>,
}

/// What a signature is checked on.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    /// The method.
    pub method: String,
    /// The URL as the scheme wants it.
    pub url: String,
    /// All headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body as it was on the wire.
    pub wire: Vec<u8>,
}

/// What ingest would say to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The source.
    pub source: String,
    /// Whether it is authentic; `None` for a file.
    pub authentic: Option<bool>,
    /// By which secret, or why not.
    pub by: String,
    /// How many events are in it.
    pub events: usize,
    /// Why the body holds no event, if so.
    pub undecodable: Option<String>,
}

/// Explains what was not stored. Kafka and ClickHouse are asked whether the events are known already, if they answer.
///
/// # Errors
/// When the configuration has no such source.
pub async fn delivery(installation: &Installation, delivery: &Delivery) -> Result<ExplainReport> {
    let config = &installation.config;
    let Some(source) = config.source(&delivery.source) else {
        let names = config.sources.iter().map(|source| source.name.as_str());
        let hint = config::did_you_mean(&delivery.source, names);
        refuse!("{} has no source {:?}; {hint}", installation.file.display(), delivery.source);
    };
    let (authentic, by) = match &delivery.signed {
        None => (None, "a file has no signature".to_owned()),
        Some(signed) => authenticate(source, signed, delivery),
    };
    let header = |name: &str| {
        let headers = &delivery.signed.as_ref()?.headers;
        let (_, value) = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    };
    let split = source.adapter.split(&source.dialect, &delivery.body, &delivery.content_type, &header);
    let (elements, undecodable) = match split {
        Ok(elements) => (elements, None),
        Err(why) => {
            let said = why.to_string();
            let whole = Element {
                bytes: delivery.body.as_slice().into(),
                key: fallback_key(&delivery.body),
                ordinal: 0,
                content_type: "",
                quarantine: Some(why),
            };
            (vec![whole], Some(said))
        }
    };
    // Engines that do not answer leave out only whether the events are known already.
    let asked = tokio::time::timeout(ENGINES, Explainer::open(installation)).await;
    let known = asked.ok().and_then(std::result::Result::ok);
    let places = Places::read(&installation.file);
    let files = if known.is_none() { Some(installation.pipeline_of_files()?) } else { None };
    let Some(pipeline) = known.as_ref().map(|known| &known.pipeline).or(files.as_ref()) else {
        crate::error::refuse!("the configuration is missing to explain by")
    };
    let control = known.as_ref().map_or_else(nothing_known, |known| known.control.clone());
    let mut step = Step::new(pipeline, &control);
    let context = Context { config, places: &places };
    let routes = config.routes();
    let mut events = Vec::new();
    for element in &elements {
        let raw = Raw::made(element, source, delivery.at, by_secret(authentic, &by));
        let lane = of_key(&raw.key, control.lanes);
        let verdict = match &known {
            Some(known) => known.verdict_without_row(&raw, &mut step, lane).await?,
            None => Some(Verdict::First),
        };
        let record = raw.view(lane);
        let decoded = step.decode(&record);
        let verdict = decoded.candidate().and(verdict);
        let catalogue = step.catalogue();
        let decided = step.enrich(&record, decoded, verdict, None, catalogue.as_deref());
        let row = columns::of_event(&decided.event, &installation.warehouse);
        let mut stages = context.stages(&row, false);
        if known.is_none()
            && let Some(dedupe) = stages.iter_mut().find(|stage| stage.stage == DEDUPE.shown_as)
        {
            dedupe.verdict = "not asked: Kafka or ClickHouse does not answer".to_owned();
        }
        stages.push(report_verdict(&row, false));
        events.push(Explained {
            place: None,
            stages,
            rules: Some(context.rules(&routes, &decided.event)),
            unreadable: decided.unreadable.iter().map(|value| value.name().to_owned()).collect(),
            config: Versions { stored: None, now: config.version_hash().to_owned() },
            differences: None,
            row: without_empty(&row),
        });
    }
    let quarantined = elements.iter().any(|element| element.quarantine.is_some());
    let mut next = Vec::new();
    if authentic == Some(false) {
        next.push(format!("why its signature fails: hookline verify --request FILE {}", installation.flag()));
    }
    let edge = Edge { source: source.name.clone(), authentic, by, events: elements.len(), undecodable };
    let ok = authentic != Some(false) && !quarantined;
    Ok(ExplainReport { ok, about: delivery.about.clone(), edge: Some(edge), events, next })
}

fn authenticate(source: &config::Source, signed: &Signed, delivery: &Delivery) -> (Option<bool>, String) {
    let verifier = match Verifier::new(source.scheme.clone(), source.secrets.clone()) {
        Ok(verifier) => verifier,
        Err(why) => return (Some(false), why.to_string()),
    };
    let check = |body: &[u8]| {
        let headers = signed.headers.as_slice();
        let request = Request { method: &signed.method, url: &signed.url, headers: &headers, body };
        verifier.verify(&request, delivery.at / 1_000).map(|authentic| authentic.secret_id.to_owned())
    };
    // As ingest: the bytes on the wire, and then what they decompress to.
    match check(&signed.wire).or_else(|refusal| check(&delivery.body).map_err(|_| refusal)) {
        Ok(secret) => (Some(true), secret),
        Err(refusal) => (Some(false), refusal.to_string()),
    }
}

fn by_secret(authentic: Option<bool>, by: &str) -> &str {
    if authentic == Some(true) { by } else { "" }
}

/// The identity that decisions are made under when no engine answers: only the dedupe id depends on it, and it is not
/// asked.
fn nothing_known() -> Control {
    Control { incarnation: String::new(), lanes: 1, partitioner: 1, recipes: 1, dedupe_key: [0; 16] }
}

impl Raw {
    /// The record that ingest would append.
    pub(crate) fn made(element: &Element<'_>, source: &config::Source, at: i64, secret: &str) -> Self {
        let headers = RawHeaders {
            source: source.name.as_str().into(),
            adapter: source.adapter.name().into(),
            received_at: at,
            secret_id: secret.into(),
            ordinal: element.ordinal,
            content_type: element.content_type.into(),
            quarantine: element.quarantine.as_ref().map(|why| why.reason.into()),
            ..RawHeaders::default()
        };
        let headers = headers.to_headers().into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
        Self {
            offset: 0,
            appended_at: at,
            key: element.key.as_str().as_bytes().to_vec(),
            body: element.bytes.to_vec(),
            headers,
        }
    }
}

impl Explainer {
    /// What the dedupe window would say of a record that has no row, by the rows of its key; `None` for a dead letter.
    pub(super) async fn verdict_without_row(
        &self,
        raw: &Raw,
        step: &mut Step<'_>,
        lane: u16,
    ) -> Result<Option<Verdict>> {
        let Some((mut candidate, source, key)) = raw.candidate(step, lane) else { return Ok(None) };
        // Behind every record that has a row.
        candidate.offset = u64::MAX;
        let window = i64::try_from(candidate.window_ms).unwrap_or(i64::MAX);
        let received = candidate.received_at.saturating_sub(window)..=candidate.received_at;
        let rows = self.warehouse.rows_of_keys(&self.control.incarnation, lane, &[key.as_str()], received).await?;
        let witness = |row: warehouse::KeyRow| Witness {
            offset: row.raw_offset,
            received_at: row.received_at,
            fate: match row.duplicate {
                true => Fate::Duplicate { first_offset: row.first_offset, delay_ms: row.duplicate_delay },
                false => Fate::Counted,
            },
        };
        let witnesses: Vec<Witness> = rows.into_iter().filter(|row| row.source == source).map(witness).collect();
        Ok(Some(hindsight(&candidate, &witnesses)))
    }
}
