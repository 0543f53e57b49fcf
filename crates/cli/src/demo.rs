//! `hookline up --demo`: a living stream of signed events to the own ingest, and a calm picture of what arrives.

mod facts;
mod picture;

use std::collections::VecDeque;
use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapter::Adapter;
use anyhow::Context;
use config::{Config, Source};
use runtime::{Shutdown, Telemetry};
use tokio::sync::OnceCell;
use tokio::time::{interval, sleep};
use traffic::load::{self, Pace, Tally, locked};
use traffic::{Delivery, Sender, Traffic, canonical, dub, platform};
use warehouse::Warehouse;

use facts::Facts;
use picture::{Display, Picture};

/// Events a second, when no number is given.
pub(crate) const DEFAULT_RATE: &str = "50";
/// Of these, a fifth are in the canonical format, though never more than this: it is they that alert.
const MOST_CANONICAL: f64 = 10.0;
/// Of a hundred deliveries, how many are repeats.
const REPEATS: f64 = 3.0;
/// Requests that may wait for their answer at once, per source.
const PARALLEL: usize = 64;
/// Between two looks for a row that is awaited: freshness is measured to this.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A row that has not come by then counts as this old.
const GIVE_UP_ROW: Duration = Duration::from_secs(60);
/// Freshness is that of so many rows of late.
const FRESH_OF_LATE: usize = 300;
/// Where the log goes while the picture has the terminal.
const LOG: &str = "hookline.log";

