//! What every test of the pipeline starts with.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use signature::{Scheme, Secret};
use tempfile::TempDir;
use testkit::clickhouse::Asker;
use testkit::{House, Sender};

/// How long a row may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// Where the root of the repository is.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

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

    /// Everything, with sources of a name, an adapter and a scheme each.
    pub fn of(sources: &[(&str, &str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = configure(&folder.path().join("data"), sources);
        Self::within(folder, &["--config", config.to_str().unwrap()])
    }

    /// As `hookline up` with these arguments starts it.
    pub fn with(more: &[&str]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), more)
    }

    /// Everything, in a folder that holds its configuration already.
    pub fn within(folder: TempDir, more: &[&str]) -> Self {
        let house = House::up(&folder.path().join("data"), more).unwrap();
        Self { house, folder }
    }

    /// Where webhooks go.
    pub fn ingest(&self) -> &str {
        self.house.addresses.ingest.as_deref().unwrap()
    }

    /// The text of a source's secret.
    pub fn secret(&self, source: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("data/secrets").join(source)).unwrap();
        text.trim().to_owned()
    }

    /// The sum of a counter over its labels.
    pub async fn counted(&self, name: &str) -> u64 {
        let url = format!("{}/metrics", self.house.addresses.metrics.as_deref().unwrap());
        let client = testkit::http::client(SOON).unwrap();
        let text = client.get(url).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum()
    }

    /// ClickHouse, as a reader.
    pub fn asker(&self) -> Asker {
        Asker::new(&self.house.addresses.clickhouse, "analyst", "").unwrap()
    }

    /// A Dub that knows the secret.
    pub fn dub(&self) -> Sender {
        dub(self.house.addresses.ingest.as_deref().unwrap(), &self.folder.path().join("data"))
    }

    /// A platform that speaks our own format.
    pub fn canonical(&self) -> Sender {
        canonical(self.ingest(), &self.folder.path().join("data"))
    }

    /// A platform that sends to a source of [`Self::of`].
    pub fn sender(&self, source: &str, scheme: Scheme) -> Sender {
        let secret = secret(&self.folder.path().join("data"), source);
        Sender::new(self.ingest(), source, scheme, secret).unwrap()
    }
}

/// Writes `hookline.toml` into a folder, with sources of a name, an adapter and a scheme (a name, or a table) each, and a secret
/// for each.
pub fn configure(folder: &Path, sources: &[(&str, &str, &str)]) -> PathBuf {
    std::fs::create_dir_all(folder.join("secrets")).unwrap();
    let mut text = "version = 1\n[owner]\nme = { name = \"Me\" }\n".to_owned();
    for (name, adapter, scheme) in sources {
        // Base64 of 32 bytes, as Standard Webhooks wants it; for other schemes it is a text as good as any.
        let secret = format!("whsec_{:A<43}=\n", name.replace(['-', '_'], "0"));
        std::fs::write(folder.join("secrets").join(name), secret).unwrap();
        let scheme = if scheme.starts_with('{') { (*scheme).to_owned() } else { format!("\"{scheme}\"") };
        text.push_str(&format!(
            "[source.{name}]\nadapter = \"{adapter}\"\nowner = \"me\"\nscheme = {scheme}\n\
             secrets = [{{ id = \"first\", file = \"secrets/{name}\" }}]\n"
        ));
    }
    let config = folder.join("hookline.toml");
    std::fs::write(&config, text).unwrap();
    config
}

/// A Dub that sends to `ingest` with the secret in the data folder.
pub fn dub(ingest: &str, data: &Path) -> Sender {
    Sender::new(ingest, "dub", Scheme::Dub, secret(data, "dub")).unwrap()
}

/// A platform that sends our own format to `ingest`, with its secret in the data folder.
pub fn canonical(ingest: &str, data: &Path) -> Sender {
    Sender::new(ingest, "canonical", Scheme::StandardWebhooks, secret(data, "canonical")).unwrap()
}

fn secret(data: &Path, name: &str) -> Secret {
    let text = std::fs::read_to_string(data.join("secrets").join(name)).unwrap();
    Secret::new("first", text.trim())
}

/// `hookline up --engines-only` on a data folder that outlives it.
pub struct Up {
    house: House,
    data: PathBuf,
    pub addresses: testkit::house::Addresses,
}

impl Up {
    /// Starts it; its log lies in a folder of its own.
    pub async fn engines(data: &Path) -> anyhow::Result<Self> {
        Self::engines_with(data, &[]).await
    }

    /// As [`Self::engines`], with variables in the environment of the engines.
    pub async fn engines_with(data: &Path, variables: &[(String, String)]) -> anyhow::Result<Self> {
        let data = data.join("data");
        let (inside, variables) = (data.clone(), variables.to_vec());
        let house = tokio::task::spawn_blocking(move || {
            let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
            House::up_with(&inside, &["--engines-only"], &variables)
        });
        let house = house.await??;
        Ok(Self { addresses: house.addresses.clone(), house, data })
    }

    /// The process id of `up` itself.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.house.program.pid())
    }

    /// The process id of an engine (`kafka` or `clickhouse`), once it has one.
    pub async fn engine_pid(&self, engine: &str) -> anyhow::Result<u32> {
        engine_pid(&self.data, engine).await
    }

    /// kill -9 of an engine; returns the process id that it had.
    pub async fn kill_engine(&self, engine: &str) -> anyhow::Result<u32> {
        let pid = self.engine_pid(engine).await?;
        signal(pid, "-KILL")?;
        until(Duration::from_secs(10), "the engine is gone", || async { (!runs(pid)).then_some(()) }).await?;
        Ok(pid)
    }

    /// kill -9 of `up` itself.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.house.program.kill()
    }

    /// SIGTERM; returns the exit code.
    pub async fn stop(mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.house.program.stop(Duration::from_secs(30))?.code())
    }
}

/// The process id of an engine (`kafka` or `clickhouse`) of a data folder, once it has one.
pub async fn engine_pid(data: &Path, engine: &str) -> anyhow::Result<u32> {
    let file = data.join(format!("{engine}.pid"));
    until(Duration::from_secs(30), "the engine runs", || async {
        let noted = std::fs::read_to_string(&file).ok()?;
        noted.split_whitespace().next()?.parse().ok().filter(|pid| runs(*pid))
    })
    .await
}

/// Sends a process a signal.
pub fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let told = std::process::Command::new("kill").args([name, &pid.to_string()]).status()?;
    if told.success() { Ok(()) } else { bail!("process {pid} cannot be sent {name}") }
}

/// Whether a process runs (a zombie does not).
pub fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Runs the binary to its end; returns its exit code and what it said on standard error.
pub async fn run(arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    run_with(arguments, &[]).await
}

/// As [`run`], with variables in its environment.
pub async fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<(Option<i32>, String)> {
    let binary = testkit::house::binary()?;
    let mut command = tokio::process::Command::new(binary);
    // Not the one that happens to be on PATH.
    command.env("HOOKLINE_CLICKHOUSE_BIN", "");
    let output = command.args(arguments).envs(variables.iter().copied()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.context("it does not end")??;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Asks again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
