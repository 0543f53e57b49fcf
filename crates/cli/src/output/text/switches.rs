//! What is switched, and was.

use kafka::control::State;
use operate::switches::{Changed, HistoryReport, ListReport, Listed, SwitchReport, Switched};

use super::{Page, Text, line};

impl Text for SwitchReport {
    fn text(&self, page: &mut Page) {
        let Changed { switch, was } = &self.change;
        let was = if *was == switch.state { format!("as before: {was}") } else { format!("before: {was}") };
        line!(page, "{} {} ({was}).", switch.object, in_words(switch));
        line!(page, "{}", consequence(switch));
        if let Some(warning) = &self.warning {
            line!(page, "warning: {warning}");
        }
        let flag = page.flag();
        match switch.state {
            State::Accept => line!(page, "Next: hookline pause --list {flag}"),
            _ => line!(page, "Next: hookline resume {} {flag}", switch.object),
        }
    }
}

impl Text for ListReport {
    fn text(&self, page: &mut Page) {
        if self.switched.is_empty() {
            line!(page, "Nothing is switched: every source is accepted, every rule and destination is on.");
        }
        for Listed { switch, configured } in &self.switched {
            let gone = if *configured { "" } else { "; not in this configuration" };
            let since = switch.at.strftime("%F %T UTC");
            line!(page, "{} {}, since {since}{gone}", switch.object, in_words(switch));
        }
        for why in &self.unreadable {
            line!(page, "{why}");
        }
        if let Some(first) = self.switched.first() {
            line!(page, "Next: hookline resume {} {}", first.switch.object, page.flag());
        }
    }
}

impl Text for HistoryReport {
    fn text(&self, page: &mut Page) {
        if self.changes.is_empty() {
            line!(page, "Nothing was ever switched.");
        }
        for Changed { switch, was } in &self.changes {
            let at = switch.at.strftime("%F %T UTC");
            line!(page, "{at}  {} {} (before: {was})", switch.object, in_words(switch));
        }
        for why in &self.unreadable {
            line!(page, "{why}");
        }
    }
}

/// `is paused until 2026-11-25 18:00:00 UTC by ana: plan change`.
fn in_words(Switched { object, state, who, why, until, .. }: &Switched) -> String {
    let state = match (state, kind(object)) {
        (State::Accept, "source") => "is accepted",
        (State::Accept, "silence") => "is over",
        (State::Accept, "message") => "is not acknowledged any more",
        (State::Accept, "configuration") => "is asked for",
        (State::Accept, _) => "is on",
        (State::Quarantine, _) => "is in quarantine",
        (State::Pause, "silence") => "holds",
        (State::Pause, "message") => "is acknowledged",
        (State::Pause, _) => "is paused",
        (State::Retired, _) => "is retired",
    };
    let until = until.map(|until| format!(" until {}", until.strftime("%F %T UTC"))).unwrap_or_default();
    format!("{state}{until} by {who}: {why}")
}

fn kind(object: &str) -> &str {
    object.split('/').next().unwrap_or_default()
}

fn consequence(switch: &Switched) -> &'static str {
    match (switch.state, kind(&switch.object)) {
        (State::Accept, "source") => "Deliveries are taken as usual, within two seconds, by every running ingest.",
        (State::Accept, "destination") => "What waited goes as one digest, within two seconds.",
        (State::Accept, _) => "New messages go as usual, within two seconds.",
        (State::Quarantine, _) => {
            "Authentic deliveries are answered 202 and become dead letters (reason switched_to_quarantine), within two seconds."
        }
        (State::Pause, "source") => {
            "Deliveries are answered 503 with Retry-After, within two seconds: the sender keeps them for its retries."
        }
        (State::Pause, "destination") => {
            "Nothing is sent there, within two seconds: what comes waits, and goes as one digest."
        }
        (State::Pause, "message") => "Of what it named, nothing follows but the end, within two seconds.",
        (State::Pause, _) => {
            "Nothing new is sent, within two seconds; what was opened is still ended. What is held back is recorded in ClickHouse."
        }
        (State::Retired, _) => "Deliveries are answered 410, within two seconds: the sender shall stop.",
    }
}
