//! Stored history that is in memory, for the example `history_cost`: what a row costs without ClickHouse.

use rules::{Expectations, Rule};

use super::rows::Decoder;
use super::{Engine, columns};

/// The columns, as texts, that rows have for these rules, in their order. Before them stand four numbers: the start of
/// the pane in milliseconds since 1970, how many events there are, how many of them came late, and the first of them,
/// its lane in the upper 16 bits and its offset below.
pub fn columns_of(rules: &[Rule]) -> Vec<&'static str> {
    let counting: Vec<Rule> = rules.iter().filter(|rule| rule.is_evaluated_over_time()).cloned().collect();
    columns::asked(&counting)
}

/// Plays pieces of an answer in `RowBinary` over a span of milliseconds since 1970. How many alerts people would be
/// told.
///
/// # Errors
/// When the answer is not made of such rows, or names a lane that there is not.
pub fn play_answer<'p>(
    rules: &[Rule],
    lanes: u16,
    span: std::ops::Range<i64>,
    pieces: impl Iterator<Item = &'p [u8]>,
) -> Result<usize, String> {
    let mut engine = Engine::new(rules, Expectations::default(), lanes, span.start);
    let mut decoder = Decoder::new(columns_of(rules).len());
    for piece in pieces {
        decoder.decode(piece, |row| engine.take(row))?;
    }
    engine.pass(span.end);
    match engine.failed() {
        Some(why) => Err(why.to_string()),
        None if decoder.is_within_a_row() => Err("the answer ends within a row".to_owned()),
        None => Ok(engine.told().0.len()),
    }
}
