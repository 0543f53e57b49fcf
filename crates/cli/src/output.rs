//! What a tool prints. The macro of the standard library panics when nobody reads any more, as behind `| head`.

use std::fmt;
use std::io::{ErrorKind, Write};

/// Prints to standard output. When nobody reads any more, what was begun is still done, and the exit code still says how it went.
/// Whatever else keeps an answer from its reader (a full disk behind `>`) ends the program with 2.
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

macro_rules! println {
    () => { $crate::output::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::print(format_args!("{}\n", format_args!($($text)*))) };
}
