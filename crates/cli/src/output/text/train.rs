//! What rules have learned from history.

use operate::train::{RuleTraining, TrainReport};

use super::{Page, Text, line, time};

impl Text for TrainReport {
    fn text(&self, page: &mut Page) {
        line!(
            page,
            "{} until {}: {} events of rules that learn in {:.1} s.",
            time::shown(self.from),
            time::shown(self.until),
            self.events,
            self.seconds
        );
        line!(page, "{:<26} {:>9} {:>9} {:>9} {:>9}  {}", "rule", "taught", "replaced", "kept", "firing", "since");
        for RuleTraining { rule, taught, replaced, kept, firing, since, .. } in &self.rules {
            line!(page, "{rule:<26} {taught:>9} {replaced:>9} {kept:>9} {firing:>9}  {}", time::shown(*since));
        }
        if !self.ok {
            line!(page, "Kept are keys that have learned for as long or longer: --overwrite teaches those as well.");
        }
        if self.rules.iter().any(|rule| rule.firing > 0) {
            line!(
                page,
                "Firing are keys whose rule fires, at the end of the history or in detect: they learn as they come."
            );
        }
        for rule in self.rules.iter().filter(|rule| rule.passed_over > 0) {
            line!(
                page,
                "{} knows as much as a rule may: of {} events of further keys nothing was learned.",
                rule.rule,
                rule.passed_over
            );
        }
        if !self.applied {
            line!(page, "Nothing was written. Next: hookline train {} --apply", page.flag());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_said_by_rule() {
        let rule = RuleTraining {
            rule: "promo-spike".into(),
            taught: 4_120,
            replaced: 3,
            kept: 7,
            firing: 1,
            passed_over: 12,
            since: 1_764_072_000_000,
        };
        let report = TrainReport {
            ok: false,
            applied: false,
            from: 1_764_000_000_000,
            until: 1_795_000_000_000,
            events: 1_200_345,
            seconds: 2.5,
            rules: vec![rule],
        };
        insta::assert_snapshot!("train_text", Page::of(&report, "--config x.toml").shown());
    }
}
