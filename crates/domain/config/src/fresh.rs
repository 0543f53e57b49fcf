//! The configuration that `hookline up` writes when it is given none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Why a fresh configuration could not be written.
#[derive(Debug, Error)]
pub enum FreshError {
    /// A file could not be made.
    #[error("{path} cannot be written: {source}; choose another folder with --data")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A configuration for a first look: one source each for Dub and for the canonical event, with secrets of their own,
/// one owner, two rules and a CSV file.
#[derive(Clone)]
pub struct Fresh {
    /// 32 random bytes each: of the Dub source, of the canonical source, of the console.
    secrets: [[u8; 32]; 3],
}

const NAMES: [&str; 3] = ["dub", "canonical", "console"];
const TEXT: &str = include_str!("fresh.toml");

impl Fresh {
    /// Takes 96 random bytes, of cryptographic quality, from the caller.
    pub fn new(random: [u8; 96]) -> Self {
        let mut secrets = [[0; 32]; 3];
        for (secret, bytes) in secrets.iter_mut().zip(random.chunks_exact(32)) {
            secret.copy_from_slice(bytes);
        }
        Self { secrets }
    }

    /// The text of `hookline.toml`. It names the secrets' files and shows none of them.
    pub fn text(&self) -> &'static str {
        TEXT
    }

    /// Writes `hookline.toml` and `secrets/*` (readable by their owner only) into `folder`, and returns the path of the
    /// former. Files that exist are kept as they are: a restart must not change secrets that a sender already knows.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, FreshError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| FreshError::Write { path, source }
        };
        let secrets = folder.join("secrets");
        fs::create_dir_all(&secrets).map_err(failed(&secrets))?;
        for (name, bytes) in NAMES.iter().zip(&self.secrets) {
            let path = secrets.join(name);
            let text = format!("whsec_{}\n", STANDARD.encode(bytes));
            create(&path, &text, 0o600).map_err(failed(&path))?;
        }
        let path = folder.join("hookline.toml");
        create(&path, TEXT, 0o644).map_err(failed(&path))?;
        Ok(path)
    }
}

fn create(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    match options.open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
