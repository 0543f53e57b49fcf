//! The periodic review, as Markdown.

use operate::review::{Point, ReviewReport, Todo};

use super::{Page, Text, line};

impl Text for ReviewReport {
    fn text(&self, page: &mut Page) {
        let todo: usize = self.points.iter().map(|point| point.todo.len()).sum();
        line!(page, "# Review of the link events, {}", self.at.strftime("%F"));
        line!(page, "");
        line!(page, "The last {} days, under configuration {}. {todo} things to do.", self.days, self.config);
        for Point { title, says, todo } in &self.points {
            line!(page, "");
            line!(page, "## {title}");
            line!(page, "");
            line!(page, "{says}");
            if todo.is_empty() {
                line!(page, "Nothing to do.");
                continue;
            }
            line!(page, "");
            for Todo { found, todo, owner } in todo {
                let owner = if owner.is_empty() { String::new() } else { format!(" (owner: {owner})") };
                line!(page, "- [ ] {}{owner}", one_line(found));
                line!(page, "      → {}", one_line(todo));
            }
        }
    }
}

/// What a sender wrote must not become markup.
fn one_line(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect::<String>().replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::tests::AT;
    use super::*;

    #[test]
    fn a_review_with_something_to_do() {
        let todo =
            |found: &str, owner: &str| Todo { found: found.into(), todo: "remove it".into(), owner: owner.into() };
        let report = ReviewReport {
            ok: false,
            at: Timestamp::from_millisecond(AT).unwrap(),
            days: 90,
            config: "9f3c".into(),
            points: vec![
                Point {
                    title: "Rules and their noise",
                    says: "1 of 2 rules that alert have fired.".into(),
                    todo: vec![todo("rule never did not fire in 90 days", "me"), todo("a <b>\nbad</b> one", "")],
                },
                Point { title: "Secrets", says: "All are in use.".into(), todo: Vec::new() },
            ],
        };
        let expected = "# Review of the link events, 2025-11-25\n\n\
            The last 90 days, under configuration 9f3c. 2 things to do.\n\n\
            ## Rules and their noise\n\n1 of 2 rules that alert have fired.\n\n\
            - [ ] rule never did not fire in 90 days (owner: me)\n      → remove it\n\
            - [ ] a &lt;b> bad&lt;/b> one\n      → remove it\n\n\
            ## Secrets\n\nAll are in use.\nNothing to do.\n";
        assert_eq!(Page::of(&report, "").shown(), expected);
    }
}
