//! `hookline pause`, `resume`, `silence` and `ack`: switch something while everything runs, and see what is switched
//! and was.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use config::Config;
use jiff::{Timestamp, ToSpan, civil};
use kafka::control::{Kind, Object, State, Switch};
use operate::installation::Needs;
use operate::{Installation, switches};

use super::arguments::{WhoArgs, flag, words};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "States: a paused source is answered 503 with Retry-After, so that its sender keeps the deliveries for its \
    retries. A source in quarantine is answered 202, and its deliveries become dead letters that can be redriven. A retired \
    source is answered 410. A paused rule says nothing new; what it has opened is still ended. What is for a paused destination \
    waits, and goes as one digest. Running services follow within two seconds."
)]
pub(crate) struct PauseArgs {
    /// What to pause: source/NAME, rule/NAME or destination/NAME
    #[arg(value_name = "KIND/NAME", required_unless_present_any = ["list", "history"])]
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
    /// Of a source: take deliveries, and set them aside as dead letters
    #[arg(long, conflicts_with = "retire")]
    quarantine: bool,
    /// Of a source: tell the sender to stop
    #[arg(long)]
    retire: bool,
    /// Say what is switched; exit code 1 if something is paused or in quarantine
    #[arg(long, conflicts_with_all = ["object", "history", "why", "lasting", "until", "quarantine", "retire"])]
    list: bool,
    /// Say everything that was ever switched, oldest first; of one object if it is named
    #[arg(long, conflicts_with_all = ["why", "lasting", "until", "quarantine", "retire"])]
    history: bool,
    #[command(flatten)]
    by: AuditArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// What to take back to normal: source/NAME, rule/NAME, destination/NAME, silence/RULE or message/ID
    #[arg(value_name = "KIND/NAME")]
    object: Object,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "resumed", value_parser = words)]
    why: String,
    #[command(flatten)]
    by: AuditArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A silence holds new messages back, each recorded in ClickHouse with the reason; what was opened before is \
    still ended. `hookline resume silence/RULE` ends it early, `hookline pause --list` shows it. Running services follow \
    within two seconds."
)]
pub(crate) struct SilenceArgs {
    /// The rule
    rule: String,
    /// Only of this link or key, such as go.example.com/bio
    #[arg(long, value_name = "KEY", value_parser = words)]
    about: Option<String>,
    /// Why; shown to everybody who asks, and kept for good
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
    /// It ends by itself after this time, such as 2h
    #[arg(long = "for", value_name = "TIME", value_parser = config::duration, conflicts_with = "until", required_unless_present = "until")]
    lasting: Option<Duration>,
    /// It ends by itself at this time: 2026-11-25T18:00:00Z, or 2026-11-25T18:00 in the configuration's time zone
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    #[command(flatten)]
    by: AuditArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of what an acknowledged message named, nothing follows but the end; what begins at another link or key is told. The id stands at the foot of the message, and in \
    ClickHouse: SELECT bundle_id, rule, destination FROM deliveries. Running services follow within two seconds."
)]
pub(crate) struct AckArgs {
    /// The id of the message
    #[arg(value_name = "ID", value_parser = words)]
    message: String,
    /// What is done about it
    #[arg(long, value_name = "TEXT", default_value = "taken care of", value_parser = words)]
    why: String,
    /// It ends by itself after this time
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = config::duration)]
    lasting: Duration,
    #[command(flatten)]
    by: AuditArgs,
}

#[derive(Debug, clap::Args)]
struct AuditArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// The configuration: it names what can be switched, and where Kafka is
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
        self.who.name()
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
    let until = end(args.lasting, args.until.as_deref(), now, &installation.config)?;
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

pub(crate) fn silence(args: &SilenceArgs) -> Outcome {
    let (installation, flag, now) = (args.by.installation()?, flag(&args.by.config), Timestamp::now());
    let until = end(args.lasting, args.until.as_deref(), now, &installation.config)?;
    let id = match &args.about {
        Some(about) => format!("{}/{about}", args.rule),
        None => args.rule.clone(),
    };
    let object = Object::new(Kind::Silence, id);
    let switch = Switch { state: State::Pause, who: args.by.who()?, why: args.why.clone(), until, at: now };
    block_on(async { answer(&switches::switch(&installation, object, switch).await?, args.by.json, &flag) })
}

pub(crate) fn acknowledge(args: &AckArgs) -> Outcome {
    let (installation, flag, now) = (args.by.installation()?, flag(&args.by.config), Timestamp::now());
    let until = end(Some(args.lasting), None, now, &installation.config)?;
    let object = Object::new(Kind::Message, args.message.clone());
    let switch = Switch { state: State::Pause, who: args.by.who()?, why: args.why.clone(), until, at: now };
    block_on(async { answer(&switches::switch(&installation, object, switch).await?, args.by.json, &flag) })
}

/// When the switch ends by itself, if it does.
fn end(
    lasting: Option<Duration>,
    until: Option<&str>,
    now: Timestamp,
    config: &Config,
) -> anyhow::Result<Option<Timestamp>> {
    let until = match (lasting, until) {
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
