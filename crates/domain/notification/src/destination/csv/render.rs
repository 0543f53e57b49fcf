//! The row of a message, harmless in any spreadsheet.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::destination::{Answer, Destination, Outgoing, Row, Step, Verdict};
use crate::spreadsheet::harmless;

const HEADER: [&str; 12] = [
    "bundle_id",
    "sent_at",
    "type",
    "rule",
    "owner",
    "do",
    "title",
    "count",
    "links",
    "window_start",
    "window_end",
    "alert_ids",
];

pub(super) struct Csv {
    pub(super) path: PathBuf,
}

impl Destination for Csv {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        match answers {
            [] => Step::Append(Row { path: self.path.clone(), header: HEADER.to_vec(), fields: row(outgoing) }),
            [.., answer] => Verdict::delivered(answer, ""),
        }
    }
}

fn row(outgoing: &Outgoing<'_>) -> Vec<String> {
    let message = outgoing.message;
    let links: Vec<String> = message.links.iter().map(|one| format!("{}={}", one.link, one.count)).collect();
    let fields = [
        message.id.clone(),
        Timestamp::from_millisecond(outgoing.now_ms).map(|at| at.to_string()).unwrap_or_default(),
        message.kind.name().to_owned(),
        message.rule.clone(),
        message.owner.clone(),
        message.instruction.clone().unwrap_or_default(),
        message.title.clone(),
        message.count.to_string(),
        links.join(" "),
        message.window.start.clone(),
        message.window.end.clone(),
        message.alert_ids.join(" "),
    ];
    fields.iter().map(|field| harmless(field)).collect()
}
