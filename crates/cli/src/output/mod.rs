//! What a tool prints. A report goes through one of two renderers: text for people, or one JSON line.

// First: it is for all below, and takes the place of the standard library's, which panics when the reader has gone.
macro_rules! println {
    () => { $crate::output::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::print(format_args!("{}\n", format_args!($($text)*))) };
}

mod json;
pub(crate) mod text;

use std::fmt;
use std::io::{ErrorKind, Write};

use operate::Report;

use crate::exit::{Outcome, Verdict};
pub(crate) use text::{Page, Text};

/// Prints a report, and says by the exit code whether a person has to look at it. `flag` names the configuration in the commands
/// that are the next step.
pub(crate) fn answer<R: Report + Text>(report: &R, json: bool, flag: &str) -> Outcome {
    show(report, json, flag)?;
    Ok(if report.needs_attention() { Verdict::NeedsAttention } else { Verdict::Fine })
}

/// Prints what a pull request shows of a list of links.
pub(crate) fn print_markdown(report: &operate::lint::LintReport) {
    print(format_args!("{}", text::markdown(report)));
}

/// Prints a report.
pub(crate) fn show<R: Report + Text>(report: &R, json: bool, flag: &str) -> anyhow::Result<()> {
    if json {
        println!("{}", json::line(report)?);
    } else {
        Page::of(report, flag).print();
    }
    Ok(())
}

/// Prints to standard output. The macro of the standard library panics when the reader has gone, as behind `| head`; here, what
/// was begun is still done, and the exit code still says how it went. Any other failure (a full disk behind `>`) ends the
/// program with 2.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    let mut output = std::io::stdout().lock();
    if let Err(error) = output.write_fmt(text).and_then(|()| output.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        drop(output);
        tell(&error);
        std::process::exit(2);
    }
}

#[allow(clippy::print_stderr, reason = "the answer of a command")]
fn tell(error: &std::io::Error) {
    eprintln!("hookline: the answer cannot be written to standard output: {error}");
}
