//! What becomes of a dead letter when it is redriven. Pure: the same letter under the same configuration gives the same
//! plan.

use adapter::{Adapter, Dialect, fallback_key};
use config::Config;
use event::TraceContext;
use event::raw::RawHeaders;
use process::{Decoded, RawRecord, Step};

use super::body::DeadLetterBody;

/// A record to append to `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RedriveRecord {
    /// The event key, by today's recipe.
    pub(super) key: String,
    /// The bytes of the element.
    pub(super) body: Vec<u8>,
    /// What stands beside them.
    pub(super) headers: Vec<(std::borrow::Cow<'static, str>, Vec<u8>)>,
    /// The trace in which the letter died, if it was traced.
    pub(super) died_in: Option<TraceContext>,
    /// Why it would be a dead letter again, if it would.
    pub(super) dead: Option<Dead>,
}

/// Why a record cannot be read today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) reason: String,
    pub(super) detail: String,
}

/// The records that a redrive of a letter appends: one, or several where a body that could not be split can be split
/// today.
///
/// `config` says how each source's payloads are read. `origin` is the lane and offset of the dead letter, `key` its
/// event key, `now_ms` the new received time. What ingest has set aside is an ordinary record again: the redrive
/// decides so.
///
/// # Errors
/// When the record was never one of ours, so that it is not known how to read it.
pub(super) fn plan(
    config: &Config,
    step: &mut Step<'_>,
    letter: &DeadLetterBody,
    key: &str,
    origin: (u16, u64),
    now_ms: i64,
) -> Result<Vec<RedriveRecord>, Dead> {
    let headers = RawHeaders::from_headers(letter.headers())
        .map_err(|error| Dead { reason: "foreign_record".to_owned(), detail: error.to_string() })?;
    let died_in = headers.trace;
    let headers = RawHeaders {
        received_at: now_ms,
        redrive_of: Some(format!("{}/{}", origin.0, origin.1).into()),
        quarantine: None,
        // The trace in which it died is over; a redrive starts another.
        trace: None,
        ..headers
    };
    let again = |step: &mut Step<'_>, key: &str, body: &[u8], headers: &RawHeaders<'_>| {
        let record = again(step, key, body, headers, origin.0);
        RedriveRecord { died_in, ..record }
    };
    let whole = |step: &mut Step<'_>| again(step, key, &letter.body, &headers);
    // Only a body that is known by its hash may be one that could not be split. An element of a batch stays what it is.
    let adapter = Adapter::parse(&headers.adapter).filter(|_| key == fallback_key(&letter.body).as_str());
    let Some(adapter) = adapter else { return Ok(vec![whole(step)]) };
    let attribute = |name: &str| {
        let name = name.strip_prefix("ce-")?;
        headers.cloud_event.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    };
    let dialect = config.source(&headers.source).map_or(Dialect::PLAIN, |source| source.dialect.clone());
    match adapter.split(&dialect, &letter.body, &headers.content_type, &attribute) {
        Err(_) => Ok(vec![whole(step)]),
        Ok(elements) => Ok(elements
            .iter()
            .map(|element| {
                let content_type = match element.content_type {
                    "" => headers.content_type.clone(),
                    own => own.into(),
                };
                let headers = RawHeaders { ordinal: element.ordinal, content_type, ..headers.clone() };
                again(step, element.key.as_str(), &element.bytes, &headers)
            })
            .collect()),
    }
}

fn again(step: &mut Step<'_>, key: &str, body: &[u8], headers: &RawHeaders<'_>, lane: u16) -> RedriveRecord {
    let record = RawRecord::new(lane, 0, headers.received_at, key.as_bytes(), body, Ok(headers.clone()));
    let dead = match step.decode(&record) {
        Decoded::Event(..) => None,
        Decoded::Dead(_, dead) => Some(Dead { reason: dead.reason, detail: dead.detail }),
    };
    RedriveRecord { key: key.to_owned(), body: body.to_vec(), headers: headers.to_headers(), died_in: None, dead }
}

#[cfg(test)]
mod tests {
    use event::DeadLetter;
    use kafka::control::Control;
    use process::Pipeline;

    use super::*;

    const NOW: i64 = 1_764_000_000_000;

