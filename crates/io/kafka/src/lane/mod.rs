//! One lane of a stage: its fenced, transactional producer and its reader. Blocking, for the thread of that lane.

mod anew;
mod bounded;
mod end;
mod error;
mod fence;
mod headers;
mod producer;
mod proof;
mod reader;
mod reader_context;
mod record;
mod reports;
mod scan;
mod shell;
mod waiting;

use std::time::Duration;

pub use anew::{EndIs, Ends};
pub use error::TxnError;
pub use fence::{Fence, Writes};
pub use headers::HeaderView;
pub(crate) use producer::owned_headers;
pub use producer::{LaneProducer, NO_HEADERS, Position};
pub use proof::Proof;
pub(crate) use reader::Step;
pub use reader::{Isolation, LaneReader, ReadError};
pub use record::Record;
pub use reports::Written;
pub use runtime::End;
pub use scan::{ScanError, Scanned, first_committed, read_all_committed};
pub use shell::{Lane, PATIENCE, Stage, TRANSACTION_TIMEOUT, run};

/// Stops the calling thread for a while, saying why. The one sleep that lanes may use; async code has `tokio::time::sleep`.
#[allow(clippy::disallowed_methods, reason = "this is the named wait that the ban points to")]
pub fn pause(why: &'static str, how_long: Duration) {
    tracing::trace!(why, ?how_long, "waits");
    std::thread::sleep(how_long);
}

/// A wait for the client, which waits whole milliseconds and asks without a pause for what is left: each wait that was
/// not whole burnt most of a millisecond, and a lane without records waits five times a second.
fn whole_milliseconds(wait: Duration) -> Duration {
    Duration::from_millis(wait.as_nanos().div_ceil(1_000_000) as u64)
}

// A lane may be opened on one thread and run on another.
const _: () = {
    const fn moves_between_threads<T: Send>() {}
    moves_between_threads::<LaneProducer>();
    moves_between_threads::<LaneReader>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_leaves_nothing_that_the_client_would_ask_for_without_a_pause() {
        let of = |nanos| whole_milliseconds(Duration::from_nanos(nanos)).as_nanos();
        assert_eq!([0, 1, 999_999, 1_000_000, 199_998_000].map(of), [0, 1_000_000, 1_000_000, 1_000_000, 200_000_000]);
    }
}
