//! What rules would have sent, as text and as Markdown.

use operate::backtest::{BacktestReport, DestinationReport, Difference, Preview, RuleReport};

use super::{Page, Text, line, time};

/// Differences of a rule that are listed.
const LISTED: usize = 10;

impl Text for BacktestReport {
    fn text(&self, page: &mut Page) {
        line!(page, "{}", span_of(self));
        line!(page, "");
        line!(
            page,
            "{:<26} {:<8} {:>7} {:>7} {:>7} {:>6} {:>9} {:>8} {:>9}",
            "rule",
            "kind",
            "fires",
            "fired",
            "both",
            "keys",
            "messages",
            "sent",
            "a week"
        );
        for rule in &self.rules {
            line!(
                page,
                "{:<26} {:<8} {:>7} {:>7} {:>7} {:>6} {:>9} {:>8} {:>9}",
                rule.rule,
                rule.kind,
                rule.alerts,
                rule.alerts_before,
                rule.both,
                rule.keys,
                rule.messages,
                rule.messages_before,
                a_week(self, rule)
            );
        }
        for rule in &self.rules {
            for words in words_of(rule) {
                line!(page, "{}: {words}", rule.rule);
            }
        }
        for rule in self.rules.iter().filter(|rule| !rule.differences.is_empty()) {
            line!(page, "");
            line!(page, "{}: what is not the same", rule.rule);
            for one in rule.differences.iter().take(LISTED) {
                line!(page, "  {} {}", if one.is_new { "+" } else { "-" }, difference(one));
            }
        }
        if !self.destinations.is_empty() {
            line!(page, "");
            line!(page, "{:<26} {:<16} {:>9} {:>6} {:>11}", "destination", "owner", "messages", "days", "most a day");
        }
        for DestinationReport { destination, owner, messages, days, most_a_day, most_on } in &self.destinations {
            line!(page, "{destination:<26} {owner:<16} {messages:>9} {days:>6} {most_a_day:>11}  on {}", day(*most_on));
        }
        for Preview { at, destination, mentions, text, .. } in &self.messages {
            line!(page, "");
            let mentions = if mentions.is_empty() { String::new() } else { format!(", mentions {mentions}") };
            line!(page, "{} to {destination}{mentions}", time::shown(*at));
            text.lines().for_each(|text| line!(page, "  | {text}"));
        }
        line!(page, "");
        self.notes.iter().for_each(|note| line!(page, "Note: {note}."));
    }
}

fn span_of(report: &BacktestReport) -> String {
    let learned = match report.learned_from == report.from {
        true => String::new(),
        false => format!(", learned from {} on", time::shown(report.learned_from)),
    };
    format!(
        "{} until {}{learned}: {} events in {:.1} s ({:.0} a second).",
        time::shown(report.from),
        time::shown(report.until),
        report.events,
        report.seconds,
        report.events as f64 / report.seconds.max(0.001)
    )
}

fn a_week(report: &BacktestReport, rule: &RuleReport) -> String {
    let weeks = (report.until - report.from) as f64 / (7.0 * 86_400_000.0);
    format!("{:.1}", rule.messages as f64 / weeks.max(1e-9))
}

/// What is worth a sentence.
fn words_of(rule: &RuleReport) -> Vec<String> {
    let mut words = Vec::new();
    if rule.shadow {
        words.push("only tried out: it sends nothing".to_owned());
    }
    if rule.was_another {
        words.push("what fired was another version of it".to_owned());
    }
    if rule.held_back > 0 {
        words.push(format!("held back (silences, mutes, closed hours): {}", rule.held_back));
    }
    if let Some(until) = rule.compared_until {
        words.push(format!(
            "compared with what fired up to {}, and no further: there are very many",
            time::shown(until)
        ));
    }
    if let Some(most) = rule.most.first().filter(|most| most.alerts > 1) {
        words.push(format!("most for {} ({} of {})", most.key, most.alerts, rule.alerts));
    }
    words
}

fn difference(one: &Difference) -> String {
    let why = if one.why.is_empty() { String::new() } else { format!(": {}", one.why) };
    let what = if one.is_new { "would fire" } else { "fired, would not" };
    format!("{} {} {what}{why}", time::shown(one.at), one.key)
}

fn day(millis: i64) -> String {
    time::shown(millis).split('T').next().unwrap_or_default().to_owned()
}

