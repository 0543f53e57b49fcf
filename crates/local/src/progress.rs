//! What a person sees while something long is going on: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two plain lines of one download.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bars that redraw themselves, on standard error.
    Bars,
    /// A line every few seconds, on standard error.
    Lines,
    /// Nowhere.
    Silent,
}

impl Progress {
    /// Bars if standard error is a terminal, else lines. Standard output stays free for what a command answers.
    #[must_use]
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// One line about what begins now.
    pub fn say(self, line: &str) {
        if self != Self::Silent {
            write_line(line);
        }
    }

    /// Starts showing a download of `total` bytes of which `have` are there already.
    pub(crate) fn download(self, what: &str, total: u64, have: u64) -> Download {
        let display = match self {
            Self::Silent => Display::Silent,
            Self::Bars => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let template = "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_message(what.to_owned());
                bar.set_position(have);
                bar.reset_eta();
                Display::Bar(bar)
            }
            Self::Lines => {
                Display::Lines(Mutex::new(Lines { what: what.to_owned(), total, have, said: Instant::now() }))
            }
        };
        Download { display }
    }
}

/// A download that is being shown.
pub(crate) struct Download {
    display: Display,
}

enum Display {
    Silent,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

struct Lines {
    what: String,
    total: u64,
    have: u64,
    said: Instant,
}

impl Download {
    /// The download now has `have` bytes in all.
    pub(crate) fn at(&self, have: u64) {
        match &self.display {
            Display::Silent => {}
            Display::Bar(bar) => bar.set_position(have),
            Display::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                lines.have = have;
                if lines.said.elapsed() >= LINE_EVERY {
                    lines.said = Instant::now();
                    write_line(&format!(
                        "{}: {} of {} MB",
                        lines.what,
                        lines.have / 1_000_000,
                        lines.total / 1_000_000
                    ));
                }
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

fn write_line(line: &str) {
    // A closed standard error is no reason to stop what is being shown.
    let _ = writeln!(std::io::stderr().lock(), "hookline: {line}");
}