    fn click(id: &str) -> String {
        format!(
            r#"{{"id":"{id}","type":"click","time":"2025-11-24T10:00:00Z","link":{{"id":"l_1","domain":"go.example","slug":"a"}}}}"#
        )
    }

    fn letter(body: &str, quarantine: Option<&'static str>) -> DeadLetterBody {
        let raw = RawHeaders {
            source: "shop".into(),
            adapter: "canonical".into(),
            received_at: NOW - 86_400_000,
            request_id: "req_1".into(),
            content_type: "application/json".into(),
            quarantine: quarantine.map(Into::into),
            ..RawHeaders::default()
        };
        let place =
            DeadLetter { stage: "ingest".into(), reason: "x".into(), detail: String::new(), lane: 2, offset: 7 };
        let raw = raw.to_headers().into_iter().map(|(name, value)| (name.into_owned(), value));
        let place = place.headers().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()));
        DeadLetterBody { headers: raw.chain(place).collect(), body: body.as_bytes().to_vec() }
    }

    fn planned(letter: &DeadLetterBody, key: &str) -> Result<Vec<RedriveRecord>, Dead> {
        let environment = config::Environment::new([("", ""); 0], jiff::Timestamp::UNIX_EPOCH).without_secrets();
        let folder =
            std::env::temp_dir().join(format!("hookline-plan-{}-{key}", std::process::id()).replace([':', '/'], "-"));
        std::fs::create_dir_all(&folder).unwrap();
        let path = config::Fresh::new([7; 96]).write(&folder).unwrap();
        let config = Config::load(&path, &environment).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let overrides = crate::installation::Overrides {
            brokers: Some("127.0.0.1:1".into()),
            clickhouse: Some(warehouse::Settings::default()),
        };
        let installation = crate::Installation::new(config, &path, overrides).unwrap();
        let pipeline: Pipeline = installation.pipeline().expect("no file is named");
        let control = Control { incarnation: "i".into(), lanes: 4, partitioner: 1, recipes: 1, dedupe_key: [0; 16] };
        plan(&installation.config, &mut Step::new(&pipeline, &control), letter, key, (2, 7), NOW)
    }

    fn headers(record: &RedriveRecord) -> RawHeaders<'_> {
        RawHeaders::from_headers(record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_slice()))).unwrap()
    }

    #[test]
    fn what_ingest_has_set_aside_is_an_ordinary_record_again() {
        let body = click("a");
        let records = planned(&letter(&body, Some("switched_to_quarantine")), "click:a").unwrap();
        assert_eq!((records.len(), &records[0].dead), (1, &None));
        let headers = headers(&records[0]);
        assert_eq!((headers.quarantine.as_deref(), headers.redrive_of.as_deref()), (None, Some("2/7")));
        assert_eq!((headers.received_at, headers.request_id.as_ref()), (NOW, "req_1"));
        assert_eq!((records[0].key.as_str(), records[0].body.as_slice()), ("click:a", body.as_bytes()));
    }

    #[test]
    fn a_body_that_could_not_be_split_is_split_by_todays_adapter_and_each_event_gets_its_key() {
        let body = format!("[{},{},7]", click("a"), click("b"));
        let records = planned(&letter(&body, Some("not_json")), fallback_key(body.as_bytes()).as_str()).unwrap();
        assert_eq!(records.len(), 3);
        assert_eq!(records.iter().map(|record| record.dead.is_some()).collect::<Vec<_>>(), [false, false, true]);
        assert!(records.iter().all(|record| headers(record).redrive_of.as_deref() == Some("2/7")));
        assert_eq!(records.iter().map(|record| headers(record).ordinal).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(records[0].key != records[1].key && records[0].key != fallback_key(&records[0].body).as_str());
    }

    #[test]
    fn what_cannot_be_read_today_either_says_why_and_what_is_not_ours_is_refused() {
        let records = planned(&letter(r#"{"id":"a"}"#, None), "a").unwrap();
        assert_eq!(records[0].dead.as_ref().unwrap().reason, "missing_field");
        let foreign = DeadLetterBody { headers: vec![("x".into(), b"y".to_vec())], body: b"{}".to_vec() };
        assert_eq!(planned(&foreign, "a").unwrap_err().reason, "foreign_record");
    }
}
