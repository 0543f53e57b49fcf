//! Telling a topic that was made anew from a broker that has fallen behind, by where the partition ends.

use std::time::{Duration, Instant};

/// For how long the end has to be before what was read. A broker that is cut off from the controllers still takes
/// itself for the leader, and answers with the end that it knew; clients that are made meanwhile find another leader.
const DOUBTED_FOR: Duration = Duration::from_secs(30);
/// How many answers have to say so in that time, each asked by a new client.
const ANSWERS: u32 = 10;

/// What an answer means that tells where a partition ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndIs {
    /// At or past what was read: all is well.
    Known,
    /// Before what was read, for the first times: the broker may have fallen behind. What was read before holds.
    Doubted,
    /// Before what was read, for long: the topic is another one.
    OfAnother,
}

/// The answers that told where a partition ends, as far as they were before what was read.
///
/// The Rust client tells no id of a topic, by which one answer would be enough. A topic that was made anew and has
/// grown past what was read is not told from the one before.
#[derive(Debug, Default)]
pub struct Ends {
    since: Option<Instant>,
    answers: u32,
}

impl Ends {
    /// What it means that the partition ends at `end` after all below `read` was read.
    pub fn judge(&mut self, end: i64, read: i64, now: Instant) -> EndIs {
        if end >= read {
            *self = Self::default();
            return EndIs::Known;
        }
        let since = *self.since.get_or_insert(now);
        self.answers = self.answers.saturating_add(1);
        if self.answers < ANSWERS || now.saturating_duration_since(since) < DOUBTED_FOR {
            return EndIs::Doubted;
        }
        *self = Self::default();
        EndIs::OfAnother
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, one a second: the end of each.
    fn judged(ends: &mut Ends, from: Instant, answers: impl IntoIterator<Item = i64>) -> Vec<EndIs> {
        let at = |second| from + Duration::from_secs(second);
        (0..).zip(answers).map(|(second, end)| ends.judge(end, 10, at(second))).collect()
    }

    #[test]
    fn one_answer_of_a_broker_that_has_fallen_behind_proves_nothing() {
        let (mut ends, from) = (Ends::default(), Instant::now());
        assert_eq!(judged(&mut ends, from, [12, 3, 10]), [EndIs::Known, EndIs::Doubted, EndIs::Known]);
        // The doubt of before does not count for the next one.
        let later = from + Duration::from_secs(60);
        assert!(judged(&mut ends, later, [3; 30]).iter().all(|answer| *answer == EndIs::Doubted));
    }

    #[test]
    fn an_end_that_stays_before_is_that_of_another_topic() {
        let answers = judged(&mut Ends::default(), Instant::now(), [3; 31]);
        assert_eq!((answers[29], answers[30]), (EndIs::Doubted, EndIs::OfAnother));
    }

    #[test]
    fn a_long_time_with_few_answers_proves_nothing() {
        let (mut ends, from) = (Ends::default(), Instant::now());
        for minutes in 0..9 {
            assert_eq!(ends.judge(3, 10, from + Duration::from_secs(60 * minutes)), EndIs::Doubted);
        }
        assert_eq!(ends.judge(3, 10, from + Duration::from_secs(600)), EndIs::OfAnother);
    }
}
