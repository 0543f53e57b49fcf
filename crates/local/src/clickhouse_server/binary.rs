//! The binary of a server: where it is, which version it has, how it is started.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

/// The oldest server that takes our inserts: each names the setting `use_strict_insert_block_limits`, which is new in
/// 26.4 (`system.settings_changes`), and an older server refuses a setting that it does not know.
pub(crate) const LEAST: Version = Version(26, 4);

/// For one question to a binary, on a machine that is busy with a start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The tool that has all of ClickHouse in it.
const MULTI_TOOL: &str = "clickhouse";

/// Year and month of a release, which is how ClickHouse counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A server that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    /// An absolute path.
    pub(crate) program: PathBuf,
    /// The version in full, as it says itself.
    pub(crate) version: String,
}

impl Binary {
    /// The file that a user names: a path, or a name that is looked for on `path`.
    pub(crate) fn named(name: &OsStr, path: Option<&OsStr>) -> anyhow::Result<PathBuf> {
        if name.as_encoded_bytes().contains(&b'/') {
            return std::path::absolute(name).with_context(|| format!("cannot resolve {}", name.display()));
        }
        on_path(name, path).with_context(|| format!("{} is not on PATH", name.display()))
    }

    /// The tool `clickhouse` on `path`, if there is one.
    pub(crate) fn of_path(path: Option<&OsStr>) -> Option<PathBuf> {
        on_path(OsStr::new(MULTI_TOOL), path)
    }

    /// Asks a program which server it is.
    ///
    /// # Errors
    /// It cannot be started, it is not a ClickHouse server, or it is too old; each in one line that names the program.
    pub(crate) async fn ask(program: PathBuf) -> anyhow::Result<Self> {
        let shown = program.display();
        let mut command = Command::new(&program);
        command.args(server_of(&program)).arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(ANSWERS_WITHIN, command.output())
            .await
            .with_context(|| format!("{shown} did not say its version within {} s", ANSWERS_WITHIN.as_secs()))?
            .with_context(|| format!("{shown} cannot be started"))?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
        if !output.status.success() {
            let why = complained.lines().chain(said.lines()).find(|line| !line.trim().is_empty());
            bail!(
                "{shown} is not a ClickHouse server of version {LEAST} or later: asked for its version it ended with {} and said {:?}",
                output.status,
                why.unwrap_or_default()
            );
        }
        let Some((version, full)) = version_in(&said) else {
            bail!(
                "{shown} is not a ClickHouse server of version {LEAST} or later: asked for its version it said {:?}",
                said.lines().next().unwrap_or_default()
            );
        };
        ensure!(
            version >= LEAST,
            "{shown} is ClickHouse {full}, and Hookline's tables need {LEAST} or later: its inserts name settings that are new in it"
        );
        Ok(Self { version: full, program })
    }

    /// The arguments that start the server with a configuration.
    pub(crate) fn starts_with(&self, config: &Path) -> Vec<OsString> {
        let mut file = OsString::from("--config-file=");
        file.push(config);
        server_of(&self.program).into_iter().map(OsString::from).chain([file]).collect()
    }
}

/// What stands before a server's arguments: the tool is told which of its programs is meant.
fn server_of(program: &Path) -> Option<&'static str> {
    let name = program.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    (name != "clickhouse-server").then_some("server")
}

fn on_path(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let runs = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    // An empty part means the working folder to a shell; a program is not taken from there.
    let folders = std::env::split_paths(path?).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(runs)
}

/// The version in what `--version` prints: `ClickHouse server version 26.7.2.1 (official build).`
fn version_in(said: &str) -> Option<(Version, String)> {
    let line = said.lines().find(|line| line.starts_with("ClickHouse server version "))?;
    let word = line.split_once(" version ")?.1.split_whitespace().next()?;
    let full = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = full.split('.').map(str::parse);
    let (Some(Ok(year)), Some(Ok(month))) = (numbers.next(), numbers.next()) else { return None };
    Some((Version(year, month), full.to_owned()))
}

