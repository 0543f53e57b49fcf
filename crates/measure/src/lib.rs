//! CPU time and memory of processes and threads, as Linux tells them: for benchmarks and tests alone.

use std::time::Duration;
use std::{fs, io};

/// A tick of the clock that Linux counts the time of processes by.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of the calling thread, which other work on the machine does not lengthen.
///
/// # Errors
/// When Linux does not tell it.
pub fn thread_cpu() -> io::Result<Duration> {
    scheduled("/proc/thread-self/schedstat")
}

/// CPU time of all threads that this process has now.
///
/// # Errors
/// When Linux does not tell it.
pub fn threads_cpu() -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        match scheduled(&format!("{}/schedstat", task?.path().display())) {
            Ok(time) => sum += time,
            // A thread that has ended meanwhile.
            Err(gone) if is_gone(&gone) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

/// CPU time of a process, threads that have ended included; in steps of 10 ms.
///
/// # Errors
/// When that process is not there.
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path)?;
    // proc(5): user and system time are fields 14 and 15. The second is a name in parentheses, which may hold anything.
    let (_, fields) = text.rsplit_once(')').ok_or_else(|| unreadable(&path))?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().ok());
    let ticks: Option<u32> = ticks.sum();
    Ok(TICK * ticks.ok_or_else(|| unreadable(&path))?)
}

/// What a process has in memory now, in bytes.
///
/// # Errors
/// When that process is not there.
pub fn resident(pid: u32) -> io::Result<u64> {
    memory(pid, "VmRSS:")
}

/// What a process had in memory at most so far, in bytes.
///
/// # Errors
/// When that process is not there.
pub fn most_resident(pid: u32) -> io::Result<u64> {
    memory(pid, "VmHWM:")
}

fn scheduled(path: &str) -> io::Result<Duration> {
    let text = fs::read_to_string(path)?;
    let nanos = text.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| unreadable(path))
}

fn memory(pid: u32, figure: &str) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(figure));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1_024).ok_or_else(|| unreadable(&path))
}

fn is_gone(error: &io::Error) -> bool {
    // ESRCH: it ended between the opening of the file and its reading.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as proc(5) says"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn time_passes_with_work_and_memory_is_more_than_none() {
        let own = std::process::id();
        let before = (thread_cpu().unwrap(), threads_cpu().unwrap(), process_cpu(own).unwrap());
        let begun = Instant::now();
        let grew = || {
            thread_cpu().unwrap() > before.0
                && threads_cpu().unwrap() > before.1
                && process_cpu(own).unwrap() > before.2
        };
        while !grew() {
            assert!(begun.elapsed() < Duration::from_secs(120), "no CPU time in two minutes of work");
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        let (now, most) = (resident(own).unwrap(), most_resident(own).unwrap());
        assert!(now > 0 && most > 0, "{now} and {most}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(is_gone(&process_cpu(u32::MAX).unwrap_err()));
        assert!(is_gone(&resident(u32::MAX).unwrap_err()));
    }
}
