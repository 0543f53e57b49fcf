//! The row of a message, harmless in any spreadsheet.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::destination::{Answer, Destination, Outgoing, Row, Step, Verdict};

const HEADER: [&str; 12] = [
    "bundle_id", "sent_at", "type", "rule", "owner", "do", "title", "count", "links", "window_start", "window_end", "alert_ids",
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

/// Whether a cell that starts so is a formula to some spreadsheet; full-width signs count as their narrow ones.
fn starts_formula(text: &str) -> bool {
    text.trim_start_matches([' ', '"', '\'']).starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

/// One line without control characters, and nothing that a spreadsheet would run as a formula: neither at the start of the
/// field nor after a `;`, at which some of them split.
pub(super) fn harmless(field: &str) -> String {
    let line: String = field.chars().filter(|one| *one != '\0').map(|one| if one.is_control() { ' ' } else { one }).collect();
    let mut out = String::with_capacity(line.len() + 1);
    for (number, part) in line.split(';').enumerate() {
        if number > 0 {
            out.push(';');
        }
        if starts_formula(part) {
            out.push('\'');
        }
        out.push_str(part);
    }
    out
}
