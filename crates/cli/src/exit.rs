//! What every subcommand answers to the shell: 0 fine, 1 needs attention, 2 broken or wrong use.

use std::io::Write;
use std::process::ExitCode;

/// What a command found when nothing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit code 0.
    Fine,
    /// Exit code 1: it worked, and what it found wants a person. The command has said what and what to do next.
    NeedsAttention,
    /// Exit code 2: it worked, and what it looked at is broken. The command has said what and what to do next.
    Broken,
}

/// The result of a command. An error is exit code 2.
pub(crate) type Outcome = anyhow::Result<Verdict>;

/// The exit code of an outcome; an error is printed as one line on standard error.
pub(crate) fn code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::NeedsAttention) => ExitCode::from(1),
        Ok(Verdict::Broken) => ExitCode::from(2),
        Err(error) => {
            say(&runtime::with_causes(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

/// Wrong use in one line, or the help or version that was asked for.
pub(crate) fn wrong_use(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version are answers. A closed standard output is no error of ours.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.render().to_string();
    let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    say(&format!("{} (see --help)", what.join(" ").trim_start_matches("error: ")));
    ExitCode::from(2)
}

fn say(message: &str) {
    let line = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr().lock(), "hookline: {line}");
}