/// Whether the picture takes the terminal that logs would go to.
fn takes_terminal(json: bool) -> bool {
    !json && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// Starts logging: on standard error, or in the data folder if the picture takes the terminal.
pub(crate) fn init_logs(demo: bool, json: bool, data: &Path) -> anyhow::Result<()> {
    let started = if demo && takes_terminal(json) {
        let path = data.join(LOG);
        std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
        let file = File::options().create(true).append(true).open(&path);
        runtime::logs::init_to(file.with_context(|| format!("cannot write {}", path.display()))?)
    } else {
        runtime::logs::init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// What the demo sends as: known before anything starts.
pub(crate) struct Demo {
    dub: Source,
    canonical: Source,
    per_second: f64,
}

/// What is there once everything is ready.
pub(crate) struct Stage<'s> {
    /// Where webhooks go.
    pub(crate) ingest: &'s str,
    /// ClickHouse as this run has it.
    pub(crate) warehouse: &'s warehouse::Settings,
    /// The data folder.
    pub(crate) data: &'s Path,
    /// Who is ready.
    pub(crate) telemetry: &'s Telemetry,
    /// Whether standard output is for one JSON line only.
    pub(crate) json: bool,
}

impl Demo {
    /// Finds the sources to send as.
    ///
    /// # Errors
    /// Which source is missing.
    pub(crate) fn of(config: &Config, path: &Path, per_second: f64) -> anyhow::Result<Self> {
        let find = |adapter: Adapter| {
            let found = config.sources.iter().find(|source| source.adapter == adapter && !source.test).cloned();
            found.with_context(|| {
                format!(
                    "--demo sends as a source with adapter = \"dub\" and as one with adapter = \"canonical\"; {} has no {} \
                     source: add it, or leave --config out",
                    path.display(),
                    adapter.name()
                )
            })
        };
        Ok(Self { dub: find(Adapter::Dub)?, canonical: find(Adapter::Canonical)?, per_second })
    }

    /// What sends and shows once it is polled, until the stop is given.
    ///
    /// # Errors
    /// When a source's secret cannot sign.
    pub(crate) fn start(
        self,
        stage: &Stage<'_>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let display = match (stage.json, std::io::stdout().is_terminal()) {
            (true, _) => Display::Nothing,
            (false, true) => Display::Screen,
            (false, false) => Display::Lines,
        };
        let settings = stage.warehouse;
        let stream = Stream {
            dub: Sender::of_source(stage.ingest, &self.dub)?,
            canonical: Sender::of_source(stage.ingest, &self.canonical)?,
            per_second: self.per_second,
            seed: rand::random(),
            settings: settings.clone(),
            warehouse: OnceCell::new(),
            telemetry: stage.telemetry.clone(),
            now: Now::default(),
        };
        let log = takes_terminal(stage.json).then(|| stage.data.join(LOG));
        let picture = Picture::new(display, &settings.url, stage.data.to_owned(), log, self.per_second);
        Ok(stream.run(picture, shutdown.clone()))
    }
}

/// What is known at this moment.
#[derive(Default)]
struct Now {
    dub: Arc<Mutex<Tally>>,
    canonical: Arc<Mutex<Tally>>,
    /// From 202 to row, of late.
    fresh: Mutex<VecDeque<Duration>>,
    facts: Mutex<Facts>,
    /// Why something does not work, if so.
    trouble: Mutex<Option<String>>,
}

struct Stream {
    dub: Sender,
    canonical: Sender,
    per_second: f64,
    seed: u64,
    settings: warehouse::Settings,
    warehouse: OnceCell<Warehouse>,
    telemetry: Telemetry,
    now: Now,
}

impl Stream {
    async fn run(self, mut picture: Picture, shutdown: Shutdown) {
        tracing::info!(
            per_second = self.per_second,
            "the demo sends made-up events into the production tables of this data folder"
        );
        let canonical = (self.per_second / 5.0).min(MOST_CANONICAL);
        tokio::select! {
            () = shutdown.given() => {}
            () = self.keep_sending(&self.dub, Adapter::Dub, self.per_second - canonical, &self.now.dub) => {}
            () = self.keep_sending(&self.canonical, Adapter::Canonical, canonical, &self.now.canonical) => {}
            () = self.tell() => {}
            () = self.measure_freshness() => {}
            () = self.ask() => {}
            () = self.draw(&mut picture) => {}
        }
        picture.end(&self.now);
    }

    /// Traffic of one source, for ever.
    async fn keep_sending(&self, sender: &Sender, adapter: Adapter, per_second: f64, tally: &Arc<Mutex<Tally>>) {
        let Some(platform) = platform::for_adapter(adapter, self.seed) else { return };
        let mut traffic = Traffic::new(platform, REPEATS, self.seed);
        let pace = Pace { per_second: Some(per_second), parallel: PARALLEL };
        loop {
            if let Err(error) = load::run(sender, &mut traffic, pace, tally).await {
                self.trouble(&error).await;
            }
        }
    }

    /// What traffic has now and then, and a first look should not have to wait for: a broken link, an opened proposal;
    /// and a delivery that is authentic and no event.
    async fn tell(&self) {
        let (mut canonical, mut dub) = (canonical::Generator::new(!self.seed), dub::Generator::new(!self.seed));
        let mut seconds = interval(Duration::from_secs(1));
        for second in 0_u64.. {
            seconds.tick().await;
            let sent = match second {
                2 => self.one(&self.canonical, canonical.proposal_opened(), &self.now.canonical).await,
                3..=6 => self.one(&self.canonical, canonical.error(), &self.now.canonical).await,
                _ if second % 120 == 10 => self.one(&self.dub, dub.partner_enrolled(), &self.now.dub).await,
                _ => Ok(()),
            };
            if let Err(error) = sent {
                self.trouble(&error).await;
            }
        }
    }

    async fn one(&self, sender: &Sender, body: Vec<u8>, tally: &Mutex<Tally>) -> anyhow::Result<()> {
        load::one(sender, &Delivery { body, again: false }, tally).await
    }

    /// A visit a second is followed from its 202 to its row.
    async fn measure_freshness(&self) {
        let mut visits = canonical::Generator::new(self.seed ^ 1);
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let body = visits.visit();
            let key = canonical::Generator::id(&body);
            if let Err(error) = self.one(&self.canonical, body, &self.now.canonical).await {
                self.trouble(&error).await;
                continue;
            }
            match self.row_of(&key).await {
                Ok(after) => {
                    let mut fresh = locked(&self.now.fresh);
                    if fresh.len() == FRESH_OF_LATE {
                        fresh.pop_front();
                    }
                    fresh.push_back(after);
                }
                Err(error) => self.trouble(&error).await,
            }
        }
    }

    /// ClickHouse, connected to when it is first asked.
    async fn warehouse(&self) -> anyhow::Result<&Warehouse> {
        Ok(self.warehouse.get_or_try_init(|| Warehouse::connect(&self.settings)).await?)
    }

    /// How long after its 202 an event is a row.
    async fn row_of(&self, key: &str) -> anyhow::Result<Duration> {
        let accepted = Instant::now();
        let sql = format!(
            "SELECT count() FROM hookline.records WHERE event_key = '{key}' AND received_at >= now64() - INTERVAL 2 MINUTE"
        );
        while accepted.elapsed() < GIVE_UP_ROW {
            sleep(LOOK_EVERY).await;
            if facts::only_number(self.warehouse().await?, &sql).await? > 0 {
                return Ok(accepted.elapsed());
            }
        }
        Ok(GIVE_UP_ROW)
    }

    /// Asks ClickHouse once a second.
    async fn ask(&self) {
        let (begun, mut seconds) = (jiff::Timestamp::now(), interval(Duration::from_secs(1)));
        loop {
            seconds.tick().await;
            let facts = async { Facts::ask(self.warehouse().await?, begun).await };
            match facts.await {
                Ok(facts) => *locked(&self.now.facts) = facts,
                Err(error) => self.trouble(&error.context("ClickHouse does not answer")).await,
            }
        }
    }

    async fn draw(&self, picture: &mut Picture) {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let unready = self.telemetry.health.states().into_iter();
            let unready = unready.filter(|(_, state)| *state != runtime::health::State::Ready);
            picture.draw(&self.now, unready.map(|(name, state)| format!("{name}: {state:?}")).next());
        }
    }

    /// Shows what does not work for a while; the stream goes on.
    async fn trouble(&self, error: &anyhow::Error) {
        tracing::warn!("demo: {error:#}");
        *locked(&self.now.trouble) = Some(format!("{error:#}"));
        sleep(Duration::from_secs(5)).await;
        *locked(&self.now.trouble) = None;
    }
}
