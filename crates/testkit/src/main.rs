//! `hookline-testkit`: tools for measuring, beside the tests.
//!
//! `hookline-testkit detect --rules FILE.toml [--planned PLANNED.csv] COUNTS.csv > ALERTS.csv` runs the spike evaluator
//! over counts; `hookline-testkit world SEED KEYS WEEKS COUNTS.csv TRUTH.csv` makes up links of known truth;
//! `hookline-testkit score TRUTH.csv ALERTS.csv` compares. docs/detection.md has the formats and figures.
//!
//! `hookline-testkit receiver slack` stands for Slack (or another platform): point a destination at it, and look at its
//! page.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hookline_testkit::detection::{self, Truth};
use hookline_testkit::receiver::{Behaviour, Platform, Receiver};

const USAGE: &str = "usage:
  hookline-testkit detect --rules FILE.toml [--planned PLANNED.csv] COUNTS.csv > ALERTS.csv
  hookline-testkit world SEED KEYS WEEKS COUNTS.csv TRUTH.csv [PLANNED.csv]
  hookline-testkit score TRUTH.csv ALERTS.csv
  hookline-testkit quiet SEED KEYS WEEKS [COUNTS.csv]
  hookline-testkit receiver PLATFORM [--listen HOST:PORT] [--answers ANSWER]";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["detect", rest @ ..] => detect(rest),
        ["world", seed, keys, weeks, counts, truth, planned @ ..] => {
            let world = detection::World::new(seed.parse()?, keys.parse()?, weeks.parse()?);
            write(counts, |to| world.write_counts(to))?;
            write(truth, |to| world.write_truth(to))?;
            planned.iter().try_for_each(|planned| write(planned, |to| world.write_planned(to)))
        }
        ["score", truth, alerts] => {
            let truth = Truth::read(&text(truth)?)?;
            let score = truth.score(&detection::read_alerts(&text(alerts)?)?);
            write!(std::io::stdout(), "{score}").context("the score cannot be written")
        }
        ["quiet", seed, keys, weeks, counts @ ..] => {
            let world = detection::World::quiet(seed.parse()?, keys.parse()?, weeks.parse()?);
            counts.iter().try_for_each(|counts| write(counts, |to| world.write_counts(to)))?;
            let rules = detection::read_rules("[rule.quiet]\nalert = { silence = \"learned\", per = \"source\" }")?;
            for rule in &rules {
                let alerts = world.counts().alerts(rule, &detection::Planned::new());
                write!(std::io::stdout(), "{}", detection::QuietScore::of(&world, &alerts))
                    .context("the score cannot be written")?;
            }
            Ok(())
        }
        ["receiver", platform, rest @ ..] => receive(platform, rest),
        _ => bail!("{}", usage()),
    }
}

fn usage() -> String {
    let platforms = Platform::ALL.map(|(name, _)| name).join(", ");
    let answers = Behaviour::ALL.map(|(name, _)| name).join(", ");
    format!("{USAGE}\nPLATFORM is one of: {platforms}\nANSWER is one of: {answers}")
}

fn receive(platform: &str, words: &[&str]) -> Result<()> {
    let Some(platform) = Platform::parse(platform) else { bail!("unknown platform {platform}\n{}", usage()) };
    let (mut listen, mut behaviour) = ("127.0.0.1:9900", Behaviour::Well);
    for pair in words.chunks(2) {
        match pair {
            ["--listen", address] => listen = address,
            ["--answers", name] => match Behaviour::parse(name) {
                Some(known) => behaviour = known,
                None => bail!("unknown answer {name}\n{}", usage()),
            },
            _ => bail!("{}", usage()),
        }
    }
    let receiver = Receiver::listen(platform, listen, |request, status, faults| {
        let mut out = std::io::stdout().lock();
        // It goes on without a terminal.
        drop(writeln!(out, "{} {} -> {status}", request.method, request.path));
        faults.iter().for_each(|fault| drop(writeln!(out, "  breaks the platform's rules: {fault}")));
        request.body.lines().for_each(|line| drop(writeln!(out, "  {line}")));
    })?;
    receiver.behave(behaviour);
    let address = receiver.address;
    let mut out = std::io::stdout();
    writeln!(out, "Look at http://{address}/. Ctrl-C ends it. A destination that sends here:\n")?;
    writeln!(out, "[destination.try]\nowner = \"...\"\n{}\n", platform.section(address))?;
    loop {
        std::thread::park();
    }
}

fn detect(words: &[&str]) -> Result<()> {
    let (mut rules, mut planned, mut counts) = (None, None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--rules" => rules = words.next().map(PathBuf::from),
            "--planned" => planned = words.next().map(PathBuf::from),
            flag if flag.starts_with("--") => bail!("unknown option {flag}\n{}", usage()),
            file => counts = Some(PathBuf::from(file)),
        }
    }
    let (Some(rules), Some(counts)) = (rules, counts) else { bail!("{}", usage()) };
    let rules = detection::read_rules(&text(&rules)?).with_context(|| format!("in {}", rules.display()))?;
    let planned = planned.map(|file| text(&file)).transpose()?.unwrap_or_default();
    let planned = detection::read_planned(&planned).context("in the planned launches")?;
    let counts = std::fs::read(&counts).with_context(|| format!("{} cannot be read", counts.display()))?;
    let counts = detection::Counts::read(counts)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "key,fired,resolved")?;
    for rule in &rules {
        for alert in counts.alerts(rule, &planned) {
            let resolved = alert.resolved.map_or_else(String::new, |at| at.to_string());
            writeln!(out, "{},{},{resolved}", alert.key, alert.fired)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn write(path: &str, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("{path} cannot be written"))?;
    let mut to = std::io::BufWriter::new(file);
    fill(&mut to).and_then(|()| to.flush()).with_context(|| format!("{path} cannot be written"))
}
