//! A report as people read it: a file of this folder for each noun of the command line.

pub(crate) mod alert;
pub(crate) mod backtest;
mod check;
mod dead_letters;
mod erase;
mod explain;
pub(crate) mod handbook;
mod ledger;
mod lint;
mod migrate;
mod preview;
mod rebuild;
mod rehearse;
mod reload;
mod replay;
mod review;
mod status;
mod switches;
#[cfg(test)]
mod tests;
pub(crate) mod time;
mod train;

pub(crate) use lint::markdown;

use std::fmt;
use std::io::Write;

/// Ranges, rows and reasons of a kind that are printed.
const SHOWN: usize = 20;

/// A report that people can read.
pub(crate) trait Text {
    /// Writes the report down.
    fn text(&self, page: &mut Page);
}

/// What is printed about a report.
#[derive(Debug, Default)]
pub(crate) struct Page {
    flag: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    /// For standard output.
    Answer(String),
    /// For standard error: what must not end up in a file that the answer is written to.
    Notice(String),
}

impl Page {
    /// What is printed about a report.
    pub(crate) fn of(report: &impl Text, flag: &str) -> Self {
        let mut page = Self { flag: flag.to_owned(), lines: Vec::new() };
        report.text(&mut page);
        page
    }

    /// `--config FILE`, for commands that are the next step.
    fn flag(&self) -> String {
        self.flag.clone()
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        self.lines.push(Line::Answer(text.to_string()));
    }

    fn notice(&mut self, text: fmt::Arguments<'_>) {
        self.lines.push(Line::Notice(text.to_string()));
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        for line in &self.lines {
            match line {
                Line::Answer(text) => println!("{text}"),
                // A closed standard error is no reason to give the answer up.
                Line::Notice(text) => drop(writeln!(std::io::stderr().lock(), "{text}")),
            }
        }
    }

    /// All of it, as a terminal shows it.
    #[cfg(test)]
    fn shown(&self) -> String {
        let line = |line: &Line| match line {
            Line::Answer(text) => format!("{text}\n"),
            Line::Notice(text) => format!("(stderr) {text}\n"),
        };
        self.lines.iter().map(line).collect()
    }
}

/// Adds a line to a page.
macro_rules! line {
    ($page:expr, $($text:tt)*) => { $page.line(format_args!($($text)*)) };
}
use line;
