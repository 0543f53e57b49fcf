//! What a rule would send.

use operate::preview::{PreviewReport, Previewed};

use super::{Page, Text, line};

impl Text for PreviewReport {
    fn text(&self, page: &mut Page) {
        for Previewed { destination, kind, owner, message, title, text, problem, .. } in &self.messages {
            line!(page, "── {destination} ({kind}, owner {owner}): {message}");
            let lines = if text.is_empty() { title } else { text };
            lines.lines().for_each(|text| line!(page, "   {}", printable(text)));
            if let Some(problem) = problem {
                line!(page, "   This message cannot be made: {problem}");
            }
            line!(page, "");
        }
        self.notes.iter().for_each(|note| line!(page, "{note}"));
        line!(
            page,
            "Nothing was sent. As each destination gets it: hookline preview {} --json {}",
            self.rule,
            page.flag()
        );
    }
}

/// A text of others on a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
