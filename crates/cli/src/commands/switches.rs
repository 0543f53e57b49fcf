//! `hookline pause` and `hookline resume`: switch a source while everything runs, and see what is switched and was.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use config::Config;
use jiff::{Timestamp, ToSpan, civil};
use kafka::control::{Object, State, Switch};
use operate::installation::Needs;
use operate::{Installation, switches};

use super::arguments::{flag, who, words};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "States: a paused source is answered 503 with Retry-After, so that its sender keeps the deliveries for its \
    retries. A source in quarantine is answered 202, and its deliveries become dead letters that can be redriven. A retired \
    source is answered 410. Running services follow within two seconds."
)]
pub(crate) struct PauseArgs {
    /// What to pause: source/NAME
    #[arg(value_name = "source/NAME", required_unless_present_any = ["list", "history"])]
    object: Option<Object>,
    /// Why; shown to everybody who asks, and kept for good
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["list", "history"], value_parser = words)]
    why: Option<String>,
    /// It ends by itself after this time, such as 2h
    #[arg(long = "for", value_name = "TIME", value_parser = config::duration, conflicts_with = "until")]
    lasting: Option<Duration>,
    /// It ends by itself at this time: 2026-11-25T18:00:00Z, or 2026-11-25T18:00 in the configuration's time zone
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Take deliveries, and set them aside as dead letters
    #[arg(long, conflicts_with = "retire")]
    quarantine: bool,
    /// Tell the sender to stop
    #[arg(long)]
    retire: bool,
    /// Say what is switched; exit code 1 if something is paused or in quarantine
    #[arg(long, conflicts_with_all = ["object", "history", "why", "lasting", "until", "quarantine", "retire"])]
    list: bool,
    /// Say everything that was ever switched, oldest first; of one source if it is named
    #[arg(long, conflicts_with_all = ["why", "lasting", "until", "quarantine", "retire"])]
    history: bool,
    #[command(flatten)]
    by: AuditArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// What to take back to normal: source/NAME
    #[arg(value_name = "source/NAME")]
    object: Object,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "resumed", value_parser = words)]
    why: String,
    #[command(flatten)]
    by: AuditArgs,
}

#[derive(Debug, clap::Args)]
struct AuditArgs {
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
    /// The configuration: it names the sources, and where Kafka is
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Where Kafka is [default: that of the `up` that runs on this configuration, or as configured]
    #[arg(long, value_name = "HOST:PORT,...")]
    brokers: Option<String>,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

impl AuditArgs {
    fn who(&self) -> anyhow::Result<String> {
        who(self.who.as_ref())
    }

    /// Kafka is enough to switch.
    fn installation(&self) -> anyhow::Result<Installation> {
        Ok(Installation::find(&self.config, Needs::Kafka, self.brokers.as_deref())?)
    }
}

pub(crate) fn pause(args: &PauseArgs) -> Outcome {
    let (installation, flag) = (args.by.installation()?, flag(&args.by.config));
    let (Some(object), Some(why), false) = (&args.object, &args.why, args.history) else {
        return block_on(async {
            match args.list {
                true => answer(&switches::list(&installation).await?, args.by.json, &flag),
                false => answer(&switches::history(&installation, args.object.as_ref()).await?, args.by.json, &flag),
            }
        });
    };
    let state = match (args.quarantine, args.retire) {
        (true, _) => State::Quarantine,
        (_, true) => State::Retired,
        _ => State::Pause,
    };
    let now = Timestamp::now();
    let until = end(args, now, &installation.config)?;
    let switch = Switch { state, who: args.by.who()?, why: why.clone(), until, at: now };
    block_on(async { answer(&switches::switch(&installation, object.clone(), switch).await?, args.by.json, &flag) })
}

pub(crate) fn resume(args: &ResumeArgs) -> Outcome {
    let (who, why) = (args.by.who()?, args.why.clone());
    let switch = Switch { state: State::Accept, who, why, until: None, at: Timestamp::now() };
    let (installation, flag) = (args.by.installation()?, flag(&args.by.config));
    block_on(async {
        answer(&switches::switch(&installation, args.object.clone(), switch).await?, args.by.json, &flag)
    })
}

/// When the switch ends by itself, if it does.
fn end(args: &PauseArgs, now: Timestamp, config: &Config) -> anyhow::Result<Option<Timestamp>> {
    let until = match (args.lasting, &args.until) {
        (Some(lasting), _) => {
            let seconds = i64::try_from(lasting.as_secs()).context("--for is too long")?;
            now.checked_add(seconds.seconds()).context("--for is too long")?
        }
        (None, Some(text)) => match text.parse::<Timestamp>() {
            Ok(at) => at,
            Err(_) => {
                let civil: civil::DateTime = text.parse().map_err(|_| {
                    anyhow::anyhow!("--until {text:?} is not a time: write 2026-11-25T18:00:00Z or 2026-11-25T18:00")
                })?;
                config.timezone.to_timestamp(civil).with_context(|| format!("--until {text:?}"))?
            }
        },
        (None, None) => return Ok(None),
    };
    // Whole seconds are what everybody sees of it.
    let until = Timestamp::from_second(until.as_second())?;
    if until <= now {
        bail!("the end {until} is not in the future");
    }
    Ok(Some(until))
}
