//! What Linux says of processes.

use anyhow::{Context, Result};

/// Clock ticks a second of `/proc/<pid>/stat` on Linux.
const TICKS: f64 = 100.0;

/// CPU seconds that processes have used together.
///
/// # Errors
/// When one has ended.
pub fn cpu(pids: &[u32]) -> Result<f64> {
    let used = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // proc(5): utime and stime are fields 14 and 15; the split begins at field 3.
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).context("no ticks");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    };
    pids.iter().map(used).sum()
}

/// Megabytes of memory that processes have together.
///
/// # Errors
/// When one has ended.
pub fn resident_mb(pids: &[u32]) -> Result<u64> {
    let resident = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        Ok(kilobytes.with_context(|| format!("{line:?} does not name a size"))? / 1_024)
    };
    pids.iter().map(resident).sum()
}
