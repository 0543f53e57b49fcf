//! Which ClickHouse a run has: a server that the user names, else one on PATH that is good, else our own engine.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::binary::Binary;
use super::kind::Kind;

/// The variable that names the binary of a ClickHouse server.
pub const VARIABLE: &str = "HOOKLINE_CLICKHOUSE_BIN";

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The engine that is a library.
    Library,
    /// A server.
    Server(Binary),
}

impl Chosen {
    /// Notes that the tables are written by this one from now on: once it has been ready, so that what could not be
    /// started leaves the choice as it was.
    pub(crate) fn mark(&self, folder: &Path) -> anyhow::Result<()> {
        match Kind::of(folder)? {
            Some(_) => Ok(()),
            None => self.kind().mark(folder),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Library => Kind::Library,
            Self::Server(_) => Kind::Server,
        }
    }
}

/// What was said about the binary.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// This one, whatever else there is.
    Named(OsString),
    /// Our own engine, whatever is on PATH: the variable is there and empty.
    Own,
    /// Nothing.
    Whatever,
}

impl Wanted {
    fn of(variable: Option<&OsStr>) -> Self {
        match variable {
            Some(name) if name.is_empty() => Self::Own,
            Some(name) => Self::Named(name.to_owned()),
            None => Self::Whatever,
        }
    }
}

/// Chooses for a folder of tables, which [`Chosen::mark`] is to note. `variable` is the value of the variable that
/// names a binary, `path` that of `PATH`.
///
/// # Errors
/// In one line: the binary that was named is not usable, or the folder is of another kind.
pub(crate) async fn choose(variable: Option<&OsStr>, path: Option<&OsStr>, folder: &Path) -> anyhow::Result<Chosen> {
    let found = Kind::of(folder)?;
    let chosen = match Wanted::of(variable) {
        Wanted::Named(name) => {
            let binary = async { Binary::ask(Binary::named(&name, path)?).await };
            let binary = binary.await.with_context(|| format!("{VARIABLE} cannot be used"))?;
            Chosen::Server(binary)
        }
        Wanted::Own => Chosen::Library,
        Wanted::Whatever => of_path(Binary::of_path(path), found).await?,
    };
    fits(&chosen, found, folder)?;
    Ok(chosen)
}

/// What is on PATH takes the place of our engine where it is good and the tables are not our engine's.
async fn of_path(program: Option<PathBuf>, found: Option<Kind>) -> anyhow::Result<Chosen> {
    match (program, found) {
        (None, Some(Kind::Server)) => {
            bail!(
                "the tables were written by a ClickHouse server, and no clickhouse is on PATH: name it with {VARIABLE}"
            )
        }
        (None, _) => Ok(Chosen::Library),
        (Some(program), Some(Kind::Library)) => {
            tracing::info!(
                "{} is left alone: the tables of this data folder are those of Hookline's own engine",
                program.display()
            );
            Ok(Chosen::Library)
        }
        (Some(program), _) => match Binary::ask(program).await {
            Ok(binary) => Ok(Chosen::Server(binary)),
            Err(error) if found == Some(Kind::Server) => {
                Err(error.context("the tables were written by a ClickHouse server, and the one on PATH cannot be used"))
            }
            Err(error) => {
                tracing::warn!("{error:#}. Hookline's own engine runs instead");
                Ok(Chosen::Library)
            }
        },
    }
}

fn fits(chosen: &Chosen, found: Option<Kind>, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.display();
    match (chosen, found) {
        (Chosen::Server(binary), Some(Kind::Library)) => bail!(
            "the tables in {folder} were written by {}, and {VARIABLE} names the server {}: start without {VARIABLE}, or give \
             the server a fresh folder with --data DIR",
            Kind::Library,
            binary.program.display()
        ),
        (Chosen::Library, Some(Kind::Server)) => bail!(
            "the tables in {folder} were written by {}, and an empty {VARIABLE} asks for {}: name the server with {VARIABLE}, or \
             give a fresh folder with --data DIR",
            Kind::Server,
            Kind::Library
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse_server::binary::script;

    /// A folder on PATH with a `clickhouse` that says this.
    fn path_with(said: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "clickhouse", &format!("echo '{said}'"));
        folder
    }

    const GOOD: &str = "ClickHouse server version 26.7.2.1 (official build).";
    const OLD: &str = "ClickHouse server version 18.16.1.";

    /// What is chosen, or the error in one line.
    async fn chosen(variable: Option<&str>, path: &Path, kind: Option<Kind>) -> Result<Kind, String> {
        let tables = tempfile::tempdir().unwrap();
        if let Some(kind) = kind {
            kind.mark(tables.path()).unwrap();
        }
        let chosen = choose(variable.map(OsStr::new), Some(path.as_os_str()), tables.path()).await;
        assert_eq!(Kind::of(tables.path()).unwrap(), kind, "a choice alone changes nothing");
        if let Ok(chosen) = &chosen {
            chosen.mark(tables.path()).unwrap();
            assert_eq!(Kind::of(tables.path()).unwrap(), Some(chosen.kind()), "the folder says so from now on");
        }
        chosen.map(|chosen| chosen.kind()).map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn what_is_on_the_path_is_used_where_it_is_good_and_the_folder_is_not_the_librarys() {
        let (good, old) = (path_with(GOOD), path_with(OLD));
        let (good, old, none) = (good.path(), old.path(), Path::new("/nonexistent"));
        assert_eq!(chosen(None, none, None).await, Ok(Kind::Library));
        assert_eq!(chosen(None, good, None).await, Ok(Kind::Server));
        assert_eq!(chosen(None, old, None).await, Ok(Kind::Library), "said, and passed over");
        assert_eq!(
            chosen(None, good, Some(Kind::Library)).await,
            Ok(Kind::Library),
            "upgrades of a machine change nothing"
        );
        assert_eq!(chosen(None, good, Some(Kind::Server)).await, Ok(Kind::Server));
        for path in [old, none] {
            let error = chosen(None, path, Some(Kind::Server)).await.unwrap_err();
            assert!(error.starts_with("the tables were written by a ClickHouse server"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_the_variable_names_is_used_or_refused() {
        let (good, old) = (path_with(GOOD), path_with(OLD));
        let (good, old) = (good.path(), old.path());
        let named = |folder: &Path| folder.join("clickhouse").to_str().unwrap().to_owned();
        assert_eq!(chosen(Some(&named(good)), old, None).await, Ok(Kind::Server));
        assert_eq!(chosen(Some("clickhouse"), good, Some(Kind::Server)).await, Ok(Kind::Server));
        let error = chosen(Some(&named(old)), good, None).await.unwrap_err();
        assert!(
            error.starts_with("HOOKLINE_CLICKHOUSE_BIN cannot be used: ") && error.contains("26.4 or later"),
            "{error}"
        );
        let error = chosen(Some(&named(good)), good, Some(Kind::Library)).await.unwrap_err();
        assert!(
            error.contains("written by Hookline's own ClickHouse engine") && error.contains("--data DIR"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn an_empty_variable_means_our_own_engine() {
        let good = path_with(GOOD);
        assert_eq!(chosen(Some(""), good.path(), None).await, Ok(Kind::Library));
        let error = chosen(Some(""), good.path(), Some(Kind::Server)).await.unwrap_err();
        assert!(error.contains("written by a ClickHouse server") && error.lines().count() == 1, "{error}");
    }
}
