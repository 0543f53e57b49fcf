//! The verdict of each stage on an event, with what gave it: a line of the configuration, a list, or the sender.

use config::{Config, Places};
use jiff::Timestamp;
use process::pipeline::{DECODE, DEDUPE, ENRICH};
use rules::RuleIndex;
use serde::Serialize;

use super::columns::{Columns, number, text, texts};

/// How the versions of the lists of bots begin in the trace.
const LISTS: &str = "bots-";

/// What a stage decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageVerdict {
    /// The stage: ingest, adapt, dedupe, label, route or report.
    pub stage: &'static str,
    /// What it decided, in one sentence.
    pub verdict: String,
    /// What gave it.
    pub because: Vec<Because>,
}

/// One thing that was decided, and what decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because {
    /// What: a column, or `secret`, `window`.
    pub what: String,
    /// What it is.
    pub is: String,
    /// The line of the configuration, the list or the table that gave it.
    pub by: String,
}

/// What a rule says of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    /// The rule.
    pub rule: String,
    /// Where it stands.
    pub place: String,
    /// Whether the event matches.
    pub matched: bool,
    /// Why, or why not.
    pub why: String,
    /// What follows from a match; empty when there is none.
    pub then: String,
}

/// What the verdicts are read with.
pub(super) struct Context<'c> {
    pub(super) config: &'c Config,
    pub(super) places: &'c Places,
}

