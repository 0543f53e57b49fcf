//! The senders' books against the tables: event by event, receipt by receipt.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::verify::{ROWS, lines, verify};
use crate::clickhouse::Asker;

/// What is in the tables of a quiet system.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Rows of both databases: one for each record of `raw`.
    pub rows: u64,
    /// Those of them that count: one for each different event.
    pub events: u64,
    /// Further deliveries of the same events.
    pub duplicates: u64,
    /// Rows of what could not be read.
    pub dead_letters: u64,
    /// Rows of test data.
    pub test: u64,
    /// Rows of attempts that nobody heard the answer of.
    pub unheard: u64,
    /// Acknowledged events without a row that counts.
    pub lost: u64,
    /// Events with more than one.
    pub doubled: u64,
    /// Alerts of the rule that fires on each visit of a proposal.
    pub alerts: u64,
}

/// What the senders know.
pub(crate) struct Known {
    /// The ids of all events that were acknowledged.
    pub(crate) acknowledged: HashSet<String>,
    /// Each receipt, and how many events it is for.
    pub(crate) receipts: HashMap<String, u64>,
    /// Events in all attempts, answered or not.
    pub(crate) attempted: u64,
}

/// What was found, and what is wrong with it.
#[derive(Default)]
struct Findings {
    counts: Counts,
    faults: Vec<String>,
}

/// What must hold of a quiet system whose senders know what was acknowledged: everything of [`verify`], and by event and
/// receipt: each acknowledged event counts once, by its first delivery; each receipt's events are rows under it; nobody
/// else's are; each visit of a proposal has raised one alert.
///
/// # Errors
/// Everything that does not hold.
pub(crate) async fn exactly(asker: &Asker, known: &Known) -> anyhow::Result<Counts> {
    let mut findings = Findings::default();
    let keys = asker
        .rows(&format!(
            "SELECT event_key, toUInt64(countIf(outcome = 'event')) AS events, toUInt64(count()) AS n, \
             toUInt64(countIf(outcome = 'duplicate')) AS duplicates, toUInt64(countIf(outcome = 'dead_letter')) AS dead_letters, \
             toUInt64(uniqExact(lane)) AS lanes, argMin(outcome, raw_offset) AS first FROM {ROWS} GROUP BY source, event_key"
        ))
        .await?;
    findings.by_event(&keys, known)?;
    let receipts = format!("SELECT request_id, toUInt64(count()) AS n FROM {ROWS} GROUP BY request_id");
    findings.by_receipt(&asker.rows(&receipts).await?, known)?;
    findings.by_alert(asker).await?;
    if let Err(error) = verify(asker, known.acknowledged.len() as u64).await {
        findings.faults.push(format!("{error:#}"));
    }
    findings.counts.test = asker.number("SELECT count() FROM hookline_test.records").await?;
    if !findings.faults.is_empty() {
        bail!("{:?}\n- {}", findings.counts, findings.faults.join("\n- "));
    }
    Ok(findings.counts)
}

impl Findings {
    /// `rows`: a key each, with how many rows of it count, are duplicates, dead letters; in how many lanes; its first row.
    fn by_event(&mut self, rows: &[Value], known: &Known) -> anyhow::Result<()> {
        let mut counted: HashSet<&str> = HashSet::new();
        for row in rows {
            let number = |name: &str| row[name].as_u64().with_context(|| format!("{name} of {row}"));
            // The id is the last part of each key: of a click, an event in our own format, or a change of a link.
            let id = row["event_key"].as_str().and_then(|key| key.rsplit(|c: char| !is_of_id(c)).next());
            let id = id.context("a key is text")?;
            let events = number("events")?;
            self.counts.rows += number("n")?;
            self.counts.events += events;
            self.counts.duplicates += number("duplicates")?;
            self.counts.dead_letters += number("dead_letters")?;
            let is_new = events == 0 || counted.insert(id);
            self.counts.doubled += u64::from(events > 1 || !is_new);
            if !known.acknowledged.contains(id) {
                self.faults.push(format!("an event that nobody was told is there: {row}"));
            }
            if events != 1 || !is_new || number("lanes")? != 1 || row["first"] != "event" {
                self.faults.push(format!("an event that does not count once, by its first delivery: {row}"));
            }
        }
        let lost = known.acknowledged.iter().filter(|id| !counted.contains(id.as_str()));
        self.faults.extend(lost.clone().take(20).map(|id| format!("an acknowledged event that does not count: {id}")));
        self.counts.lost = lost.count() as u64;
        let Counts { rows, events, duplicates, dead_letters, .. } = self.counts;
        self.must(dead_letters == 0, || format!("{dead_letters} dead letters of sound events"));
        self.must(events + duplicates + dead_letters == rows, || "outcomes do not add up to rows".to_owned());
        self.must(rows <= known.attempted, || format!("{rows} rows of {} events in all attempts", known.attempted));
        Ok(())
    }

