//! The services of one installation as processes of their own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock::Clock;
use crate::house::{Addresses, Program, binary, free_address};

/// The services of one installation as processes of their own, to be killed, stopped and multiplied one by one.
pub struct Fleet {
    folder: PathBuf,
    config: String,
    variables: Vec<(String, String)>,
    /// Services with a clock of their own.
    clocks: HashMap<String, Clock>,
    members: Mutex<Vec<Member>>,
    /// Members that were ever added, for names of their own.
    added: AtomicU32,
}

/// An instance of a service.
struct Member {
    /// What it is called: `process`, `process 1/2`, `process 1/2 #3`.
    name: String,
    /// What it is started with, after its service.
    place: Place,
    program: Option<Program>,
    /// Whether it was sent SIGSTOP.
    asleep: bool,
}

/// Where an instance listens, which lanes are its own, and where its windows rest.
#[derive(Clone)]
struct Place {
    service: String,
    share: String,
    metrics: String,
    listen: String,
    windows: PathBuf,
}

/// The environment of a service beside local engines, their topics laid out as `hookline up` does on its one broker; on three
/// brokers with a replica on each, and two lanes a broker.
#[must_use]
pub fn variables(engines: &Addresses) -> [(&'static str, &str); 5] {
    let (lanes, replication) = if engines.kafka.contains(',') { ("6", "3") } else { ("4", "1") };
    [
        ("HOOKLINE_KAFKA_BROKERS", &engines.kafka),
        ("HOOKLINE_CLICKHOUSE_URL", &engines.clickhouse),
        ("HOOKLINE_CLICKHOUSE_USER", "hookline"),
        ("HOOKLINE_KAFKA_LANES", lanes),
        ("HOOKLINE_KAFKA_REPLICATION", replication),
    ]
}

impl Fleet {
    /// Starts `services` against the engines, with ports of their own: `process` for all lanes, `process 1/2` for a share.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(folder: &Path, config: &Path, engines: &Addresses, services: &[&str]) -> anyhow::Result<Self> {
        Self::with_clocks(folder, config, engines, services, HashMap::new())
    }

    /// As [`Self::start`], with more variables in the environment of its services, which count before the usual ones.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn laid_out(
        folder: &Path,
        config: &Path,
        engines: &Addresses,
        services: &[&str],
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut this = Self::with_clocks(folder, config, engines, &[], HashMap::new())?;
        this.variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        this.start_all(services)?;
        Ok(this)
    }

    /// As [`Self::start`]; the services named in `clocks` go by a clock of their own.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn with_clocks(
        folder: &Path,
        config: &Path,
        engines: &Addresses,
        services: &[&str],
        clocks: HashMap<String, Clock>,
    ) -> anyhow::Result<Self> {
        let variables = variables(engines);
        let this = Self {
            folder: folder.to_owned(),
            config: config.display().to_string(),
            variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            clocks,
            members: Mutex::default(),
            added: AtomicU32::new(0),
        };
        this.start_all(services)?;
        Ok(this)
    }

    fn start_all(&self, services: &[&str]) -> anyhow::Result<()> {
        services.iter().try_for_each(|service| self.start_as(service, service, "windows"))
    }

    /// Starts one more instance, such as `process 1/2`, whether or not somebody has its lanes. With `elsewhere` it keeps
    /// its windows in a folder of its own, as on another machine. Returns what it is called.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn add(&self, what: &str, elsewhere: bool) -> anyhow::Result<String> {
        let number = self.added.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{what} #{number}");
        let windows = if elsewhere { format!("windows-{number}") } else { "windows".to_owned() };
        self.start_as(&name, what, &windows)?;
        Ok(name)
    }

    /// kill -9 of an instance that does not come again.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.kill(name)?;
        self.lock().retain(|member| member.name != name);
        Ok(())
    }

    fn start_as(&self, name: &str, what: &str, windows: &str) -> anyhow::Result<()> {
        let (service, share) = what.split_once(' ').unwrap_or((what, "1/1"));
        let place = Place {
            service: service.to_owned(),
            share: share.to_owned(),
            metrics: free_address()?,
            listen: free_address()?,
            windows: self.folder.join(windows),
        };
        let program = Some(self.program(name, &place)?);
        self.lock().push(Member { name: name.to_owned(), place, program, asleep: false });
        Ok(())
    }

    /// Where webhooks go: the first ingest.
    pub fn ingest(&self) -> String {
        self.ingests().into_iter().next().unwrap_or_default()
    }

    /// Where webhooks go, of each ingest.
    pub fn ingests(&self) -> Vec<String> {
        let members = self.lock();
        let ingests = members.iter().filter(|member| member.place.service == "ingest");
        ingests.map(|member| format!("http://{}", member.place.listen)).collect()
    }

    /// Where an instance serves metrics and health.
    pub fn metrics(&self, name: &str) -> Option<String> {
        self.of(name, |member| format!("http://{}", member.place.metrics)).ok()
    }

    /// The process id of a running instance.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.of(name, |member| member.program.as_ref().map(Program::pid)).ok().flatten()
    }

    /// The instances that run and are not asleep.
    pub fn awake(&self) -> Vec<String> {
        let members = self.lock();
        let awake = members.iter().filter(|member| member.program.is_some() && !member.asleep);
        awake.map(|member| member.name.clone()).collect()
    }

    /// All instances, down ones included.
    pub fn names(&self) -> Vec<String> {
        self.lock().iter().map(|member| member.name.clone()).collect()
    }

    /// kill -9 of an instance; it stays down until [`Self::restart`].
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn kill(&self, name: &str) -> anyhow::Result<()> {
        let program = self.of(name, |member| {
            member.asleep = false;
            member.program.take()
        })?;
        if let Some(mut program) = program {
            program.kill()?;
        }
        Ok(())
    }

    /// Starts a killed instance again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&self, name: &str) -> anyhow::Result<()> {
        let place = self.of(name, |member| member.place.clone())?;
        let program = self.program(name, &place)?;
        self.of(name, |member| member.program = Some(program))
    }

    /// SIGSTOP: the instance stands still, between any two of its instructions.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_clock(&self, name: &str) -> anyhow::Result<()> {
        self.signal(name, "-STOP", true)
    }

    /// SIGCONT: it goes on as if no time had passed.
    ///
    /// # Errors
    /// When it does not run.
    pub fn wake(&self, name: &str) -> anyhow::Result<()> {
        self.signal(name, "-CONT", false)
    }

    fn signal(&self, name: &str, signal: &str, asleep: bool) -> anyhow::Result<()> {
        self.of(name, |member| {
            member.program.as_ref().with_context(|| format!("{name} does not run"))?.signal(signal)?;
            member.asleep = asleep;
            Ok(())
        })?
    }

    /// Deletes the folder in which a killed instance kept its windows: its disk is lost.
    ///
    /// # Errors
    /// When there is no such instance, or the folder cannot be deleted.
    pub fn lose_windows(&self, name: &str) -> anyhow::Result<()> {
        let windows = self.of(name, |member| member.place.windows.clone())?;
        match std::fs::remove_dir_all(&windows) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot delete {}", windows.display()))
            }
            _ => Ok(()),
        }
    }

    /// The instances that have ended by themselves.
    ///
    /// # Errors
    /// When one cannot be asked.
    pub fn ended(&self) -> anyhow::Result<Vec<String>> {
        let mut ended = Vec::new();
        for member in self.lock().iter_mut() {
            if member.program.as_mut().map(Program::ended).transpose()?.flatten().is_some() {
                ended.push(member.name.clone());
            }
        }
        Ok(ended)
    }

    /// SIGTERM to every instance, one after the other.
    ///
    /// # Errors
    /// When one does not end within 20 s or ends with an error.
    pub fn stop(self) -> anyhow::Result<()> {
        for Member { name, program, .. } in self.lock().drain(..) {
            if let Some(mut program) = program {
                let status = program.stop(Duration::from_secs(20))?;
                ensure!(status.success(), "{name} ended with {status}; its log:\n{}", program.log());
            }
        }
        Ok(())
    }

    /// Runs one of the operator's tools about this installation; returns its exit code and what it printed.
    ///
    /// # Errors
    /// When it cannot be run, or was killed.
    pub async fn tool(&self, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
        let mut command = tokio::process::Command::new(binary()?);
        command
            .args(arguments)
            .args(["--config", &self.config])
            .envs(self.variables.iter().cloned())
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await;
        let output = output.with_context(|| format!("hookline {arguments:?} does not end"))??;
        let code = output.status.code().context("it was killed")?;
        Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The end of what each instance has logged, for a report of what went wrong.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for member in self.lock().iter() {
            let log = member.program.as_ref().map(Program::log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(12).collect();
            text.push_str(&format!("--- the end of {}'s log\n", member.name));
            tail.iter().rev().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        text
    }

    fn program(&self, name: &str, place: &Place) -> anyhow::Result<Program> {
        let mut arguments = vec![&*place.service, "--config", &self.config, "--metrics", &place.metrics];
        let ingest = self.ingest();
        match &*place.service {
            // It has no lanes, and sends to the first ingest.
            "canary" => arguments.extend(["--ingest", &ingest]),
            "ingest" => arguments.extend(["--instance", &place.share, "--listen", &place.listen]),
            _ => arguments.extend(["--instance", &place.share]),
        }
        let windows = place.windows.display().to_string();
        let mut variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.push(("HOOKLINE_PROCESS_DATA", &windows));
        let clock = self.clocks.get(&place.service).map(Clock::variables).unwrap_or_default();
        variables.extend(clock.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Program::start(&name.replace('/', "-of-").replace([' ', '#'], "-"), &self.folder, &arguments, &variables)
    }

    fn of<T>(&self, name: &str, change: impl FnOnce(&mut Member) -> T) -> anyhow::Result<T> {
        let mut members = self.lock();
        let member = members.iter_mut().find(|member| member.name == name);
        Ok(change(member.with_context(|| format!("{name} is no instance of this fleet"))?))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
