//! The crash oracle: services killed at random while a platform sends, and what must be true when it is quiet again.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::clickhouse::Asker;
use crate::house::{Addresses, Program};

/// What [`Fleet::harass`] can kill beside services; they run under `hookline up --engines-only` in the folder `data`.
const ENGINES: [&str; 2] = ["kafka", "clickhouse"];

/// The services of one installation as processes of their own, to be killed one by one.
pub struct Fleet {
    folder: PathBuf,
    config: String,
    variables: Vec<(String, String)>,
    ingest: String,
    metrics: Vec<(String, String)>,
    running: Mutex<Vec<(String, Option<Program>)>>,
}

impl Fleet {
    /// Starts `services` (such as `ingest`, `process`) against the engines, with ports of their own.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(folder: &Path, config: &Path, engines: &Addresses, services: &[&str]) -> anyhow::Result<Self> {
        let variables = [
            ("HOOKLINE_KAFKA_BROKERS", engines.kafka.as_str()),
            ("HOOKLINE_CLICKHOUSE_URL", engines.clickhouse.as_str()),
            ("HOOKLINE_CLICKHOUSE_USER", "hookline"),
            // As `hookline up` lays the topics out on its one broker.
            ("HOOKLINE_KAFKA_LANES", "4"),
            ("HOOKLINE_KAFKA_REPLICATION", "1"),
        ];
        let data = folder.join("windows");
        let mut variables: Vec<(String, String)> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        variables.push(("HOOKLINE_PROCESS_DATA".to_owned(), data.display().to_string()));
        let free =
            || -> anyhow::Result<String> { Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string()) };
        let metrics =
            services.iter().map(|service| Ok(((*service).to_owned(), free()?))).collect::<anyhow::Result<_>>()?;
        let this = Self {
            folder: folder.to_owned(),
            config: config.display().to_string(),
            variables,
            ingest: free()?,
            metrics,
            running: Mutex::default(),
        };
        for service in services {
            let program = this.program(service)?;
            this.lock().push(((*service).to_owned(), Some(program)));
        }
        Ok(this)
    }

    /// Where webhooks go.
    pub fn ingest(&self) -> String {
        format!("http://{}", self.ingest)
    }

    /// Where a service serves metrics and health.
    pub fn metrics(&self, service: &str) -> Option<String> {
        self.metrics.iter().find(|(name, _)| name == service).map(|(_, address)| format!("http://{address}"))
    }

    /// The process id of a running service.
    pub fn pid(&self, service: &str) -> Option<u32> {
        self.slot(service, |slot| slot.as_ref().map(Program::pid)).ok().flatten()
    }

    /// kill -9 of a service; it stays down until [`Self::restart`].
    ///
    /// # Errors
    /// When there is no such service.
    pub fn kill(&self, service: &str) -> anyhow::Result<()> {
        let program = self.slot(service, |slot| slot.take())?;
        if let Some(mut program) = program {
            program.kill()?;
        }
        Ok(())
    }

    /// Starts a killed service again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&self, service: &str) -> anyhow::Result<()> {
        let program = self.program(service)?;
        self.slot(service, |slot| *slot = Some(program))
    }

    /// SIGTERM to every service, one after the other.
    ///
    /// # Errors
    /// When one does not end within 15 s or ends with an error.
    pub fn stop(self) -> anyhow::Result<()> {
        for (name, program) in self.lock().drain(..) {
            if let Some(mut program) = program {
                let status = program.stop(Duration::from_secs(15))?;
                ensure!(status.success(), "{name} ended with {status}; its log:\n{}", program.log());
            }
        }
        Ok(())
    }

    /// kill -9 of an engine, which its supervisor starts again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_engine(&self, engine: &str) -> anyhow::Result<()> {
        let noted = std::fs::read_to_string(self.folder.join("data").join(format!("{engine}.pid")))?;
        let pid = noted.split_whitespace().next().context("the engine has a process id")?;
        let told = std::process::Command::new("kill").args(["-KILL", pid]).status()?;
        ensure!(told.success(), "{engine} cannot be killed");
        Ok(())
    }

    /// Kills a random one of `targets` (services, or the engines `kafka` and `clickhouse`) again and again, each time for a
    /// moment, until `stop` is set. Returns how often.
    ///
    /// # Errors
    /// When one cannot be started again.
    pub async fn harass(&self, targets: &[&str], seed: u64, stop: &AtomicBool) -> anyhow::Result<u32> {
        let mut random = StdRng::seed_from_u64(seed);
        let kills = AtomicU32::new(0);
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(random.random_range(500..3_000))).await;
            let target = targets[random.random_range(0..targets.len())];
            kills.fetch_add(1, Ordering::Relaxed);
            if ENGINES.contains(&target) {
                self.kill_engine(target)?;
                // Its supervisor starts it again, and gives up on one that dies five times before it has run a while.
                tokio::time::sleep(Duration::from_secs(8)).await;
                continue;
            }
            self.kill(target)?;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..800))).await;
            self.restart(target)?;
        }
        Ok(kills.into_inner())
    }

    /// The end of what each service has logged, for a report of what went wrong.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for (name, program) in self.lock().iter() {
            let log = program.as_ref().map(Program::log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(12).collect();
            text.push_str(&format!("--- the end of {name}'s log\n"));
            tail.iter().rev().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        text
    }

    fn program(&self, service: &str) -> anyhow::Result<Program> {
        let metrics = self.metrics.iter().find(|(name, _)| name == service).context("a service of this fleet")?;
        let mut arguments = vec![service, "--config", &self.config, "--metrics", &metrics.1];
        if service == "ingest" {
            arguments.extend(["--listen", &self.ingest]);
        }
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Program::start(service, &self.folder, &arguments, &variables)
    }

    fn slot<T>(&self, service: &str, change: impl FnOnce(&mut Option<Program>) -> T) -> anyhow::Result<T> {
        let mut running = self.lock();
        let (_, slot) = running.iter_mut().find(|(name, _)| name == service).context("a service of this fleet")?;
        Ok(change(slot))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Option<Program>)>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The rows of both databases.
