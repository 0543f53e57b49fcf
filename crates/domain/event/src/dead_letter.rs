//! The headers of a record on `dead-letters`; its value is the original body, untouched.

/// Why and where a record of `raw` was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stage that refused it: `ingest` or `adapt`.
    pub stage: String,
    /// Why, as a fixed label.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// The lane of the raw record.
    pub lane: u16,
    /// The offset of the raw record.
    pub offset: u64,
}

impl DeadLetter {
    /// The record's headers, to stand beside those of the raw record.
    pub fn headers(&self) -> [(&'static str, String); 5] {
        [
            ("dlq-stage", self.stage.clone()),
            ("dlq-reason", self.reason.clone()),
            ("dlq-detail", self.detail.clone()),
            ("dlq-lane", self.lane.to_string()),
            ("dlq-offset", self.offset.to_string()),
        ]
    }

    /// Reads the headers back; `None` when one is missing or unreadable.
    pub fn from_headers<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Option<Self> {
        let (mut stage, mut reason, mut detail, mut lane, mut offset) = (None, None, None, None, None);
        for (name, value) in headers {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            match name {
                "dlq-stage" => stage = Some(value.to_owned()),
                "dlq-reason" => reason = Some(value.to_owned()),
                "dlq-detail" => detail = Some(value.to_owned()),
                "dlq-lane" => lane = value.parse().ok(),
                "dlq-offset" => offset = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self { stage: stage?, reason: reason?, detail: detail?, lane: lane?, offset: offset? })
    }
}
