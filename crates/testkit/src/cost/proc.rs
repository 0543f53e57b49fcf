//! What processes have used together.

use anyhow::Result;

/// CPU seconds that processes have used together.
///
/// # Errors
/// When one has ended.
pub fn cpu(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| Ok(measure::process_cpu(*pid)?.as_secs_f64())).sum()
}

/// Megabytes of memory that processes have together.
///
/// # Errors
/// When one has ended.
pub fn resident_mb(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| Ok(measure::resident(*pid)? / 1_048_576)).sum()
}
