//! Why a tool did not do what it was asked for.

use std::convert::Infallible;

/// The result of a tool.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tool did not do what it was asked for, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration has errors; each has its file and line.
    #[error(transparent)]
    Configuration(#[from] config::Problems),
    /// A file that events are labelled by cannot be used.
    #[error(transparent)]
    Reference(#[from] process::Unusable),
    /// The request cannot be carried out as it is. The text says what to ask for instead.
    #[error("{0}")]
    Refused(String),
    /// It is not known where the engines are, or there is no Hookline on them.
    #[error("{0}")]
    NoInstallation(String),
    /// Kafka, ClickHouse or the schema registry failed or refused.
    #[error(transparent)]
    Engine(Box<dyn std::error::Error + Send + Sync>),
    /// As the cause, with what was being done.
    #[error("{what}")]
    During {
        /// What was being done, and what follows from the failure.
        what: String,
        /// The failure.
        #[source]
        cause: Box<Error>,
    },
    /// A task of the tool panicked or was stopped.
    #[error("a task of this command failed")]
    Task(#[from] tokio::task::JoinError),
}

macro_rules! from_engines {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Engine(Box::new(error))
            }
        }
    )*};
}

from_engines!(
    event::UnreadableProgress,
    kafka::control::ControlError,
    kafka::control::SwitchError,
    kafka::edge::DeliveryError,
    kafka::edge::EdgeError,
    kafka::edge::EdgeOpenError,
    kafka::lane::End,
    kafka::lane::ScanError<Infallible>,
    kafka::lane::TxnError,
    kafka::positions::PositionError,
    kafka::salts::SaltsError,
    kafka::topics::TopicsError,
    prometheus::Error,
    process::LinksError,
    registry::RegistryError,
    traces::StartError,
    warehouse::WarehouseError,
);

/// Says what was being done when something failed.
pub(crate) trait During<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> During<T> for Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::During { what: what(), cause: Box::new(cause.into()) })
    }
}

/// Ends the function with [`Error::Refused`].
macro_rules! refuse {
    ($($text:tt)*) => { return Err($crate::Error::Refused(format!($($text)*))) };
}

/// Ends the function with [`Error::Refused`] unless a condition holds.
macro_rules! refuse_unless {
    ($holds:expr, $($text:tt)*) => { if !$holds { $crate::error::refuse!($($text)*) } };
}

pub(crate) use {refuse, refuse_unless};
