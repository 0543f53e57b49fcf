//! Route tests: what the rules make of events, against what is expected.

use std::collections::BTreeSet;

use config::{Config, Problem, RouteTest};
use rules::RuleIndex;

/// What does not hold, as problems of the configuration.
pub(super) fn run(config: &Config) -> Vec<Problem> {
    let index = config.routes();
    config.tests.iter().filter_map(|test| run_one(config, &index, test)).collect()
}

fn run_one(config: &Config, index: &RuleIndex, test: &RouteTest) -> Option<Problem> {
    let fired = test.given.fired(index);
    let got: BTreeSet<String> = fired.iter().flat_map(|rule| messages(config, rule)).collect();
    let expected: BTreeSet<String> = test.expect.iter().map(|line| one_blank(line)).collect();
    if got == expected {
        return None;
    }
    let mut lines = vec![format!("the route test {:?} does not hold", test.name)];
    lines.extend(expected.difference(&got).map(|line| format!("- {line} (expected, did not happen)")));
    lines.extend(got.difference(&expected).map(|line| format!("+ {line} (happened, not expected)")));
    lines.extend(expected.intersection(&got).map(|line| format!("  {line}")));
    Some(test.problem(lines.join("\n    "), why(config, index, test, &expected, &got)))
}

/// The messages of a rule that fires.
fn messages(config: &Config, name: &str) -> Vec<String> {
    let Some(rule) = config.rule(name) else { return Vec::new() };
    match &rule.send {
        _ if rule.rule.is_shadow() => vec![format!("{name} -> (shadow)")],
        Some(send) => send.to.iter().map(|to| format!("{name} -> {to}")).collect(),
        None => Vec::new(),
    }
}

/// Why the first message that did not happen did not.
fn why(
    config: &Config,
    index: &RuleIndex,
    test: &RouteTest,
    expected: &BTreeSet<String>,
    got: &BTreeSet<String>,
) -> String {
    let Some(missing) = expected.difference(got).next() else { return String::new() };
    let (name, to) = missing.split_once(" -> ").unwrap_or((missing, ""));
    let Some(rule) = config.rule(name) else { return format!("no rule is called {name:?}") };
    let sends = rule.send.as_ref().is_some_and(|send| send.to.iter().any(|known| known == to));
    if !sends && !rule.rule.is_shadow() {
        return format!("rule {name:?} does not send to {to:?}");
    }
    let verdict = index.explain(&test.given.event).into_iter().find(|verdict| verdict.rule.name() == name);
    match verdict {
        Some(verdict) if !verdict.matched => format!("rule {name:?}: {}", verdict.why),
        _ if rule.rule.is_shadow() => format!("rule {name:?} is a shadow rule: expect \"{name} -> (shadow)\""),
        _ => format!("rule {name:?} matches the events, and its alert does not fire for so many in so long"),
    }
}

/// Blanks around the arrow make no difference.
fn one_blank(line: &str) -> String {
    match line.split_once("->") {
        Some((rule, to)) => format!("{} -> {}", rule.trim(), to.trim()),
        None => line.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use config::Environment;

    use super::*;

    const CONFIG: &str = r##"version = 1
[owner]
growth = { name = "Growth", chat = "#growth" }
[source.s]
adapter = "dub"
owner = "growth"
secrets = [{ id = "a", env = "S" }]
[destination.log]
kind = "csv"
owner = "growth"
path = "alerts.csv"
[rule.burst]
owner = "growth"
when = { event = "visit", link_kind = "promo" }
alert = { count = 500, per = "link", within = "5m" }
send = { to = ["log"] }
[rule.tried]
owner = "growth"
when = { event = "visit", tag = "q4" }
alert = { each = true }
shadow = true
"##;

    fn found(test: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hookline.toml");
        std::fs::write(&file, format!("{CONFIG}[test.t]\n{test}\n")).expect("written");
        let environment = Environment::new([("S", "x")], jiff::Timestamp::now());
        let config = Config::load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        run(&config).iter().map(|problem| format!("{}: {}; {}", problem.line, problem.message, problem.hint)).collect()
    }

    #[test]
    fn a_route_test_that_holds_says_nothing_and_another_one_shows_the_difference_and_why() {
        let promo = |count: u32, kind: &str, expect: &str| {
            found(&format!(
                "given = {{ event = \"click\", link_kind = \"{kind}\", count = {count}, within = \"5m\" }}\nexpect = [{expect}]"
            ))
        };
        assert_eq!(promo(500, "promo", "\"burst -> log\""), [""; 0]);
        assert_eq!(promo(499, "promo", ""), [""; 0]);
        assert_eq!(
            promo(499, "promo", "\"burst -> log\""),
            [
                "24: the route test \"t\" does not hold\n    - burst -> log (expected, did not happen); rule \"burst\" matches the events, and its alert does \
              not fire for so many in so long"
            ]
        );
        assert_eq!(
            promo(500, "promo", "\"burst->slack\""),
            [
                "24: the route test \"t\" does not hold\n    - burst -> slack (expected, did not happen)\n    + burst -> log (happened, not expected); \
              rule \"burst\" does not send to \"slack\""
            ]
        );
        assert_eq!(
            promo(500, "bio", "\"burst -> log\""),
            [
                "24: the route test \"t\" does not hold\n    - burst -> log (expected, did not happen); rule \"burst\": link_kind is \"bio\", the rule asks for \"promo\""
            ]
        );
    }

    #[test]
    fn a_shadow_rule_is_evaluated_and_bots_meet_no_rule() {
        let of = |counted: &str, expect: &str| {
            found(&format!(
                "given = {{ event = \"click\", tag = \"q4\", counted = \"{counted}\" }}\nexpect = [{expect}]"
            ))
        };
        assert_eq!(of("human", "\"tried -> (shadow)\""), [""; 0]);
        assert_eq!(of("bot", ""), [""; 0]);
        assert!(
            of("human", "\"tried -> log\"")[0]
                .ends_with("rule \"tried\" is a shadow rule: expect \"tried -> (shadow)\"")
        );
    }
}
