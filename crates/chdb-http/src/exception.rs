//! Errors as ClickHouse states them: a code, a text, and the HTTP status that goes with the code.

use axum::http::StatusCode;

/// An error with ClickHouse's own code. Errors of this crate carry the code that a server gives in the same case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Exception {
    /// ClickHouse's number of the error.
    pub(crate) code: u32,
    /// The whole text: `Code: 60. DB::Exception: …`.
    pub(crate) message: String,
}

/// The codes that this crate gives itself (`src/Common/ErrorCodes.cpp` of ClickHouse).
impl Exception {
    pub(crate) const CANNOT_READ_ALL_DATA: u32 = 33;
    pub(crate) const BAD_ARGUMENTS: u32 = 36;
    pub(crate) const TOO_LARGE_SIZE_COMPRESSED: u32 = 39;
    pub(crate) const CHECKSUM_DOESNT_MATCH: u32 = 40;
    pub(crate) const NOT_IMPLEMENTED: u32 = 48;
    pub(crate) const LOGICAL_ERROR: u32 = 49;
    pub(crate) const SYNTAX_ERROR: u32 = 62;
    pub(crate) const UNKNOWN_COMPRESSION_METHOD: u32 = 89;
    pub(crate) const UNKNOWN_SETTING: u32 = 115;
    pub(crate) const READONLY: u32 = 164;
    pub(crate) const REQUIRED_PASSWORD: u32 = 194;
    pub(crate) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub(crate) const NETWORK_ERROR: u32 = 210;
    pub(crate) const QUERY_IS_TOO_LARGE: u32 = 229;
    pub(crate) const CANNOT_DECOMPRESS: u32 = 271;
    pub(crate) const SESSION_NOT_FOUND: u32 = 372;
    pub(crate) const SESSION_IS_LOCKED: u32 = 373;
    pub(crate) const INVALID_SESSION_TIMEOUT: u32 = 374;
    pub(crate) const ACCESS_DENIED: u32 = 497;
    pub(crate) const UNKNOWN_ROLE: u32 = 511;
    pub(crate) const AUTHENTICATION_FAILED: u32 = 516;

    /// An error of this crate's own.
    pub(crate) fn new(code: u32, what: impl std::fmt::Display) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {what}") }
    }

    /// An error that the engine stated; its code is read from its text.
    pub(crate) fn from_engine(message: String) -> Self {
        match code_of(&message) {
            Some(code) => Self { code, message },
            // The few texts without a code are about the use of the C interface.
            None => Self::new(Self::LOGICAL_ERROR, message),
        }
    }

    /// The engine gave neither an answer nor an error.
    pub(crate) fn no_answer() -> Self {
        Self::new(Self::LOGICAL_ERROR, "the engine gave neither an answer nor a reason")
    }

    /// The status that a ClickHouse server answers with (`exceptionCodeToHTTPStatus.cpp`).
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168 | 223 | 321
            | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            159 => StatusCode::REQUEST_TIMEOUT,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn code_of(message: &str) -> Option<u32> {
    let digits = message.split_once("Code: ")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_status_come_from_the_engines_text() {
        let cases = [
            ("Code: 60. DB::Exception: Table h.nope does not exist. (UNKNOWN_TABLE)", 60, 404),
            ("Code: 62. DB::Exception: Syntax error: failed at position 1", 62, 400),
            ("Code: 241. DB::Exception: (total) memory limit exceeded", 241, 500),
            ("Error: Code: 164. DB::Exception: Code: 27. DB::Exception: nested", 164, 500),
            ("Code: 159. DB::Exception: Timeout exceeded", 159, 408),
            ("No active streaming query", 49, 500),
        ];
        for (text, code, status) in cases {
            let exception = Exception::from_engine(text.to_owned());
            assert_eq!((exception.code, exception.status().as_u16()), (code, status), "{text}");
            assert!(exception.message.contains(text), "the engine's text is kept: {text}");
        }
    }
}