impl Context<'_> {
    fn place(&self, keys: &[&str]) -> String {
        self.places.of(keys).unwrap_or_else(|| format!("[{}], which is not written: the default", keys.join(".")))
    }

    fn item(&self, keys: &[&str], item: &str) -> String {
        self.places.item(keys, item).unwrap_or_else(|| format!("[{}]", keys.join(".")))
    }

    /// The verdicts on an event, as its row says them.
    pub(super) fn stages(&self, row: &Columns, sent: bool) -> Vec<StageVerdict> {
        let mut stages = vec![self.ingest(row, sent)];
        let outcome = text(row, "outcome");
        if outcome == "dead_letter" {
            let (stage, reason, detail) = (text(row, "stage"), text(row, "reason"), text(row, "detail"));
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            let by = match (stage, reason) {
                (_, "switched_to_quarantine") => "a switch: hookline pause --history".to_owned(),
                _ => format!("the adapter of source {} ({})", text(row, "source"), self.source_place(row, "adapter")),
            };
            let because = Because { what: "outcome".into(), is: "dead_letter".into(), by };
            let verdict = format!("a dead letter of stage {stage} ({reason}){detail}");
            stages.push(StageVerdict { stage: DECODE.shown_as, verdict, because: vec![because] });
            return stages;
        }
        stages.push(self.adapt(row));
        stages.push(self.dedupe(row));
        stages.push(self.label(row));
        stages
    }

    fn source_place(&self, row: &Columns, key: &str) -> String {
        let source = text(row, "source");
        self.places.of(&["source", source, key]).unwrap_or_else(|| self.place(&["source", source]))
    }

    fn ingest(&self, row: &Columns, sent: bool) -> StageVerdict {
        let (source, secret) = (text(row, "source"), text(row, "secret_id"));
        let at = Timestamp::from_millisecond(number(row, "received_at")).unwrap_or_default().strftime("%F %T%.3fZ");
        let receipt = text(row, "request_id");
        let verdict = match (sent, receipt) {
            (true, "") => format!("received by source {source} at {at}"),
            (true, receipt) => format!("received by source {source} at {at}, receipt {receipt}"),
            (false, _) => format!("would be received by source {source}"),
        };
        let mut because = Vec::new();
        if !secret.is_empty() {
            because.push(Because {
                what: "secret".into(),
                is: secret.into(),
                by: self.item(&["source", source, "secrets"], secret),
            });
        }
        because.push(Because {
            what: "event_key".into(),
            is: text(row, "event_key").into(),
            by: format!("the key recipe of the adapter ({})", self.source_place(row, "adapter")),
        });
        StageVerdict { stage: "ingest", verdict, because }
    }

    fn adapt(&self, row: &Columns) -> StageVerdict {
        let subtype = text(row, "subtype");
        let subtype = if subtype.is_empty() { String::new() } else { format!(" ({subtype})") };
        let adapter = self.config.source(text(row, "source")).map_or("of its source", |source| source.adapter.name());
        let verdict = format!("read as {}{subtype} by the adapter {adapter}", text(row, "type"));
        let mut because = Vec::new();
        if !text(row, "time_flag").is_empty() {
            because.push(Because {
                what: "time_flag".into(),
                is: text(row, "time_flag").into(),
                by: format!("the sender's words for the time: {:?}", text(row, "event_time_claimed")),
            });
        }
        StageVerdict { stage: DECODE.shown_as, verdict, because }
    }

    fn dedupe(&self, row: &Columns) -> StageVerdict {
        let window = self.config.source(text(row, "source")).map(|source| source.remember_for.as_secs() / 3_600);
        let because = window.map(|hours| Because {
            what: "window".into(),
            is: format!("{hours} h"),
            by: self.source_place(row, "remember_for"),
        });
        let verdict = match text(row, "outcome") {
            "duplicate" => format!(
                "a duplicate: offset {} of the same lane counts, and this one came {} s later",
                number(row, "first_offset"),
                number(row, "duplicate_delay") / 1_000
            ),
            _ => "the first of its key within the window: it counts".to_owned(),
        };
        StageVerdict { stage: DEDUPE.shown_as, verdict, because: because.into_iter().collect() }
    }

    fn label(&self, row: &Columns) -> StageVerdict {
        let (counted, by) = (text(row, "counted"), text(row, "counted_by"));
        let mut because = vec![Because { what: "counted".into(), is: counted.into(), by: self.counted_by(row, by) }];
        let owner = text(row, "owner");
        if !owner.is_empty() {
            let of_source = self.config.source(text(row, "source")).is_some_and(|source| source.owner == owner);
            let by = if of_source { self.source_place(row, "owner") } else { "the link's own owner".to_owned() };
            because.push(Because { what: "owner".into(), is: owner.into(), by });
        }
        let traced: Vec<&str> = texts(row, "trace").collect();
        let channel = text(row, "channel");
        if !channel.is_empty() && !traced.iter().any(|line| line.starts_with("channel:")) {
            because.push(Because { what: "channel".into(), is: channel.into(), by: "the sender".into() });
        }
        for line in traced.into_iter().filter(|line| !line.starts_with(LISTS)) {
            because.push(self.traced(row, line));
        }
        for column in ["campaign", "referrer_class", "country", "device", "partner", "launch"] {
            let is = text(row, column);
            if !is.is_empty() {
                because.push(Because { what: column.into(), is: is.into(), by: origin(row, column).into() });
            }
        }
        for issue in texts(row, "naming_issues") {
            because.push(Because { what: "naming_issues".into(), is: issue.into(), by: self.place(&["naming"]) });
        }
        let test = if is_test(row) { "; test data, which rests apart" } else { "" };
        let by = if by.is_empty() { String::new() } else { format!(" ({by})") };
        StageVerdict { stage: ENRICH.shown_as, verdict: format!("counts as {counted}{by}{test}"), because }
    }

    fn counted_by(&self, row: &Columns, by: &str) -> String {
        match by.split_once(':') {
            _ if by.is_empty() => "no rule or list said otherwise".to_owned(),
            _ if by == "platform" => "the sender says that it is a bot".to_owned(),
            Some(("network", network)) => self.item(&["ignore", "internal", "networks"], network),
            Some(("referrer", host)) => self.item(&["ignore", "internal", "referrer_hosts"], host),
            Some(("method" | "purpose", _)) => "what the sender says of the request (docs/labels.md)".to_owned(),
            _ => {
                // Those that were asked stand on the row; a row of an earlier build has none.
                let lists = texts(row, "trace").find(|line| line.starts_with(LISTS));
                format!("the lists of bots, {}", lists.unwrap_or("version not noted"))
            }
        }
    }

    /// What a line of the trace stands for.
    fn traced(&self, row: &Columns, line: &str) -> Because {
        let (what, rest) = line.split_once(':').unwrap_or(("trace", line));
        let because = |is: &str, by: String| Because { what: what.into(), is: is.into(), by };
        let test = |key: &str, item: &str| self.item(&["ignore", "test", key], item);
        match (what, rest.split_once(':')) {
            ("test", Some(("slug_prefix", prefix))) => because(rest, test("slug_prefixes", prefix)),
            ("test", Some(("campaign", campaign))) => because(rest, test("campaigns", campaign)),
            ("test", Some(("tag", tag))) => because(rest, test("tags", tag)),
            ("test", Some(("source", source))) => because(rest, self.place(&["source", source, "test"])),
            ("channel", None) => because(text(row, "channel"), self.channel(row, rest)),
            _ => because(rest, format!("{line}, as the stage noted it")),
        }
    }

    fn channel(&self, row: &Columns, rule: &str) -> String {
        let configured = |key: &str, value: &str| {
            let folded = enrich::fold(value);
            let of = match key {
                "medium" => &self.config.channels.medium,
                _ => &self.config.channels.source,
            };
            let written = of.contains_key(&folded).then(|| self.place(&["channels", key]));
            written.unwrap_or_else(|| format!("the table of docs/labels.md, for utm_{key} = {value:?}"))
        };
        match rule {
            "utm_medium" => configured("medium", text(row, "utm_medium")),
            "utm_source" => configured("source", text(row, "utm_source")),
            "referrer" => {
                let host = text(row, "referrer_host");
                let mut parents =
                    std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, parent)| parent));
                match parents.any(|host| self.config.channels.referrer.contains_key(host)) {
                    true => self.place(&["channels", "referrer"]),
                    false => format!("the map of referrers (docs/labels.md), for {host:?}"),
                }
            }
            other => format!("rule {other} of docs/labels.md"),
        }
    }

    /// What every rule says of an event, in the words of the index that `process` asks.
    pub(super) fn rules(&self, routes: &RuleIndex, event: &event::LinkEvent<'_>) -> Vec<RuleVerdict> {
        let verdict = |rules::Verdict { rule, matched, why }: rules::Verdict<'_>| RuleVerdict {
            rule: rule.name().to_owned(),
            place: self.place(&["rule", rule.name()]),
            then: if matched { self.then(rule, event) } else { String::new() },
            matched,
            why,
        };
        routes.explain(event).into_iter().map(verdict).collect()
    }

    fn then(&self, rule: &rules::Rule, event: &event::LinkEvent<'_>) -> String {
        let send = self.config.rule(rule.name()).and_then(|rule| rule.send.as_ref());
        let to = match send {
            _ if rule.is_shadow() => "nothing is sent: it is in shadow".to_owned(),
            Some(send) => format!("messages go to {}", send.to.join(", ")),
            None => "nothing is sent".to_owned(),
        };
        match (rule.each_alert(event).is_some(), rule.per()) {
            (true, _) => format!("an alert; {to}"),
            (false, Some(per)) => format!("it counts per {}; {to}", per.name()),
            (false, None) => match rule.trigger() {
                Some(rules::Trigger::FirstSeen(first)) => format!("an alert if its {} is new; {to}", first.of.name()),
                _ => "nothing: the rule has no alert".to_owned(),
            },
        }
    }
}

/// Whether a row is test data: it rests in the other database.
pub(super) fn is_test(row: &Columns) -> bool {
    text(row, "database").ends_with("_test")
}

fn origin(row: &Columns, column: &str) -> &'static str {
    match column {
        "campaign" if text(row, "campaign") == text(row, "utm_campaign") => "utm_campaign",
        "referrer_class" => "the map of referrers (docs/labels.md), or the sender's word",
        "device" => "the user agent, or the sender's word",
        _ => "the sender, or the catalogue",
    }
}