/// The report for the page of a pull request.
pub(crate) fn markdown(report: &BacktestReport) -> String {
    let mut out = format!("**`hookline backtest`**: {}\n\n", cell(&span_of(report)));
    out.push_str("| rule | kind | fires | fired | both | keys | messages | sent | a week | |\n");
    out.push_str("|---|---|---:|---:|---:|---:|---:|---:|---:|---|\n");
    for rule in &report.rules {
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            cell(&rule.rule),
            rule.kind,
            rule.alerts,
            rule.alerts_before,
            rule.both,
            rule.keys,
            rule.messages,
            rule.messages_before,
            a_week(report, rule),
            cell(&words_of(rule).join("; "))
        ));
    }
    if !report.destinations.is_empty() {
        out.push_str("\n| destination | owner | messages | days | most a day |\n|---|---|---:|---:|---|\n");
    }
    for one in &report.destinations {
        let [name, owner] = [&one.destination, &one.owner].map(|text| cell(text));
        let most = format!("{} on {}", one.most_a_day, day(one.most_on));
        out.push_str(&format!("| {name} | {owner} | {} | {} | {most} |\n", one.messages, one.days));
    }
    for rule in report.rules.iter().filter(|rule| !rule.differences.is_empty()) {
        out.push_str(&format!("\n<details><summary>What is not the same: {}</summary>\n\n", cell(&rule.rule)));
        for one in rule.differences.iter().take(LISTED) {
            out.push_str(&format!("- {}\n", cell(&difference(one))));
        }
        out.push_str("\n</details>\n");
    }
    for Preview { at, rule, destination, text, .. } in &report.messages {
        out.push_str(&format!(
            "\n<details><summary>A message of {} to {}, {}</summary>\n\n",
            cell(rule),
            cell(destination),
            time::shown(*at)
        ));
        text.lines().for_each(|text| out.push_str(&format!("> {}  \n", cell(text))));
        out.push_str("\n</details>\n");
    }
    out.push('\n');
    report.notes.iter().for_each(|note| out.push_str(&format!("- {}\n", cell(note))));
    out
}

/// A text that can neither end its cell nor become markup.
fn cell(text: &str) -> String {
    super::lint::cell(text)
}

#[cfg(test)]
mod tests {
    use operate::backtest::KeyCount;

    use super::*;

    fn report() -> BacktestReport {
        BacktestReport {
            ok: true,
            config: "9f3c".into(),
            from: 1_795_000_000_000,
            until: 1_795_000_000_000 + 14 * 86_400_000,
            learned_from: 1_792_000_000_000,
            events: 1_200_000,
            seconds: 1.5,
            rules: vec![RuleReport {
                rule: "promo-spike".into(),
                owner: "growth".into(),
                kind: "spike",
                shadow: false,
                version: "0123456789ab".into(),
                alerts: 3,
                keys: 2,
                most: vec![KeyCount { key: "go.example.com/a".into(), alerts: 2 }],
                messages: 4,
                held_back: 1,
                alerts_before: 2,
                messages_before: 2,
                both: 1,
                compared_until: None,
                was_another: true,
                differences: vec![Difference {
                    at: 1_795_100_000_000,
                    key: "go.example.com/<b>".into(),
                    is_new: true,
                    why: "312 clicks in 5 min; usual for Tuesday 14:00 CET is 20 to 45".into(),
                }],
            }],
            destinations: vec![DestinationReport {
                destination: "log".into(),
                owner: "growth".into(),
                messages: 4,
                days: 2,
                most_a_day: 3,
                most_on: 1_795_046_400_000,
            }],
            messages: vec![Preview {
                at: 1_795_100_000_000,
                rule: "promo-spike".into(),
                destination: "log".into(),
                mentions: String::new(),
                kind: "alert",
                title: "promo-spike: 312 events on go.example.com/a".into(),
                text: "promo-spike: 312 events on go.example.com/a\nOwner: growth".into(),
                alerts: 1,
            }],
            notes: vec!["panes are cut by the time of receipt".into()],
        }
    }

    #[test]
    fn a_backtest_in_both_forms() {
        insta::assert_snapshot!("backtest_text", Page::of(&report(), "--config x.toml").shown());
        insta::assert_snapshot!("backtest_markdown", markdown(&report()));
        assert!(!markdown(&report()).contains("<b>"));
        let many = RuleReport { compared_until: Some(1_795_100_000_000), ..report().rules.remove(0) };
        assert!(words_of(&many).contains(&format!(
            "compared with what fired up to {}, and no further: there are very many",
            time::shown(1_795_100_000_000)
        )));
    }
}
