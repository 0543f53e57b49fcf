//! A program's clock, set while it runs.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// What is put between a program and its C library.
const SOURCE: &str = include_str!("clock.c");

/// The wall clock of the programs that are started with [`Clock::variables`]: the machine's, until it is set. Their monotonic clock stays
/// as it is, as when somebody sets the clock of a machine.
#[derive(Debug, Clone)]
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
    of: Option<String>,
}

impl Clock {
    /// A clock that is right, kept in `folder` under `name`; of programs called `of` alone, if that is given. Needs the C compiler that
    /// librdkafka is built with.
    ///
    /// # Errors
    /// The folder cannot be written, or there is no C compiler.
    pub fn new(folder: &Path, name: &str, of: Option<&str>) -> anyhow::Result<Self> {
        let in_folder = |suffix: &str| folder.join(format!("clock-of-{name}{suffix}"));
        let (source, library) = (in_folder(".c"), in_folder(".so"));
        std::fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        let output =
            compiler.args([&library, &source]).arg("-ldl").output().context("cc, a C compiler, does not start")?;
        ensure!(output.status.success(), "cc does not compile clock.c: {}", String::from_utf8_lossy(&output.stderr));
        let clock = Self { file: in_folder(""), library, of: of.map(str::to_owned) };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it ahead of the machine's by so many seconds; behind it, if negative. Programs go by it at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, ahead: i64) -> anyhow::Result<()> {
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&self.file)?;
        file.write_all_at(&ahead.to_ne_bytes(), 0)?;
        Ok(())
    }

    /// What a program of this clock needs in its environment.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let variable = |name: &str, value: String| (name.to_owned(), value);
        let mut variables = vec![
            variable("LD_PRELOAD", self.library.display().to_string()),
            variable("TESTKIT_CLOCK", self.file.display().to_string()),
        ];
        variables.extend(self.of.iter().map(|of| variable("TESTKIT_CLOCK_OF", of.clone())));
        variables
    }
}
