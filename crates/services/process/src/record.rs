//! A record of `raw`, with its received time settled: what the stages begin with.

use event::raw::{CLOCK_TRUST_MS, HeaderError, RawHeaders};

/// A record of `raw`, borrowed from the reader.
pub struct RawRecord<'r> {
    /// The lane.
    pub lane: u16,
    /// The offset.
    pub offset: u64,
    /// The broker's append time, in milliseconds since 1970.
    pub appended_at: i64,
    /// The event key.
    pub key: &'r [u8],
    /// The element's bytes as they came.
    pub body: &'r [u8],
    /// What ingest wrote beside them; its received time is the one that counts.
    pub headers: Result<RawHeaders<'r>, HeaderError>,
    /// The time that ingest claims, if it is so far from the broker's that it was not believed; in milliseconds since
    /// 1970.
    pub disbelieved: Option<i64>,
}

impl<'r> RawRecord<'r> {
    /// A record as it was read, with its received time settled.
    pub fn new(
        lane: u16,
        offset: u64,
        appended_at: i64,
        key: &'r [u8],
        body: &'r [u8],
        headers: Result<RawHeaders<'r>, HeaderError>,
    ) -> Self {
        let claimed = headers.as_ref().ok().map(|headers| headers.received_at);
        let disbelieved = claimed.filter(|claimed| !is_believed(*claimed, appended_at));
        let headers =
            headers.map(|headers| RawHeaders { received_at: received_at(headers.received_at, appended_at), ..headers });
        Self { lane, offset, appended_at, key, body, headers, disbelieved }
    }

    /// A record from the parts of a record of `raw`; what its headers say is read here, for all who read `raw`.
    pub fn from_parts<'h: 'r>(
        lane: u16,
        offset: u64,
        appended_at: i64,
        key: &'r [u8],
        body: &'r [u8],
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) -> Self {
        Self::new(lane, offset, appended_at, key, body, RawHeaders::from_headers(headers))
    }

    /// The lane's time at this record, in milliseconds since 1970: when it was appended; if ingest's clock and the
    /// broker's disagree, the earlier of what they say.
    pub(crate) fn time(&self) -> i64 {
        self.disbelieved.map_or(self.appended_at, |claimed| claimed.min(self.appended_at))
    }

    /// Whether what becomes of it tells something new, so that the fuse counts it: what ingest has set aside is a dead
    /// letter by decision, and what was redriven was so by a person who looked.
    pub(crate) fn is_unforeseen(&self) -> bool {
        self.headers.as_ref().map_or(true, |headers| headers.quarantine.is_none() && headers.redrive_of.is_none())
    }
}

/// The received time that counts: ingest's clock as long as it agrees with the broker's, and never after the append.
fn received_at(claimed: i64, appended: i64) -> i64 {
    if is_believed(claimed, appended) { claimed.min(appended) } else { appended }
}

fn is_believed(claimed: i64, appended: i64) -> bool {
    appended.abs_diff(claimed) <= CLOCK_TRUST_MS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLICK: &[u8] = b"{}";

    #[test]
    fn the_fuse_counts_neither_what_ingest_set_aside_nor_what_was_redriven() {
        let counted = |quarantine: Option<&'static str>, redrive_of: Option<&'static str>| {
            let (quarantine, redrive_of) = (quarantine.map(Into::into), redrive_of.map(Into::into));
            let headers = RawHeaders { quarantine, redrive_of, ..RawHeaders::default() };
            RawRecord::new(0, 7, 0, b"1", CLICK, Ok(headers)).is_unforeseen()
        };
        assert!(counted(None, None));
        assert!(!counted(Some("missing_field"), None));
        assert!(!counted(None, Some("0/3")));
        assert!(RawRecord::new(0, 7, 0, b"1", CLICK, Err(HeaderError::Missing)).is_unforeseen());
    }

    #[test]
    fn a_lane_goes_by_the_append_and_where_clocks_disagree_by_the_earlier() {
        let raw = |claimed, appended| {
            RawRecord::new(
                0,
                7,
                appended,
                b"1",
                CLICK,
                Ok(RawHeaders { received_at: claimed, ..RawHeaders::default() }),
            )
        };
        let (now, day) = (1_795_428_001_000, 86_400_000);
        assert_eq!(raw(now, now + 20).time(), now + 20, "they agree");
        assert_eq!(raw(now, now + day).time(), now, "the broker's is ahead");
        assert_eq!(raw(now + day, now).time(), now, "ingest's is ahead");
    }

    #[test]
    fn received_time_never_exceeds_the_append_and_is_replaced_when_far_from_it() {
        assert_eq!(received_at(1_000_000, 1_000_040), 1_000_000);
        assert_eq!(received_at(1_000_090, 1_000_040), 1_000_040);
        assert_eq!(received_at(1_000_040 - 300_001, 1_000_040), 1_000_040);
        assert_eq!(received_at(i64::MAX / 2, 1_000_040), 1_000_040);
    }
}
