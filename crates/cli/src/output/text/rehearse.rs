//! What a rehearsal came to.

use operate::rehearse::{LeftOut, Production, RehearsalReport, RehearsedRule, ScenarioReport};

use super::preview::printable;
use super::{Page, Text, line};

/// Characters of a title that a line shows.
const TITLE: usize = 90;

impl Text for RehearsalReport {
    fn text(&self, page: &mut Page) {
        let (all, hold) = (self.scenarios.len(), self.scenarios.iter().filter(|scenario| scenario.ok).count());
        let verdict = if self.ok { "HOLDS" } else { "DOES NOT HOLD" };
        line!(
            page,
            "{verdict}  {hold} of {all} scenarios hold: {} deliveries to source {}",
            self.deliveries,
            self.source
        );
        line!(page, "");
        line!(page, "  {:<22} {:<5} {:>6} {:>6}  rules that spoke", "scenario", "", "sent", "rows");
        for ScenarioReport { name, ok, deliveries, rows, duplicates, rules, problems, notes, .. } in &self.scenarios {
            let state = if *ok { "ok" } else { "LOOK" };
            let again = if *duplicates > 0 { format!(" ({duplicates} duplicates)") } else { String::new() };
            let rules = if rules.is_empty() { "-".to_owned() } else { rules.join(", ") };
            line!(page, "  {name:<22} {state:<5} {deliveries:>6} {rows:>6}  {rules}{again}");
            problems.iter().for_each(|problem| line!(page, "      {}", printable(problem)));
            notes.iter().for_each(|note| line!(page, "      {}", printable(note)));
        }
        let Production { rows, alerts, messages } = self.production;
        let state = if self.production == Production::default() { "ok" } else { "LOOK" };
        line!(page, "  {:<22} {state:<5} {rows} rows, {alerts} alerts, {messages} messages of it", "in production");
        if !self.rules.is_empty() {
            line!(page, "");
            line!(page, "What is sent, as each destination would get it. Nothing has left.");
        }
        for RehearsedRule { rule, message, messages, problem, note, .. } in &self.rules {
            line!(page, "  {rule}: {message}");
            for one in messages {
                let title: String = printable(&one.title).chars().take(TITLE).collect();
                line!(page, "      -> {} ({}): {title}", one.destination, one.kind);
            }
            problem.iter().for_each(|problem| line!(page, "      {}", printable(problem)));
            note.iter().for_each(|note| line!(page, "      {}", printable(note)));
        }
        if !self.left_out.is_empty() {
            line!(page, "");
            line!(page, "Not rehearsed:");
        }
        for LeftOut { rule, why } in &self.left_out {
            line!(page, "  {rule}: {}", printable(why));
        }
        line!(page, "");
        self.next.iter().for_each(|next| line!(page, "Next: {next}"));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::tests::AT;
    use super::*;

    #[test]
    fn a_rehearsal_in_which_one_scenario_does_not_hold() {
        let scenario = |name, problems: &[&str], rules: &[&str]| ScenarioReport {
            name,
            ok: problems.is_empty(),
            deliveries: 3,
            rows: 3,
            duplicates: if name == "duplicate" { 2 } else { 0 },
            rules: rules.iter().map(ToString::to_string).collect(),
            problems: problems.iter().map(ToString::to_string).collect(),
            ..ScenarioReport::default()
        };
        let report = RehearsalReport {
            ok: false,
            at: Timestamp::from_millisecond(AT).unwrap(),
            run: "19ab".into(),
            source: "canonical".into(),
            deliveries: 6,
            scenarios: vec![
                scenario("broken_destination", &["rule broken said nothing"], &[]),
                scenario("duplicate", &[], &["each"]),
            ],
            rules: vec![RehearsedRule {
                rule: "each".into(),
                alerts: 1,
                message: "captured",
                ..RehearsedRule::default()
            }],
            left_out: vec![LeftOut {
                rule: "spike".into(),
                why: "it learns what is usual from days of traffic".into(),
            }],
            production: Production::default(),
            next: vec!["hookline status".into()],
        };
        let expected = "DOES NOT HOLD  1 of 2 scenarios hold: 6 deliveries to source canonical\n\n\
            \x20 scenario                       sent   rows  rules that spoke\n\
            \x20 broken_destination     LOOK       3      3  -\n\
            \x20     rule broken said nothing\n\
            \x20 duplicate              ok         3      3  each (2 duplicates)\n\
            \x20 in production          ok    0 rows, 0 alerts, 0 messages of it\n\n\
            What is sent, as each destination would get it. Nothing has left.\n\
            \x20 each: captured\n\n\
            Not rehearsed:\n\
            \x20 spike: it learns what is usual from days of traffic\n\n\
            Next: hookline status\n";
        assert_eq!(Page::of(&report, "").shown(), expected);
    }
}
