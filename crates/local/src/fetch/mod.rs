//! Fetching the engines, once, into the user's cache folder: pinned versions, checked sums.
//!
//! Packages come through the ordinary clients of their registries, so mirrors and credentials that a user has set up
//! hold here too: Maven resolves Kafka's jars, npm says where the ClickHouse library lies.

mod cache;
mod download;
mod maven;
mod npm;

use std::path::PathBuf;

pub(crate) use cache::{Cache, require_space, try_lock};

use crate::progress::Progress;

/// The folder of Kafka's jars, fetched if need be. Every jar has been checked against its pinned SHA-256.
///
/// # Errors
/// Maven is missing, there is no network or no space, or a jar is not the pinned one; each in one line.
pub async fn kafka_libs(progress: &Progress) -> anyhow::Result<PathBuf> {
    maven::kafka_libs(&Cache::of_this_user()?, *progress).await
}

/// The path of the ClickHouse engine's library, fetched if need be and checked against its pinned SHA-256.
///
/// # Errors
/// npm is missing, there is no network or no space, the library is not the pinned one, or this platform has none;
/// each in one line.
pub async fn clickhouse_library(progress: &Progress) -> anyhow::Result<PathBuf> {
    npm::clickhouse_library(&Cache::of_this_user()?, *progress).await
}
