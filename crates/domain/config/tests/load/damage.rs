//! Whatever an editor leaves behind: every problem has a place, and nothing panics.

use proptest::prelude::*;

use crate::{environment, load_with};

const WHOLE_LANGUAGE: &str = include_str!("../whole-language.toml");

/// The whole language with a piece cut out and another put in, at character boundaries.
fn damaged(from: usize, length: usize, inserted: &str) -> String {
    let mut characters: Vec<char> = WHOLE_LANGUAGE.chars().collect();
    let from = from % characters.len();
    let until = (from + length).min(characters.len());
    characters.splice(from..until, inserted.chars());
    characters.into_iter().collect()
}

proptest! {
    #[test]
    fn every_problem_of_a_damaged_file_lies_in_it(
        from in 0usize..10_000, length in 0usize..60, inserted in "[a-z0-9\\[\\]{}=\", \n.#-]{0,12}",
    ) {
        let text = damaged(from, length, &inserted);
        // Damage to a comment changes nothing.
        let problems = match load_with(&text, &environment(&[]).without_secrets()) {
            Ok(config) => config.warnings,
            Err(problems) => {
                prop_assert!(!problems.errors.is_empty());
                problems.errors.into_iter().chain(problems.warnings).collect()
            }
        };
        let lines: Vec<&str> = text.split('\n').collect();
        for problem in &problems {
            prop_assert!(problem.file == "hookline.toml" || problem.file.starts_with("rules") || problem.line == 0, "{problem}");
            if problem.line > 0 {
                let line = lines.get(problem.line - 1);
                let width = line.map(|line| line.chars().count());
                prop_assert!(width.is_some_and(|width| problem.column <= width + 1), "{problem} of {line:?}");
            }
        }
    }
}