/// A shell script as a binary.
#[cfg(test)]
pub(super) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (source, path) = (folder.join(format!("{name}.source")), folder.join(name));
    std::fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
    // By another process: what this one has open for writing, in whatever thread, cannot be started (ETXTBSY).
    let installed = std::process::Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap();
    assert!(installed.success());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_ages_are_read() {
        let of = |said: &str| version_in(said).map(|(version, full)| (version.to_string(), full));
        let read = |version: &str, full: &str| Some((version.to_owned(), full.to_owned()));
        assert_eq!(of("ClickHouse server version 26.7.2.1 (official build).\n"), read("26.7", "26.7.2.1"));
        assert_eq!(of("ClickHouse server version 26.4.1.\n"), read("26.4", "26.4.1"));
        assert_eq!(of("ClickHouse server version 18.16.1.\n"), read("18.16", "18.16.1"));
        assert_eq!(of("ClickHouse server version 25.12.1.1-testing.\n"), read("25.12", "25.12.1.1"));
        for other in [
            "",
            "chdb 3.1",
            "ClickHouse client version 26.7.2.1 (official build).",
            "ClickHouse",
            "ClickHouse server version next",
            "curl 7.88.1 version 1.2",
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_month_of_two_digits_is_later_than_one_of_one() {
        assert!(Version(25, 12) < LEAST && Version(26, 3) < LEAST);
        assert!(LEAST <= Version(26, 4) && LEAST < Version(26, 10) && LEAST < Version(27, 1));
    }

    #[test]
    fn the_tool_is_told_that_the_server_is_meant_and_a_server_is_not() {
        let arguments = |program: &str| {
            let binary = Binary { program: program.into(), version: String::new() };
            binary.starts_with(Path::new("/d/server.xml"))
        };
        assert_eq!(arguments("/usr/bin/clickhouse"), ["server", "--config-file=/d/server.xml"]);
        assert_eq!(arguments("/opt/clickhouse-26.7"), ["server", "--config-file=/d/server.xml"]);
        assert_eq!(arguments("/opt/clickhouse-server-26.7"), ["server", "--config-file=/d/server.xml"]);
        assert_eq!(arguments("/usr/bin/clickhouse-server"), ["--config-file=/d/server.xml"]);
    }

    #[tokio::test]
    async fn a_server_says_its_version_and_what_is_not_one_is_a_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let tool = "[ \"$1 $2\" = 'server --version' ] && echo 'ClickHouse server version 26.7.2.1 (official build).'";
        let good = Binary::ask(script(folder.path(), "clickhouse", tool)).await.unwrap();
        assert_eq!(good.version, "26.7.2.1");
        let old = "echo 'ClickHouse server version 18.16.1.'";
        for (name, text, said) in [
            ("old", old, "is ClickHouse 18.16.1, and Hookline's tables need 26.4 or later"),
            ("other", "echo 'something 1.2'", "or later: asked for its version it said \"something 1.2\""),
            ("client", "echo 'no server' >&2; exit 36", "it ended with exit status: 36 and said \"no server\""),
            // As the server 18.16 of Debian answers.
            (
                "debian",
                "echo 'Unknown option specified: version' >&2; exit 78",
                "is not a ClickHouse server of version 26.4 or later: asked for its version it ended with exit status: 78",
            ),
        ] {
            let error = format!("{:#}", Binary::ask(script(folder.path(), name, text)).await.unwrap_err());
            assert!(error.contains(said) && error.contains(name) && error.lines().count() == 1, "{error}");
        }
        let missing = Binary::ask(folder.path().join("missing")).await.unwrap_err();
        assert!(format!("{missing:#}").contains("missing cannot be started"), "{missing:#}");
    }

    #[test]
    fn a_name_is_looked_for_on_the_path_and_a_path_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let found = script(folder.path(), "clickhouse", "");
        std::fs::write(folder.path().join("clickhouse-client"), "not executable").unwrap();
        let path = std::env::join_paths([Path::new("/nonexistent"), folder.path()]).unwrap();
        assert_eq!(Binary::of_path(Some(&path)), Some(found.clone()));
        assert_eq!(Binary::of_path(Some(OsStr::new("/nonexistent"))), None);
        assert_eq!(Binary::of_path(None), None);
        assert_eq!(Binary::named(OsStr::new("clickhouse"), Some(&path)).unwrap(), found);
        assert_eq!(Binary::named(OsStr::new("/opt/ch"), Some(&path)).unwrap(), Path::new("/opt/ch"));
        assert!(Binary::named(OsStr::new("./ch"), None).unwrap().is_absolute());
        let error = Binary::named(OsStr::new("clickhouse-client"), Some(&path)).unwrap_err().to_string();
        assert!(error.contains("clickhouse-client is not on PATH"), "{error}");
    }
}
