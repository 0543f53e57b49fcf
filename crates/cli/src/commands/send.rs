//! `hookline send`: signed deliveries to a source, from a file or made up, as its platform would send them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use config::{Config, Environment, Source, did_you_mean};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::json;
use traffic::Sender;
use traffic::load::{self, Pace, Tally, locked};
use traffic::{Delivery, Traffic, platform};

use crate::exit::{Outcome, Verdict};
use operate::Endpoints;

/// Between two lines that say how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration: it names the sources, and where their secrets are
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Where ingest is [default: where the configuration lets it listen]
    #[arg(long, value_name = "URL")]
    ingest: Option<Url>,
    /// Which source to send as; may be left out when there is one
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Send this file as one body; - reads standard input
    #[arg(long, value_name = "PATH", conflicts_with = "count")]
    file: Option<PathBuf>,
    /// Send each line of the file as one body
    #[arg(long, requires = "file")]
    each_line: bool,
    /// What the file is [default: by its name, application/json or application/x-ndjson]
    #[arg(long, value_name = "TYPE", requires = "file")]
    content_type: Option<String>,
    /// Send this many events, made up as the source's platform would make them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// So many a second [default: as fast as they are acknowledged]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How many requests may wait for their answer at once
    #[arg(long, value_name = "P", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    parallel: u16,
    /// Of a hundred deliveries, how many repeat an event that was sent before
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent, conflicts_with = "file")]
    duplicates: f64,
    /// The same seed makes the same events but for their times: a second run repeats what is known by an id
    #[arg(long, value_name = "N", conflicts_with = "file")]
    seed: Option<u64>,
    /// Print an event in the canonical format and send nothing
    #[arg(long, conflicts_with_all = ["file", "count", "json"])]
    example: bool,
    /// Verify and adapt only: nothing is stored
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

/// A rate above 0.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1_000_000.0 => Ok(rate),
        _ => Err("write a number of events a second above 0, such as 50".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent),
        _ => Err("write a number from 0 to under 100, such as 5".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    if args.example {
        print_example();
        return Ok(Verdict::Fine);
    }
    let config = Config::load(&args.config, &Environment::of_process())?;
    let source = choose(&config, &args.config, args.source.as_deref())?;
    let ingest = match &args.ingest {
        Some(url) => url.as_str().to_owned(),
        None => match Endpoints::beside(&args.config).and_then(|running| running.ingest) {
            Some(url) => url,
            None => listening_at(&config.ingest.listen)?,
        },
    };
    let sender = Sender::of_source(&ingest, source)?;
    let sender = if args.dry_run { sender.dry_run() } else { sender };
    let (sender, deliveries) = deliveries(args, source, sender)?;
    let job = Job { args, config: &config, source, sender, begun: Timestamp::now(), clock: Instant::now() };
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(job.send(deliveries))
}

#[allow(clippy::print_stderr, reason = "the answer of a command, and what to do with it")]
fn print_example() {
    let (now, id) = (Timestamp::now(), uuid::Uuid::new_v4().simple().to_string());
    println!("{}", adapter::example(now, &id[..12]).trim_end());
    eprintln!("Put it into event.json, then: hookline send --source NAME --file event.json");
}

/// The source that was named, or the only one.
pub(crate) fn choose<'c>(config: &'c Config, path: &Path, named: Option<&str>) -> anyhow::Result<&'c Source> {
    let names = || config.sources.iter().map(|source| source.name.as_str());
    match (named, config.sources.as_slice()) {
        (Some(name), _) => config
            .source(name)
            .with_context(|| format!("{} has no source {name:?}; {}", path.display(), did_you_mean(name, names()))),
        (None, [only]) => Ok(only),
        (None, _) => {
            let names: Vec<_> = names().collect();
            bail!("{} has several sources: name one with --source ({})", path.display(), names.join(", "))
        }
    }
}

/// The address of a listener, for a client on this machine.
pub(crate) fn listening_at(listen: &str) -> anyhow::Result<String> {
    let (host, port) = listen.rsplit_once(':').with_context(|| format!("[ingest] listen = {listen:?} has no port"))?;
    match (host, port) {
        (_, "0") => bail!("ingest listens on a port that was free: give its address with --ingest URL"),
        ("0.0.0.0", port) => Ok(format!("http://127.0.0.1:{port}")),
        ("[::]", port) => Ok(format!("http://[::1]:{port}")),
        _ => Ok(format!("http://{listen}")),
    }
}

