//! Why an event is as it is.

use operate::explain::{Because, Difference, Edge, ExplainReport, Explained, RecordPlace, RuleVerdict, StageVerdict};
use process::pipeline::ROUTE;

use super::{Page, Text, line};

impl Text for ExplainReport {
    fn text(&self, page: &mut Page) {
        if let Some(edge) = &self.edge {
            edge_lines(page, edge);
        }
        if self.events.is_empty() {
            line!(page, "Nothing is known of {}.", self.about);
        }
        for event in &self.events {
            one(page, event);
        }
        for next in &self.next {
            line!(page, "Next: {next}");
        }
    }
}

fn edge_lines(page: &mut Page, edge: &Edge) {
    let Edge { source, authentic, by, events, undecodable } = edge;
    match authentic {
        Some(true) => line!(page, "authentic: source {source}, by secret {by:?}"),
        Some(false) => line!(page, "NOT AUTHENTIC: source {source}: {by}. What it would be otherwise:"),
        None => line!(page, "not signed: source {source}: {by}"),
    }
    match undecodable {
        Some(why) => line!(page, "the body holds no event: {why}"),
        None => line!(page, "the body holds {events} events"),
    }
}

fn one(page: &mut Page, event: &Explained) {
    line!(page, "");
    match &event.place {
        Some(RecordPlace { lane, offset, has_bytes: true, .. }) => line!(page, "record {lane}:{offset} of raw"),
        Some(RecordPlace { lane, offset, .. }) => {
            line!(page, "record {lane}:{offset}, whose bytes raw no longer holds: its row alone")
        }
        None => line!(page, "not stored: what it would be"),
    }
    for StageVerdict { stage, verdict, because } in &event.stages {
        line!(page, "  {stage:<8} {verdict}");
        for Because { what, is, by } in because {
            line!(page, "           {what} = {is:?}: {by}");
        }
    }
    let stage = ROUTE.shown_as;
    match &event.rules {
        None => line!(page, "  {stage:<8} the bytes are gone, so rules cannot be asked"),
        Some(rules) if rules.is_empty() => line!(page, "  {stage:<8} no rules are configured"),
        Some(rules) => rules.iter().for_each(|rule| route(page, rule)),
    }
    for value in &event.unreadable {
        line!(page, "  the sender's {value} could not be read");
    }
    let versions = &event.config;
    let Some(differences) = &event.differences else { return };
    let stored = versions.stored.as_deref().unwrap_or("none");
    let same = if stored == versions.now { "the same" } else { "another" };
    match differences.is_empty() {
        true => line!(page, "  now      {same} configuration ({}): it would say the same", versions.now),
        false => {
            line!(
                page,
                "  now      {same} configuration ({}, the row has {stored}) would say otherwise:",
                versions.now
            );
            for Difference { column, stored, now } in differences {
                line!(page, "           {column} = {now}, and the row has {stored}");
            }
        }
    }
}

fn route(page: &mut Page, rule: &RuleVerdict) {
    let RuleVerdict { rule, place, matched, why, then } = rule;
    let stage = ROUTE.shown_as;
    match matched {
        true => line!(page, "  {stage:<8} rule {rule} ({place}) matches: {why}; {then}"),
        false => line!(page, "  {stage:<8} rule {rule} ({place}) does not match: {why}"),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
