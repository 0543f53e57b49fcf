//! Arguments that several commands take, and how they are read.

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use operate::Installation;
use operate::installation::Needs;

/// Which installation a tool is about, and how it answers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ToolArgs {
    /// The configuration. If it is in the data folder of a running `hookline up`, that one is meant
    #[arg(long, value_name = "FILE", default_value = "hookline.toml", global = true)]
    pub(crate) config: PathBuf,
    /// Print one JSON line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl ToolArgs {
    /// The configuration and where its engines are. Nothing is asked yet.
    pub(crate) fn installation(&self) -> anyhow::Result<Installation> {
        Ok(Installation::find(&self.config, Needs::Both, None)?)
    }

    /// `--config FILE`, for a command that is named as the next step.
    pub(crate) fn flag(&self) -> String {
        flag(&self.config)
    }
}

/// `--config FILE`, for a command that is named as the next step.
pub(crate) fn flag(config: &std::path::Path) -> String {
    format!("--config {}", config.display())
}

/// The longest text that is kept, in characters.
const LONGEST: usize = 500;

/// A text that stands on one line of a log or a terminal.
pub(crate) fn words(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say it in a few words".to_owned());
    }
    if text.chars().any(char::is_control) || text.chars().count() > LONGEST {
        return Err(format!("write one line of at most {LONGEST} characters"));
    }
    Ok(text.to_owned())
}

/// Who decides something.
#[derive(Debug, clap::Args)]
pub(crate) struct WhoArgs {
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
}

impl WhoArgs {
    /// As given, or the user that runs this.
    pub(crate) fn name(&self) -> anyhow::Result<String> {
        let user = || ["USER", "LOGNAME"].iter().find_map(|name| words(&std::env::var(name).ok()?).ok());
        self.who.clone().or_else(user).context("say who you are with --who NAME: it is kept beside the reason")
    }
}

/// A time as people write it: `2h` (ago), `2026-11-25T12:00:00Z`, `2026-11-25` (its start in UTC). Milliseconds since 1970.
pub(crate) fn time(text: &str) -> Result<i64, String> {
    let now = Timestamp::now();
    let ago = || now.checked_sub(config::duration(text.strip_suffix(" ago").unwrap_or(text)).ok()?).ok();
    let day = || TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok();
    let time = text.parse::<Timestamp>().ok().or_else(day).or_else(ago);
    time.map(Timestamp::as_millisecond)
        .ok_or_else(|| format!("{text:?} is no time: write 2h, 2026-11-25 or 2026-11-25T12:00:00Z"))
}

/// `3:17`: lane 3, offset 17.
pub(crate) fn lane_and_offset(text: &str) -> Result<(u16, u64), String> {
    let read = || {
        let (lane, offset) = text.split_once([':', '/'])?;
        Some((lane.parse().ok()?, offset.parse().ok().filter(|offset| *offset < i64::MAX as u64)?))
    };
    read().ok_or_else(|| format!("{text:?} names no record: write LANE:OFFSET, such as 3:17"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon = "2026-11-25T12:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(time("2026-11-25T12:00:00Z"), Ok(noon));
        assert_eq!(time("2026-11-25"), Ok(noon - 12 * 3_600_000));
        for (text, millis) in
            [("2h", 7_200_000), ("3d", 259_200_000), ("1h 30m", 5_400_000), ("2 hours ago", 7_200_000)]
        {
            let read = time(text).unwrap();
            assert!((Timestamp::now().as_millisecond() - millis - read).abs() < 60_000, "{text}: {read}");
        }
        for wrong in ["", "yesterday", "12", "3mo", "2026-13-01"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_and_why_stand_on_one_line() {
        assert_eq!(words("  plan change ").as_deref(), Ok("plan change"));
        for wrong in ["", "  ", "two\nlines", "\u{1b}[31mred", &"x".repeat(LONGEST + 1)] {
            assert!(words(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn records_are_named_by_lane_and_offset() {
        assert_eq!((lane_and_offset("3:17"), lane_and_offset("0/1")), (Ok((3, 17)), Ok((0, 1))));
        for wrong in ["", "3", "3:", ":3", "70000:1", "1:-1"] {
            assert!(lane_and_offset(wrong).is_err(), "{wrong}");
        }
    }
}
