//! `hookline pause` and `hookline resume`: switch a source while everything runs, and see what is switched and was.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use config::{Config, Environment, did_you_mean};
use jiff::{Timestamp, ToSpan, civil};
use kafka::Cluster;
use kafka::control::{self, Change, Kind, Log, Object, State, Switch};
use serde_json::{Value, json};

use crate::exit::{Outcome, Verdict};
use crate::running;

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
    by: By,
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
    by: By,
}

#[derive(Debug, clap::Args)]
struct By {
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

/// The longest text that is kept, in characters.
const LONGEST: usize = 500;

/// A text that stands on one line of a log or a terminal.
pub(crate) fn words(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say it in a few words".to_owned());
    }
    if text.chars().any(char::is_control) || text.chars().count() > LONGEST {
        return Err(format!("write one line of at most {LONGEST} characters"));
    }
    Ok(text.to_owned())
}

pub(crate) fn pause(args: &PauseArgs) -> Outcome {
    let desk = Desk::open(&args.by)?;
    let (Some(object), Some(why), false) = (&args.object, &args.why, args.history) else {
        return if args.list { desk.list() } else { desk.history(args.object.as_ref()) };
    };
    let state = match (args.quarantine, args.retire) {
        (true, _) => State::Quarantine,
        (_, true) => State::Retired,
        _ => State::Pause,
    };
    let now = Timestamp::now();
    let until = end(args, now, &desk.config)?;
    desk.switch(object, Switch { state, who: args.by.who()?, why: why.clone(), until, at: now })
}

pub(crate) fn resume(args: &ResumeArgs) -> Outcome {
    let (who, why) = (args.by.who()?, args.why.clone());
    let switch = Switch { state: State::Accept, who, why, until: None, at: Timestamp::now() };
    Desk::open(&args.by)?.switch(&args.object, switch)
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

impl By {
    fn who(&self) -> anyhow::Result<String> {
        who(self.who.as_ref())
    }
}

/// Who decides something: as given, or the user that runs this.
pub(crate) fn who(given: Option<&String>) -> anyhow::Result<String> {
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| words(&std::env::var(name).ok()?).ok());
    given.cloned().or_else(user).context("say who you are with --who NAME: it is kept beside the reason")
}

/// Where switching is done: a configuration and the cluster that belongs to it.
struct Desk<'a> {
    by: &'a By,
    config: Config,
    cluster: Cluster,
}

impl<'a> Desk<'a> {
    fn open(by: &'a By) -> anyhow::Result<Self> {
        let config = Config::load(&by.config, &Environment::of_process().with_platform_secrets_only())?;
        let cluster = running::cluster(by.brokers.as_deref(), &by.config, &config)?;
        Ok(Self { by, config, cluster })
    }

    fn switch(&self, object: &Object, switch: Switch) -> Outcome {
        let Some(source) = self.config.source(&object.id) else {
            let hint = did_you_mean(&object.id, self.config.sources.iter().map(|source| source.name.as_str()));
            bail!("{} has no source {:?}; {hint}", self.by.config.display(), object.id);
        };
        let change = control::set(&self.cluster, object, &switch).with_context(|| self.whereabouts())?;
        let warning = warning(source, &switch);
        self.say_change(&change, warning.as_deref());
        Ok(if warning.is_some() { Verdict::NeedsAttention } else { Verdict::Fine })
    }

    fn say_change(&self, change: &Change, warning: Option<&str>) {
        if self.by.json {
            let mut line = as_json(change);
            line["ok"] = json!(true);
            line["warning"] = json!(warning);
            println!("{line}");
            return;
        }
        let Change { object, was, switch } = change;
        let was = if *was == switch.state { format!("as before: {was}") } else { format!("before: {was}") };
        println!("{object} {} ({was}).", in_words(switch));
        println!("{}", consequence(switch.state));
        if let Some(warning) = warning {
            println!("warning: {warning}");
        }
        let config = self.by.config.display();
        match switch.state {
            State::Accept => println!("Next: hookline pause --list --config {config}"),
            _ => println!("Next: hookline resume {object} --config {config}"),
        }
    }

    /// Reads everything; records that cannot be read are said and not passed over.
    fn log(&self) -> anyhow::Result<Log> {
        control::read_log(&self.cluster, Kind::Source).with_context(|| self.whereabouts())
    }

    fn whereabouts(&self) -> String {
        format!("Kafka at {}", self.cluster.brokers)
    }

    fn list(&self) -> Outcome {
        let (log, now) = (self.log()?, Timestamp::now());
        let unreadable: Vec<String> = log.switches.unreadable().map(ToString::to_string).collect();
        let switched: Vec<(Object, &Switch)> = log
            .switches
            .iter()
            .filter(|(_, switch)| switch.state_at(now) != State::Accept)
            .map(|(id, switch)| (Object::source(id), switch))
            .collect();
        let for_a_while = |switch: &Switch| matches!(switch.state, State::Pause | State::Quarantine);
        let wants_somebody = !unreadable.is_empty() || switched.iter().any(|(_, switch)| for_a_while(switch));
        if self.by.json {
            let list: Vec<Value> = switched.iter().map(|(object, switch)| self.listed(object, switch)).collect();
            println!("{}", json!({ "ok": unreadable.is_empty(), "switched": list, "unreadable": unreadable }));
        } else {
            if switched.is_empty() {
                println!("Nothing is switched: every source is accepted.");
            }
            for (object, switch) in &switched {
                let gone = if self.config.source(&object.id).is_none() { "; not in this configuration" } else { "" };
                println!("{object} {}, since {}{gone}", in_words(switch), switch.at.strftime("%F %T UTC"));
            }
            for why in &unreadable {
                println!("{why}");
            }
            if let Some((object, _)) = switched.first() {
                println!("Next: hookline resume {object} --config {}", self.by.config.display());
            }
        }
        Ok(if wants_somebody { Verdict::NeedsAttention } else { Verdict::Fine })
    }

