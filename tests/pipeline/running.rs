//! What every test of the pipeline starts with.

use std::path::Path;
use std::time::Duration;

use signature::{Scheme, Secret};
use tempfile::TempDir;
use testkit::clickhouse::Asker;
use testkit::{House, Sender};

/// How long a row may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A Hookline of its own, with its engines, in a folder that goes when it goes.
pub struct Running {
    pub house: House,
    pub folder: TempDir,
}

impl Running {
    /// Everything, as `hookline up` starts it.
    pub fn everything() -> Self {
        Self::with(&[])
    }

    /// The engines only: services are started one by one.
    pub fn engines() -> Self {
        Self::with(&["--engines-only"])
    }

    fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let house = House::up(&folder.path().join("data"), more).unwrap();
        Self { house, folder }
    }

    /// ClickHouse, as a reader.
    pub fn asker(&self) -> Asker {
        Asker::new(&self.house.addresses.clickhouse, "analyst", "")
    }

    /// A Dub that knows the secret.
    pub fn dub(&self) -> Sender {
        dub(self.house.addresses.ingest.as_deref().unwrap(), &self.folder.path().join("data"))
    }

    /// A platform that speaks our own format.
    pub fn canonical(&self) -> Sender {
        let secret = secret(&self.folder.path().join("data"), "canonical");
        Sender::new(self.house.addresses.ingest.as_deref().unwrap(), "canonical", Scheme::StandardWebhooks, secret).unwrap()
    }
}

/// A Dub that sends to `ingest` with the secret in the data folder.
pub fn dub(ingest: &str, data: &Path) -> Sender {
    Sender::new(ingest, "dub", Scheme::Dub, secret(data, "dub")).unwrap()
}

fn secret(data: &Path, name: &str) -> Secret {
    let text = std::fs::read_to_string(data.join("secrets").join(name)).unwrap();
    Secret::new("first", text.trim())
}