type Deliveries = Box<dyn Iterator<Item = Delivery>>;

/// What is sent, and a sender that says what it is.
fn deliveries(args: &Args, source: &Source, sender: Sender) -> anyhow::Result<(Sender, Deliveries)> {
    let Some(path) = &args.file else {
        let count = args.count.context("say what to send: --count N, --file PATH, or --example to see an event")?;
        let count = usize::try_from(count).context("--count")?;
        let seed = args.seed.unwrap_or_else(rand::random);
        let platform = platform::for_adapter(source.adapter, seed)
            .with_context(|| format!("source {:?} is read by its own map: send a payload with --file", source.name))?;
        let sender = sender.content_type(platform.content_type());
        return Ok((sender, Box::new(Traffic::new(platform, args.duplicates, seed).take(count))));
    };
    let body = read(path)?;
    let lines = |name: &str| name.ends_with(".ndjson") || name.ends_with(".jsonl");
    let by_name = match lines(&path.to_string_lossy()) && !args.each_line {
        true => "application/x-ndjson",
        false => "application/json",
    };
    let sender = sender.content_type(args.content_type.as_deref().unwrap_or(by_name));
    let new = |body: &[u8]| Delivery { body: body.to_vec(), again: false };
    let deliveries: Vec<Delivery> = match args.each_line {
        true => {
            body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).map(new).collect()
        }
        false => vec![new(&body)],
    };
    if deliveries.is_empty() {
        bail!("{} has no line to send", path.display());
    }
    Ok((sender, Box::new(deliveries.into_iter())))
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().lock().read_to_end(&mut body).context("standard input cannot be read")?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// One run of the command.
struct Job<'j> {
    args: &'j Args,
    config: &'j Config,
    source: &'j Source,
    sender: Sender,
    begun: Timestamp,
    clock: Instant,
}

