//! What can go wrong between us and ClickHouse, and what to do about it.

use std::error::Error as StdError;

use thiserror::Error;

/// Why ClickHouse did not do what it was asked.
#[derive(Debug, Error)]
pub enum WarehouseError {
    /// No answer: whether the statement was carried out is unknown.
    #[error(
        "{what}: no answer from ClickHouse at {url}: {source}; check that it runs and can be reached, then try again"
    )]
    Unreachable {
        /// What was being done.
        what: String,
        /// The address, without credentials.
        url: String,
        /// The client's error.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// ClickHouse is alive and short of something: memory, parts, time, a quorum. The same statement may work later.
    #[error("{what}: ClickHouse is busy (code {code}): {message}; the same will be tried again")]
    Busy {
        /// What was being done.
        what: String,
        /// ClickHouse's error code.
        code: u32,
        /// ClickHouse's own words.
        message: String,
    },
    /// ClickHouse refuses: the same statement will fail again until somebody changes something.
    #[error("{what}: ClickHouse refuses (code {code}): {message}; {advice}")]
    Refused {
        /// What was being done.
        what: String,
        /// ClickHouse's error code, 0 when it named none.
        code: u32,
        /// ClickHouse's own words.
        message: String,
        /// What to do.
        advice: &'static str,
    },
    /// A value that does not have its column's shape: a mistake in a record's declaration.
    #[error("the column {column} cannot hold {value}: its kind in the record's declaration is wrong")]
    ColumnShape {
        /// The column.
        column: &'static str,
        /// The value, as seen by the writer.
        value: String,
    },
    /// A migration in the database is not the one that this build carries under its number.
    #[error(
        "migration {version} ({name}) of {database} was applied with another text (checksum {applied}, this build has \
         {expected}); run the build that the database was migrated with, or restore the database"
    )]
    Checksum {
        /// The database.
        database: String,
        /// The migration's number.
        version: u32,
        /// The migration's name.
        name: String,
        /// The checksum found in the database.
        applied: String,
        /// The checksum of this build's text.
        expected: String,
    },
    /// The database has migrations that this build does not know.
    #[error("{database} has migration {version} ({name}), which this build does not know: upgrade this binary")]
    Newer {
        /// The database.
        database: String,
        /// The unknown migration's number.
        version: u32,
        /// The unknown migration's name.
        name: String,
    },
    /// A server has the tables of another shard than the configuration names it as.
    #[error(
        "{database} at {url} is {found}, and by [clickhouse] shards it would be {expected}: a lane's rows are looked for on its shard \
         alone, so the number of shards and their order never change once there are tables; nothing was changed"
    )]
    OtherShard {
        /// The database.
        database: String,
        /// The address.
        url: String,
        /// What it is.
        found: String,
        /// What it would be.
        expected: String,
    },
    /// Rows of a block are missing although ClickHouse acknowledged them, again and again.
    #[error(
        "block {block}: {missing} rows are missing after {repairs} acknowledged repairs (first raw offset {first}); the lane stops, \
         look at the table's parts and disks before it is started again"
    )]
    StillMissing {
        /// The block's token.
        block: String,
        /// How many rows.
        missing: usize,
        /// The smallest missing raw offset.
        first: u64,
        /// How many repairs were acknowledged.
        repairs: u32,
    },
    /// A table forgets the tokens of blocks too soon.
    #[error(
        "{table} has {setting} = {found}, and up to {needed} is in doubt at once: an insert that is repeated after that is rows a second \
         time. ALTER TABLE {table} MODIFY SETTING {setting} = 60000, then start again"
    )]
    TokensForgotten {
        /// The table.
        table: String,
        /// ClickHouse's name of the setting.
        setting: &'static str,
        /// Its value.
        found: u64,
        /// The least that is safe.
        needed: u64,
    },
    /// A setting that makes no sense.
    #[error("{what} is {value:?}: {advice}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        advice: &'static str,
    },
    /// ClickHouse answered something that cannot be read.
    #[error("{what}: the answer cannot be read: {detail}; is a proxy in between, or another version of ClickHouse?")]
    Answer {
        /// What was being done.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl WarehouseError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// ClickHouse's error code, when there is one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Busy { code, .. } | Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Sorts the client's error by what to do about it.
    pub(crate) fn from_client(error: clickhouse::error::Error, what: impl Into<String>, url: &str) -> Self {
        use clickhouse::error::Error as Client;
        let what = what.into();
        match error {
            Client::BadResponse(message) => Self::from_message(what, message, url),
            Client::Network(_) | Client::TimedOut | Client::Decompression(_) | Client::NotEnoughData => {
                Self::Unreachable { what, url: url.to_owned(), source: with_causes(&error).into() }
            }
            other => Self::Answer { what, detail: with_causes(&other) },
        }
    }

    fn from_message(what: String, message: String, url: &str) -> Self {
        let Some(code) = exception_code(&message) else {
            // Not ClickHouse's own words: a proxy, or a server that is going down.
            return Self::Unreachable { what, url: url.to_owned(), source: message.into() };
        };
        // Too many parts passes by itself; too many partitions in one block has the same code and never does.
        if BUSY.contains(&code) && !message.contains("partitions for single INSERT") {
            return Self::Busy { what, code, message };
        }
        let advice = match code {
            16 | 36 | 47 | 60 | 81 => "run `hookline migrate`: a table, view or column is missing",
            192 | 193 | 194 | 516 => "check the user and the password in [clickhouse]",
            164 | 497 => "grant the user what the statement needs, or use the one that owns the databases",
            243 => "free space on ClickHouse's disk or shorten the retention",
            115 => "this ClickHouse is too old or too new for a setting that delivery depends on",
            _ => "look the code up in ClickHouse's documentation and in its log",
        };
        Self::Refused { what, code, message, advice }
    }
}

/// Codes that pass: timeouts, limits, memory, too many parts, replicas and quorums that are not there just now.
/// Source: ClickHouse's ErrorCodes.cpp.
const BUSY: &[u32] = &[
    159, 160, 198, 201, 202, 203, 209, 210, 225, 236, 241, 242, 252, 279, 285, 286, 289, 298, 319, 364, 394, 425, 439,
    473, 499, 999,
];

/// The number in `Code: 241. DB::Exception: …`.
fn exception_code(message: &str) -> Option<u32> {
    let rest = &message[message.find("Code: ")? + "Code: ".len()..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

/// The error and what caused it, in one line: the client's own text stops at "network error".
fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> WarehouseError {
        WarehouseError::from_client(clickhouse::error::Error::BadResponse(message.into()), "insert", "http://ch")
    }

    #[test]
    fn memory_and_too_many_parts_pass_by_themselves() {
        for code in [241, 252, 202, 242] {
            let error = refused(&format!("Code: {code}. DB::Exception: no (X)"));
            assert!(error.is_retryable(), "{error}");
            assert_eq!(error.code(), Some(code));
        }
    }

    #[test]
    fn a_block_over_too_many_partitions_is_refused_for_good() {
        let error = refused("Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100)");
        assert!(!error.is_retryable());
    }

    #[test]
    fn a_missing_table_says_to_migrate() {
        let error = refused("Code: 60. DB::Exception: Table hookline.records does not exist. (UNKNOWN_TABLE)");
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("hookline migrate"), "{error}");
    }

    #[test]
    fn an_answer_that_is_not_from_clickhouse_leaves_the_outcome_unknown() {
        assert!(matches!(refused("502 Bad Gateway"), WarehouseError::Unreachable { .. }));
    }
}