    fn listed(&self, object: &Object, switch: &Switch) -> Value {
        let mut line = switch_json(object, switch);
        line["configured"] = json!(self.config.source(&object.id).is_some());
        line
    }

    fn history(&self, of: Option<&Object>) -> Outcome {
        let log = self.log()?;
        let (mut changes, mut unreadable) = (Vec::new(), Vec::new());
        for change in log.changes {
            match change {
                Ok(change) if of.is_none_or(|object| *object == change.object) => changes.push(change),
                Ok(_) => {}
                Err(why) => unreadable.push(why.to_string()),
            }
        }
        if self.by.json {
            let list: Vec<Value> = changes.iter().map(as_json).collect();
            println!("{}", json!({ "ok": unreadable.is_empty(), "changes": list, "unreadable": unreadable }));
        } else {
            if changes.is_empty() {
                println!("Nothing was ever switched.");
            }
            for Change { object, was, switch } in &changes {
                println!("{}  {object} {} (before: {was})", switch.at.strftime("%F %T UTC"), in_words(switch));
            }
            for why in &unreadable {
                println!("{why}");
            }
        }
        Ok(if unreadable.is_empty() { Verdict::Fine } else { Verdict::NeedsAttention })
    }
}

/// `is paused until 2026-11-25 18:00:00 UTC by ana: plan change`.
fn in_words(Switch { state, who, why, until, .. }: &Switch) -> String {
    let state = match state {
        State::Accept => "is accepted",
        State::Quarantine => "is in quarantine",
        State::Pause => "is paused",
        State::Retired => "is retired",
    };
    let until = until.map(|until| format!(" until {}", until.strftime("%F %T UTC"))).unwrap_or_default();
    format!("{state}{until} by {who}: {why}")
}

fn consequence(state: State) -> &'static str {
    match state {
        State::Accept => "Deliveries are taken as usual, within two seconds, by every running ingest.",
        State::Quarantine => {
            "Authentic deliveries are answered 202 and become dead letters (reason switched_to_quarantine), within two seconds."
        }
        State::Pause => {
            "Deliveries are answered 503 with Retry-After, within two seconds: the sender keeps them for its retries."
        }
        State::Retired => "Deliveries are answered 410, within two seconds: the sender shall stop.",
    }
}

/// What a pause costs with this sender, if it costs something.
fn warning(source: &config::Source, switch: &Switch) -> Option<String> {
    if switch.state != State::Pause {
        return None;
    }
    let way_out = "--quarantine takes every delivery and sets it aside instead";
    let Some(patience) = config::patience(source.adapter.name(), &source.scheme) else {
        return Some(format!("it is not known whether the sender of {:?} retries; {way_out}", source.name));
    };
    let lasts = switch.until.map(|until| until.duration_since(switch.at).unsigned_abs());
    let survives = lasts.is_some_and(|lasts| lasts <= patience.survives);
    (!survives).then(|| format!("{}; {way_out}", patience.then))
}

fn switch_json(object: &Object, Switch { state, who, why, until, at }: &Switch) -> Value {
    json!({ "object": object.to_string(), "state": state, "who": who, "why": why, "until": until, "at": at })
}

fn as_json(Change { object, was, switch }: &Change) -> Value {
    let mut line = switch_json(object, switch);
    line["was"] = json!(was);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_stand_on_one_line() {
        assert_eq!(words("  plan change ").as_deref(), Ok("plan change"));
        for wrong in ["", "  ", "two\nlines", "\u{1b}[31mred", &"x".repeat(LONGEST + 1)] {
            assert!(words(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_pause_is_warned_about_unless_the_sender_is_known_to_outlast_it() {
        let toml = "version = 1\n[owner]\nme = { name = \"Me\" }\n\
            [source.dub]\nadapter = \"dub\"\nowner = \"me\"\nsecrets = [{ id = \"a\", env = \"A\" }]\n\
            [source.own]\nadapter = \"canonical\"\nowner = \"me\"\nsecrets = [{ id = \"a\", env = \"A\" }]\n\
            [source.other]\nadapter = \"canonical\"\nscheme = \"bearer\"\nowner = \"me\"\nsecrets = [{ id = \"a\", env = \"A\" }]\n";
        let folder = std::env::temp_dir().join(format!("hookline-pause-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("hookline.toml");
        std::fs::write(&path, toml).unwrap();
        let environment = Environment::new([("X", "y")], Timestamp::UNIX_EPOCH).with_platform_secrets_only();
        let config = Config::load(&path, &environment).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();

        let at = Timestamp::UNIX_EPOCH;
        let said = |source: &str, state, hours: Option<i64>| {
            let until = hours.map(|hours| at + hours.hours());
            let switch = Switch { state, who: "ana".into(), why: "test".into(), until, at };
            warning(config.source(source).unwrap(), &switch).unwrap_or_default()
        };
        assert!(said("dub", State::Pause, Some(1)).contains("20 refusals"));
        assert!(said("dub", State::Pause, Some(1)).contains("--quarantine"));
        assert_eq!(said("own", State::Pause, Some(2)), "");
        assert!(said("own", State::Pause, None).contains("75 hours"));
        assert!(said("own", State::Pause, Some(100)).contains("75 hours"));
        assert!(said("other", State::Pause, Some(1)).contains("not known"));
        for state in [State::Accept, State::Quarantine, State::Retired] {
            assert_eq!(said("dub", state, None), "");
        }
    }
}