pub const ROWS: &str = "(SELECT * FROM hookline.records UNION ALL SELECT * FROM hookline_test.records)";

/// Waits until `events` different events are rows and nothing more arrives.
///
/// # Errors
/// When they are not within `patience`.
pub async fn settle(asker: &Asker, events: u64, patience: Duration) -> anyhow::Result<()> {
    asker.until(&format!("SELECT count() FROM {ROWS} WHERE outcome = 'event'"), events, patience).await?;
    let mut last = 0;
    loop {
        let now = asker.number(&format!("SELECT count() FROM {ROWS}")).await?;
        if now == last {
            return Ok(());
        }
        last = now;
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
}

/// What must hold of a quiet system that took `events` different events: counted once, every offset one row, reports
/// equal to the rows.
///
/// # Errors
/// What does not hold.
pub async fn verify(asker: &Asker, events: u64) -> anyhow::Result<()> {
    let counted = asker.number(&format!("SELECT count() FROM {ROWS} WHERE outcome = 'event'")).await?;
    ensure!(counted == events, "{counted} events are rows, {events} were sent");
    let keys = asker.number(&format!("SELECT uniqExact(event_key) FROM {ROWS} WHERE outcome = 'event'")).await?;
    ensure!(keys == events, "{keys} different keys among {events} events");
    every_offset_is_one_row(asker).await?;
    let strays = asker
        .number(&format!(
            "SELECT count() FROM {ROWS} AS d WHERE outcome = 'duplicate' AND (lane, first_offset, event_key) NOT IN \
             (SELECT lane, raw_offset, event_key FROM {ROWS} WHERE outcome = 'event')"
        ))
        .await?;
    ensure!(strays == 0, "{strays} duplicates name a first delivery that is no event of their key");
    for (view, brute_force) in REPORTS {
        let (view, brute_force) = (asker.rows(view).await?, asker.rows(brute_force).await?);
        ensure!(view == brute_force, "a report differs from the rows:\n{}\n{}", lines(&view), lines(&brute_force));
    }
    Ok(())
}

/// What must hold of a quiet system whatever was sent: each offset of each lane is one row, and the ledger says so.
///
/// # Errors
/// The lane with a hole or a repeat.
pub async fn every_offset_is_one_row(asker: &Asker) -> anyhow::Result<()> {
    let lanes = asker
        .rows(&format!(
            "SELECT lane, toUInt64(count()) AS rows, toUInt64(uniqExact(raw_offset)) AS offsets, toUInt64(max(raw_offset)) AS last \
             FROM {ROWS} GROUP BY lane ORDER BY lane"
        ))
        .await?;
    for lane in &lanes {
        let number = |name: &str| lane[name].as_u64();
        let whole = number("last").map(|last| last + 1);
        ensure!(number("rows") == whole && number("offsets") == whole, "a lane with a hole or a repeat: {lane}");
    }
    let unbalanced = asker.rows("SELECT * FROM hookline.ledger WHERE missing != 0 OR repeated != 0").await?;
    ensure!(unbalanced.is_empty(), "the ledger does not balance: {unbalanced:?}");
    Ok(())
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Every report view, and the same figures counted from the rows by a query that shares nothing with it.
const REPORTS: [(&str, &str); 6] = [
    (
        "SELECT day, campaign, channel, toUInt64(sum(clicks)) AS n, toUInt64(sum(bot_clicks)) AS bots \
         FROM hookline.campaign_channel_daily GROUP BY day, campaign, channel HAVING n + bots > 0 ORDER BY day, campaign, channel",
        "SELECT toDate(event_time) AS day, campaign, channel, toUInt64(countIf(counted = 'human')) AS n, \
         toUInt64(countIf(counted = 'bot')) AS bots FROM hookline.records \
         WHERE outcome = 'event' AND type IN ('click', 'qr_scan') \
         GROUP BY day, campaign, channel HAVING n + bots > 0 ORDER BY day, campaign, channel",
    ),
    (
        "SELECT toString(hour) AS at, link_id, toUInt64(sum(clicks)) AS n FROM hookline.link_hourly \
         GROUP BY at, link_id HAVING n > 0 ORDER BY at, link_id",
        "SELECT toString(toStartOfHour(event_time)) AS at, link_id, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND counted = 'human' AND type IN ('click', 'qr_scan') GROUP BY at, link_id ORDER BY at, link_id",
    ),
    (
        "SELECT day, programme, placement, toUInt64(sum(raw_scans)) AS n FROM hookline.qr_placement_daily \
         GROUP BY day, programme, placement ORDER BY day, programme, placement",
        "SELECT toDate(event_time) AS day, programme, placement, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND type = 'qr_scan' GROUP BY day, programme, placement ORDER BY day, programme, placement",
    ),
    (
        "SELECT day, partner, landing_path, toUInt64(sum(raw_clicks)) AS n FROM hookline.affiliate_landing_daily \
         GROUP BY day, partner, landing_path HAVING n > 0 ORDER BY day, partner, landing_path",
        "SELECT toDate(event_time) AS day, partner, destination_path AS landing_path, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND partner != '' \
         GROUP BY day, partner, landing_path ORDER BY day, partner, landing_path",
    ),
    (
        "SELECT day, value, toUInt64(sum(clicks)) AS n FROM hookline.daily_visitors WHERE dimension = 'link' \
         GROUP BY day, value ORDER BY day, value",
        "SELECT toDate(event_time) AS day, link_id AS value, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND counted = 'human' AND type IN ('click', 'qr_scan') GROUP BY day, value ORDER BY day, value",
    ),
    (
        "SELECT day, domain, slug, toUInt64(sum(raw_clicks)) AS n FROM hookline.bio_launch_daily \
         GROUP BY day, domain, slug ORDER BY day, domain, slug",
        "SELECT toDate(event_time) AS day, domain, slug, toUInt64(count()) AS n FROM hookline.records \
         WHERE outcome = 'event' AND type IN ('click', 'qr_scan') AND (launch != '' OR link_kind = 'bio') \
         GROUP BY day, domain, slug ORDER BY day, domain, slug",
    ),
];
