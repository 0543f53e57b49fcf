//! A Hookline seen from outside: the binary, started, asked, killed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The hidden subcommand that ties a program's life to its parent's: nothing outlives a test run.
const LEASH: &str = "engine-exec";

/// An address of this machine at which nobody listens, for a program to listen at, time and again: below the ports that the kernel
/// gives to outgoing connections and those that engines are given, and no two of this process are the same.
///
/// # Errors
/// When all of them are in use.
pub fn free_address() -> anyhow::Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 10_000..20_000;
    for _ in PORTS {
        let number = std::process::id().wrapping_mul(131).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = format!("127.0.0.1:{}", PORTS.start + number % (PORTS.end - PORTS.start));
        if TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port among {PORTS:?}")
}

/// The built `hookline` binary.
///
/// # Errors
/// When it was not built.
pub fn binary() -> anyhow::Result<PathBuf> {
    // Tests lie in target/<profile>/deps, examples in target/<profile>/examples.
    let program = std::env::current_exe()?;
    let folder = program.parent().and_then(Path::parent).context("this program lies in no folder")?;
    let path = folder.join("hookline");
    if !path.exists() {
        bail!("{} is not there: run `cargo build -p hookline` first (tests/run does)", path.display());
    }
    Ok(path)
}

/// A running subcommand of the binary.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `hookline <arguments>`; its log goes to `<folder>/<name>.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (program, _lines) = Self::spawn(name, folder, arguments, variables)?;
        Ok(program)
    }

    fn spawn(
        name: &str,
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<(Self, mpsc::Receiver<String>)> {
        let binary = binary()?;
        let log = folder.join(format!("{name}.log"));
        let errors = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&binary);
        command.arg(LEASH).arg(std::process::id().to_string()).arg(&binary).args(arguments);
        // Tests run on the engine that is a library, whatever the machine has; a test of a server names it.
        command.env("HOOKLINE_CLICKHOUSE_BIN", "");
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        // The kernel ties the leash to the thread that starts the program, so that thread must outlive it.
        let (report, started) = mpsc::channel();
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            match command.spawn() {
                Ok(mut child) => {
                    let output = child.stdout.take();
                    let _ = report.send(Ok(child));
                    for read in
                        output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok)
                    {
                        let _ = line.send(read);
                    }
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
            loop {
                std::thread::park();
            }
        });
        let child = started.recv()?.with_context(|| format!("cannot start {}", binary.display()))?;
        Ok((Self { name: name.to_owned(), child, log }, lines))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it has ended already and was waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits at most `patience`.
    ///
    /// # Errors
    /// When it has not ended by then.
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("-TERM")?;
        self.wait(patience)
    }

    /// Sends it a signal, such as `-STOP`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        // The child has not been waited for, so the id is still its own.
        let told = Command::new("kill").args([signal, &self.pid().to_string()]).status()?;
        if !told.success() {
            bail!("{} cannot be sent {signal}", self.name);
        }
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended within `patience`.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} has not ended within {patience:?}; its log: {}", self.name, self.log.display());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| format!("no log: {error}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            #[allow(clippy::print_stderr, reason = "a failed test shows what the program said")]
            {
                eprintln!("--- the end of {}'s log\n{}", self.name, tail.join("\n"));
            }
        }
    }
}

/// The line that `up --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Addresses {
    /// Always true.
    pub ready: bool,
    /// Where webhooks go.
    pub ingest: Option<String>,
    /// The console.
    pub console: Option<String>,
    /// Metrics and health.
    pub metrics: Option<String>,
    /// Kafka's brokers.
    pub kafka: String,
    /// ClickHouse's HTTP interface.
    pub clickhouse: String,
    /// Version and kind of a local ClickHouse.
    pub clickhouse_is: Option<String>,
}

/// A running `hookline up`.
#[derive(Debug)]
pub struct House {
    /// The process.
    pub program: Program,
    /// What it printed.
    pub addresses: Addresses,
    /// How long it took to be ready.
    pub ready_after: Duration,
}

impl House {
    /// Starts `hookline up --json` on free ports, with `more` arguments, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready within two minutes (engines are fetched on a first start), with the end of its log.
    pub fn up(data: &Path, more: &[&str]) -> anyhow::Result<Self> {
        Self::up_with(data, more, &[])
    }

    /// As [`Self::up`], with variables in its environment, which its engines have too.
    ///
    /// # Errors
    /// As for [`Self::up`].
    pub fn up_with(data: &Path, more: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut arguments = vec!["--kafka-port", "0", "--clickhouse-port", "0"];
        if !more.contains(&"--engines-only") {
            arguments.extend(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
        }
        arguments.extend(more);
        Self::up_as(data, &arguments, variables)
    }

    /// As [`Self::up_with`], at the ports that `arguments` name.
    ///
    /// # Errors
    /// As for [`Self::up`].
    pub fn up_as(data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = data.parent().context("the data folder has a parent")?;
        let data = data.to_str().context("the data folder's name is text")?;
        let arguments = [&["up", "--json", "--data", data], arguments].concat();
        let begun = Instant::now();
        let (mut program, lines) = Program::spawn("up", folder, &arguments, variables)?;
        let deadline = begun + Duration::from_secs(300);
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    let addresses = serde_json::from_str(&line).with_context(|| format!("up printed {line:?}"))?;
                    return Ok(Self { program, addresses, ready_after: begun.elapsed() });
                }
                Err(_) if program.child.try_wait()?.is_some() || Instant::now() > deadline => {
                    bail!("up is not ready after {:?}; its log:\n{}", begun.elapsed(), program.log());
                }
                Err(_) => {}
            }
        }
    }
}
