//! How an installation is, on one screen.

use kafka::control::State;
use operate::status::{InstanceStatus, LostVerdict, Part, Problem, Severity, SourceStatus, StatusReport};

use super::{Page, Text, line, time};

/// Problems that are written out; the rest is counted.
const PROBLEMS: usize = 8;
/// Sources that have a place on the screen.
const SOURCES: usize = 8;

impl Text for StatusReport {
    fn text(&self, page: &mut Page) {
        let state = match self.state {
            Severity::Fine => "FINE",
            Severity::Attention => "ATTENTION",
            Severity::Broken => "BROKEN",
        };
        line!(page, "{state}  {}", self.headline);
        let lost = match self.lost.verdict {
            LostVerdict::Nothing => "nothing",
            LostVerdict::Repairable => "nothing for good",
            LostVerdict::Lost => "RECORDS ARE LOST",
            LostVerdict::NotProven => "nothing is known to be lost",
        };
        line!(page, "lost: {lost} ({})", self.lost.proof);
        line!(page, "");
        for Part { name, state, says, .. } in self.engines.iter().chain(&self.stages) {
            let state = match state {
                Some(Severity::Fine) => "ok",
                Some(Severity::Attention) => "LOOK",
                Some(Severity::Broken) => "BROKEN",
                None => "?",
            };
            line!(page, "  {name:<11} {state:<7} {says}");
        }
        sources(page, self);
        match self.dead_letters_open {
            Some(0) | None => {}
            Some(open) => line!(page, "  {:<11} {:<7} {open} open", "dead letters", ""),
        }
        instances(page, &self.instances);
        for (number, problem) in self.problems.iter().take(PROBLEMS).enumerate() {
            line!(page, "");
            let Problem { what, why, next, runbook, .. } = problem;
            line!(page, "{}. {what}", number + 1);
            if !why.is_empty() {
                line!(page, "   {why}");
            }
            line!(page, "   next: {next}");
            line!(page, "   page: {runbook}");
        }
        if self.problems.len() > PROBLEMS {
            line!(page, "");
            line!(page, "And {} more: hookline status --json {}", self.problems.len() - PROBLEMS, page.flag());
        }
        line!(page, "");
        line!(page, "as of {}", time::shown(self.at.as_millisecond()));
    }
}

fn sources(page: &mut Page, report: &StatusReport) {
    let seconds = |source: &SourceStatus| {
        let at = source.last_seen?;
        Some((report.at.as_millisecond() - at.as_millisecond()).max(0) / 1_000)
    };
    let ago = |source: &SourceStatus| match seconds(source) {
        None if source.test => "test data".to_owned(),
        None => "not heard in 7 days".to_owned(),
        Some(seconds @ 0..=119) => format!("heard {seconds} s ago"),
        Some(seconds @ 120..=7_199) => format!("heard {} min ago", seconds / 60),
        Some(seconds) => format!("heard {} h ago", seconds / 3_600),
    };
    for source in report.sources.iter().take(SOURCES) {
        let switch = match source.switch {
            Some(State::Pause) => "PAUSED",
            Some(State::Quarantine) => "QUARANTINE",
            Some(State::Retired) => "retired",
            Some(State::Accept) => "",
            None => "switch not known",
        };
        let name = format!("source {}", source.name);
        line!(page, "  {name:<19} {}{}{switch}", ago(source), if switch.is_empty() { "" } else { ", " });
    }
    if report.sources.len() > SOURCES {
        line!(page, "  and {} more sources", report.sources.len() - SOURCES);
    }
}

fn instances(page: &mut Page, instances: &[InstanceStatus]) {
    let answer = instances.iter().filter(|instance| instance.answers).count();
    if answer == 0 && instances.iter().all(|instance| !instance.answers) {
        let known = if instances.is_empty() { "none is known" } else { "none answers" };
        line!(page, "  {:<11} {:<7} {known}: [metrics] instances, or --at HOST:PORT, names them", "instances", "?");
        return;
    }
    let of = |pick: fn(&InstanceStatus) -> &Option<String>| {
        let mut all: Vec<&str> = instances.iter().filter_map(|instance| pick(instance).as_deref()).collect();
        all.sort_unstable();
        all.dedup();
        all.join(", ")
    };
    line!(
        page,
        "  {:<11} {:<7} {answer} of {} answer; version {}, configuration {}",
        "instances",
        if answer == instances.len() { "ok" } else { "LOOK" },
        instances.len(),
        of(|instance| &instance.version),
        of(|instance| &instance.config),
    );
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