impl Job<'_> {
    async fn send(self, deliveries: Deliveries) -> Outcome {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let pace = Pace { per_second: self.args.rate, parallel: usize::from(self.args.parallel) };
        let ended = tokio::select! {
            ended = load::run(&self.sender, deliveries, pace, &tally) => ended,
            () = self.say_how_far(&tally) => Ok(()),
            told = tokio::signal::ctrl_c() => told.context("cannot listen for Ctrl-C"),
        };
        let tally = locked(&tally).clone();
        if !tally.answers.is_empty() || self.args.json {
            self.say(&tally);
        }
        if let Err(error) = ended {
            bail!("{error:#} ({})", self.remedy(&tally));
        }
        match &tally.complaint {
            Some(complaint) if tally.accepted == 0 && tally.quarantined == 0 => {
                bail!("{} refused everything: {complaint}", self.sender.url())
            }
            Some(_) => Ok(Verdict::NeedsAttention),
            None => Ok(Verdict::Fine),
        }
    }

    /// A line now and then, for runs that take long.
    #[allow(clippy::print_stderr, reason = "progress of a command")]
    async fn say_how_far(&self, tally: &Mutex<Tally>) {
        loop {
            tokio::time::sleep(SAY_EVERY).await;
            let taken = { locked(tally).acks.count() };
            eprintln!("{taken} acknowledged after {:.0} s", self.clock.elapsed().as_secs_f64());
        }
    }

    /// What may help when the run could not go on.
    fn remedy(&self, tally: &Tally) -> String {
        let config = self.args.config.display();
        match tally.answers.keys().last() {
            None => "`hookline up` starts everything, --ingest URL names another address".to_owned(),
            Some(401) => format!("does the ingest that runs there read {config}, and the same secrets?"),
            Some(404) => format!("does the ingest that runs there read {config}?"),
            Some(415) => "--content-type says what the file is".to_owned(),
            Some(_) => "what was taken is safe, and sending it again is harmless".to_owned(),
        }
    }

    fn say(&self, tally: &Tally) {
        if self.args.json { self.print_json(tally) } else { self.print(tally) }
    }

    /// The statement that shows the rows of this run.
    fn query(&self, tally: &Tally) -> String {
        let receipt = tally.last.as_ref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let which = match receipt.as_ref().and_then(|receipt| receipt["receipt"].as_str()) {
            Some(receipt) if tally.sent == 1 => format!("request_id = '{receipt}'"),
            _ => {
                format!("source = '{}' AND received_at >= '{:.3}'", self.source.name, self.begun.strftime("%F %T%.3f"))
            }
        };
        format!(
            "SELECT database, outcome, type, counted, count() AS records FROM hookline.where_is WHERE {which} \
             GROUP BY ALL ORDER BY ALL"
        )
    }

    fn print_json(&self, tally: &Tally) {
        let seconds = self.clock.elapsed().as_secs_f64();
        let millis = |share: f64| tally.acks.quantile(share).map(|time| time.as_secs_f64() * 1_000.0);
        println!(
            "{}",
            json!({
                "ok": tally.complaint.is_none() && tally.acks.count() > 0, "url": self.sender.url(), "source": self.source.name,
                "dry_run": self.args.dry_run, "sent": tally.sent, "again": tally.again, "accepted": tally.accepted,
                "quarantined": tally.quarantined, "refused": tally.refused, "events": tally.events,
                "repeated_attempts": tally.repeated(), "answers": tally.answers, "unanswered": tally.unanswered,
                "seconds": seconds, "per_second": tally.acks.count() as f64 / seconds,
                "ack_ms": { "p50": millis(0.5), "p99": millis(0.99), "max": millis(1.0) },
                "complaint": tally.complaint, "query": self.query(tally),
            })
        );
    }

    fn print(&self, tally: &Tally) {
        let (seconds, taken) = (self.clock.elapsed().as_secs_f64(), tally.acks.count());
        let what = if self.args.dry_run { "Checked by" } else { "Sent to" };
        println!("{what} {}: {} in {seconds:.1} s", self.sender.url(), counted(tally.sent, "request"));
        for (status, attempts) in &tally.answers {
            let (means, remark) = meaning(*status);
            println!("{}", format!("  {status} {means:<16} {attempts:>9}  {remark}").trim_end());
        }
        let rows = [
            ("no answer", tally.unanswered, "sent again".to_owned()),
            ("repeats", tally.again, "the same event as before, on purpose".to_owned()),
            ("quarantined", tally.quarantined, tally.complaint.clone().unwrap_or_default()),
            ("a second", (taken as f64 / seconds).round() as u64, String::new()),
        ];
        for (name, number, remark) in rows.into_iter().filter(|(_, number, _)| *number > 0 && taken > 1) {
            println!("{}", format!("  {name:<20} {number:>9}  {remark}").trim_end());
        }
        if let (Some(median), Some(high)) = (tally.acks.quantile(0.5), tally.acks.quantile(0.99)) {
            let [median, high, longest] = [median, high, tally.acks.longest()].map(|time| time.as_millis());
            println!("  {:<20} {median:>9}  ms at the median, p99 {high}, longest {longest}", "acknowledged in");
        }
        if let (1, Some(answer)) = (taken, &tally.last) {
            println!("{answer}");
        }
        if taken > 0 && !self.args.dry_run {
            self.print_next(tally);
        }
    }

    fn print_next(&self, tally: &Tally) {
        let configured = self.config.clickhouse.url.clone();
        let clickhouse = configured
            .or_else(|| Endpoints::beside(&self.args.config).map(|running| running.clickhouse))
            .unwrap_or_else(|| "http://127.0.0.1:8123".to_owned());
        println!("Next: see the rows, in a second or two:");
        println!("  curl -s '{clickhouse}/?default_format=PrettyCompact' --data-binary \"{}\"", self.query(tally));
    }
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What an answer says, and what is done about it.
fn meaning(status: u16) -> (&'static str, &'static str) {
    match status {
        200..=299 => ("accepted", ""),
        401 => ("not authentic", ""),
        404 => ("no such source", ""),
        410 => ("retired", ""),
        413 => ("too large", "the source's max_body says how large bodies may be"),
        415 => ("wrong type", ""),
        429 => ("wait", "sent again"),
        500..=599 => ("not now", "sent again"),
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingest_is_asked_where_this_machine_reaches_it() {
        let at = |listen| listening_at(listen).unwrap();
        assert_eq!(at("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(at("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(at("[::]:80"), "http://[::1]:80");
        assert!(listening_at("127.0.0.1:0").unwrap_err().to_string().contains("--ingest"));
    }

    #[test]
    fn rates_and_percentages_are_bounded() {
        assert_eq!((rate("0.5"), percent("5")), (Ok(0.5), Ok(5.0)));
        for wrong in ["0", "-1", "NaN", "inf", "many", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["100", "-1", "NaN", "all"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