    /// `rows`: a receipt each, with how many rows carry it.
    fn by_receipt(&mut self, rows: &[Value], known: &Known) -> anyhow::Result<()> {
        let mut seen = 0_u64;
        for row in rows {
            let (id, n) = (row["request_id"].as_str().context("a receipt is text")?, row["n"].as_u64());
            let n = n.context("a count")?;
            match known.receipts.get(id) {
                None => self.counts.unheard += n,
                Some(events) => {
                    seen += 1;
                    self.must(n == *events, || format!("{events} events were acknowledged under {id}, {n} are rows"));
                }
            }
        }
        let given = known.receipts.len() as u64;
        self.must(seen == given, || format!("of {given} receipts {} have no row", given - seen));
        Ok(())
    }

    /// Each visit of a proposal has raised one alert, and nothing else has under that rule.
    async fn by_alert(&mut self, asker: &Asker) -> anyhow::Result<()> {
        const SAID: &str = "FROM hookline.alerts WHERE rule = 'every-click-on-proposal' AND NOT test";
        const DUE: &str = "SELECT event_key AS key FROM hookline.records WHERE outcome = 'event' AND counted = 'human' \
            AND type IN ('click', 'qr_scan') AND link_kind = 'proposal' ORDER BY key";
        let due = asker.rows(DUE).await?;
        self.counts.alerts = due.len() as u64;
        // The log of alerts is written by its own reader, a moment later than rows.
        let arrived = asker.until(&format!("SELECT count() {SAID}"), due.len() as u64, Duration::from_secs(90)).await;
        let said = asker.rows(&format!("SELECT sample AS key {SAID} ORDER BY key")).await?;
        self.must(arrived.is_ok() && said == due, || {
            format!("alerts differ from visits of proposals:\n{}\n-- visits:\n{}", lines(&said), lines(&due))
        });
        Ok(())
    }

    fn must(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }
}

fn is_of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> Known {
        let acknowledged = ["a", "b"].map(str::to_owned).into();
        let receipts = [("r1", 1), ("r2", 2)].map(|(id, events)| (id.to_owned(), events)).into();
        Known { acknowledged, receipts, attempted: 4 }
    }

    fn key(key: &str, events: u64, duplicates: u64) -> Value {
        json!({ "event_key": key, "events": events, "duplicates": duplicates, "dead_letters": 0, "n": events + duplicates,
            "lanes": 1, "first": "event" })
    }

    fn faults(rows: &[Value], known: &Known) -> Findings {
        let mut findings = Findings::default();
        findings.by_event(rows, known).unwrap();
        findings
    }

    #[test]
    fn books_that_agree_have_no_fault_and_each_kind_of_fault_is_found() {
        let sound = [key("click:a", 1, 2), key("b", 1, 0)];
        let found = faults(&sound, &known());
        assert_eq!(found.faults, [""; 0]);
        assert_eq!((found.counts.events, found.counts.duplicates, found.counts.rows), (2, 2, 4));

        let lost = faults(&sound[..1], &known());
        assert_eq!((lost.counts.lost, lost.faults.len()), (1, 1));
        let doubled = faults(&[key("click:a", 2, 0), key("b", 1, 0)], &known());
        assert_eq!((doubled.counts.doubled, doubled.faults.len()), (1, 1));
        // The same event in two sources or under two keys.
        let twice = faults(&[key("click:a", 1, 0), key("a", 1, 0), key("b", 1, 0)], &known());
        assert_eq!((twice.counts.doubled, twice.faults.len()), (1, 1));
        let stranger = faults(&[key("click:a", 1, 0), key("b", 1, 0), key("click:c", 1, 0)], &known());
        assert_eq!(stranger.faults.len(), 1);
        let more = faults(&[key("click:a", 1, 3), key("b", 1, 0)], &known());
        assert_eq!(more.faults.len(), 1, "more rows than events were ever sent: {:?}", more.faults);
        let mut later = sound.clone();
        later[0]["first"] = json!("duplicate");
        assert_eq!(faults(&later, &known()).faults.len(), 1);
        let mut two_lanes = sound.clone();
        two_lanes[1]["lanes"] = json!(2);
        assert_eq!(faults(&two_lanes, &known()).faults.len(), 1);
        let mut dead = sound;
        dead[1] = json!({ "event_key": "b", "events": 0, "duplicates": 0, "dead_letters": 1, "n": 1, "lanes": 1,
            "first": "dead_letter" });
        let dead = faults(&dead, &known());
        assert_eq!((dead.counts.lost, dead.counts.dead_letters), (1, 1));
    }

    #[test]
    fn each_receipt_is_held_against_its_rows() {
        let receipt = |id: &str, n: u64| json!({ "request_id": id, "n": n });
        let faults = |rows: &[Value]| {
            let mut findings = Findings::default();
            findings.by_receipt(rows, &known()).unwrap();
            (findings.faults.len(), findings.counts.unheard)
        };
        assert_eq!(faults(&[receipt("r1", 1), receipt("r2", 2), receipt("unheard", 1)]), (0, 1));
        assert_eq!(faults(&[receipt("r1", 1), receipt("r2", 1)]), (1, 0));
        assert_eq!(faults(&[receipt("r1", 2), receipt("r2", 2)]), (1, 0));
        assert_eq!(faults(&[receipt("r2", 2)]), (1, 0));
    }
}
