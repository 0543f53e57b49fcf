//! What the canary says, where the configuration has one: it does not go by what services say of themselves.

use std::collections::BTreeMap;

use super::Severity;
use super::findings::Findings;
use super::judge::{answers, span};

const LAST_SUCCESS: &str = "hookline_canary_last_success_timestamp_seconds";
const SINCE: &str = "hookline_canary_measured_since_timestamp_seconds";
const FAILURES: &str = "hookline_canary_failures_total";

impl Findings<'_> {
    /// An event that did not come through, or a canary that does not run.
    pub(super) fn canary(&mut self) {
        let Some(canary) = &self.installation.config.canary else { return };
        let (mut newest, mut failed): (BTreeMap<&str, f64>, BTreeMap<&str, f64>) = Default::default();
        let mut since: BTreeMap<&str, f64> = BTreeMap::new();
        for (_, answer) in answers(self.facts) {
            for sample in answer.of(LAST_SUCCESS) {
                let at = newest.entry(sample.label("path")).or_default();
                *at = at.max(sample.value);
            }
            for sample in answer.of(SINCE) {
                let at = since.entry(sample.label("path")).or_insert(sample.value);
                *at = at.min(sample.value);
            }
            for sample in answer.of(FAILURES) {
                *failed.entry(sample.label("path")).or_default() += sample.value;
            }
        }
        let now_s = self.facts.at.as_millisecond() as f64 / 1_000.0;
        // In the order of the way: a message follows its row.
        let dead = ["row", "message"].into_iter().find_map(|path| {
            let (at, failed) = (*newest.get(path)?, failed.get(path).copied().unwrap_or_default());
            let dead_after_s = canary.dead_after().as_secs_f64();
            if at == 0.0 {
                // One that was started with all else misses its first events, since what they go to is not there yet.
                let waited_s = now_s - since.get(path).copied().unwrap_or_default();
                return (failed > 0.0 && waited_s > dead_after_s)
                    .then(|| format!("no event of the canary has become a {path} since it was started"));
            }
            let age = now_s - at;
            let words = || span((age * 1_000.0) as i64);
            (age > dead_after_s).then(|| format!("no event of the canary has become a {path} for {}", words()))
        });
        let flag = self.flag();
        let asked_all = self.facts.instances.iter().all(|instance| instance.named && instance.answer.is_ok());
        if let Some(dead) = dead {
            let why =
                "what is said above explains it, if something is; the log of the canary says where its events end";
            let next = format!("hookline status {flag} --watch, until one comes through again");
            self.add(Severity::Broken, format!("end to end is broken: {dead}"), why, next, "canary-dead");
        } else if newest.is_empty() && asked_all && !self.facts.instances.is_empty() {
            let what = "no instance that was asked runs the canary of the configuration".to_owned();
            let why = "without it, its metrics and its alert say nothing";
            let next = format!("start it: hookline canary {flag}; if it runs, name its address in [metrics] instances");
            self.add(Severity::Attention, what, why, next, "canary-dead");
        }
    }
}
