//! What is switched while everything runs: sources, rules, destinations, silences, messages. What is switched now, and
//! what was.

use config::{Config, did_you_mean};
use jiff::Timestamp;
use kafka::control::{self, Change, Kind, Log, Object, State, Switch};
use serde::Serialize;

use crate::error::{During, refuse};
use crate::{Installation, Report, Result, blocking};

/// A switch as it is reported.
#[derive(Debug, Clone, Serialize)]
pub struct Switched {
    /// What is switched, such as `source/dub`.
    pub object: String,
    /// What is done with it.
    pub state: State,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it ends by itself, if it does.
    pub until: Option<Timestamp>,
    /// When it was said.
    pub at: Timestamp,
}

impl Switched {
    fn new(object: &Object, switch: &Switch) -> Self {
        let Switch { state, who, why, until, at } = switch.clone();
        Self { object: object.to_string(), state, who, why, until, at }
    }
}

/// A change of a switch.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// How it is since.
    #[serde(flatten)]
    pub switch: Switched,
    /// How it was before.
    pub was: State,
}

impl From<&Change> for Changed {
    fn from(Change { object, was, switch }: &Change) -> Self {
        Self { switch: Switched::new(object, switch), was: *was }
    }
}

/// What a switch did.
#[derive(Debug, Clone, Serialize)]
pub struct SwitchReport {
    /// Always true: what fails is an error.
    pub ok: bool,
    /// The change.
    #[serde(flatten)]
    pub change: Changed,
    /// What a pause costs with this sender, if it costs something.
    pub warning: Option<String>,
}

impl Report for SwitchReport {
    fn needs_attention(&self) -> bool {
        self.warning.is_some()
    }
}

/// What is switched.
#[derive(Debug, Clone, Serialize)]
pub struct ListReport {
    /// Whether every record could be read.
    pub ok: bool,
    /// Each object that is not as usual.
    pub switched: Vec<Listed>,
    /// Records that this version cannot read.
    pub unreadable: Vec<String>,
}

/// An object that is switched.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// How.
    #[serde(flatten)]
    pub switch: Switched,
    /// Whether this configuration has it.
    pub configured: bool,
}

impl Report for ListReport {
    fn needs_attention(&self) -> bool {
        // A message that is acknowledged is as it should be.
        let for_a_while = |listed: &Listed| {
            matches!(listed.switch.state, State::Pause | State::Quarantine)
                && !listed.switch.object.starts_with(Kind::Message.name())
        };
        !self.ok || self.switched.iter().any(for_a_while)
    }
}

/// What was ever switched.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryReport {
    /// Whether every record could be read.
    pub ok: bool,
    /// Each change, oldest first.
    pub changes: Vec<Changed>,
    /// Records that this version cannot read.
    pub unreadable: Vec<String>,
}

impl Report for HistoryReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Switches an object.
///
/// # Errors
/// When the configuration has no such object, it cannot be switched so, or Kafka fails.
pub async fn switch(installation: &Installation, object: Object, switch: Switch) -> Result<SwitchReport> {
    let config = &installation.config;
    let known: (&str, Option<Vec<&str>>) = match object.kind {
        Kind::Source => ("source", Some(config.sources.iter().map(|one| one.name.as_str()).collect())),
        Kind::Rule | Kind::Silence => ("rule", Some(config.rules.iter().map(|one| one.rule.name()).collect())),
        Kind::Destination => ("destination", Some(config.destinations.iter().map(|one| one.name.as_str()).collect())),
        // Messages come and go: their ids are in the footers of messages, and in ClickHouse.
        Kind::Message => ("message", None),
        Kind::Configuration => refuse!("a configuration is not switched: hookline reload loads one"),
    };
    let name = match object.kind {
        Kind::Silence => object.id.split_once('/').map_or(object.id.as_str(), |(rule, _)| rule),
        _ => object.id.as_str(),
    };
    if let (what, Some(names)) = known
        && !names.contains(&name)
        // What is gone from the configuration can still be taken back to normal.
        && switch.state != State::Accept
    {
        let hint = did_you_mean(name, names.iter().copied());
        refuse!("{} has no {what} {name:?}; {hint}", installation.file.display());
    }
    if object.kind != Kind::Source && matches!(switch.state, State::Quarantine | State::Retired) {
        refuse!("{object} can only be paused: quarantine and retirement are for sources");
    }
    let warning = config.source(&object.id).filter(|_| object.kind == Kind::Source);
    let warning = warning.and_then(|source| warning_of(source, &switch));
    let cluster = installation.cluster.clone();
    let change =
        blocking(move || control::set(&cluster, &object, &switch).during(|| format!("Kafka at {}", cluster.brokers)))
            .await?;
    Ok(SwitchReport { ok: true, change: Changed::from(&change), warning })
}

/// Lists what is switched.
///
/// # Errors
/// When Kafka fails.
pub async fn list(installation: &Installation) -> Result<ListReport> {
    let (mut switched, mut unreadable, now) = (Vec::new(), Vec::new(), Timestamp::now());
    for kind in Kind::ALL {
        let log = log(installation, kind).await?;
        unreadable.extend(log.switches.unreadable().map(ToString::to_string));
        for (id, switch) in log.switches.iter().filter(|(_, switch)| switch.state_at(now) != State::Accept) {
            let object = Object::new(kind, id);
            switched.push(Listed {
                switch: Switched::new(&object, switch),
                configured: is_configured(&installation.config, &object),
            });
        }
    }
    Ok(ListReport { ok: unreadable.is_empty(), switched, unreadable })
}

fn is_configured(config: &Config, object: &Object) -> bool {
    match object.kind {
        Kind::Source => config.source(&object.id).is_some(),
        Kind::Rule => config.rule(&object.id).is_some(),
        Kind::Destination => config.destination(&object.id).is_some(),
        Kind::Silence => config.rule(object.id.split('/').next().unwrap_or_default()).is_some(),
        Kind::Message | Kind::Configuration => true,
    }
}

/// Lists what was ever switched, of one object if it is named.
///
/// # Errors
/// When Kafka fails.
pub async fn history(installation: &Installation, of: Option<&Object>) -> Result<HistoryReport> {
    let log = log(installation, Kind::Source).await?;
    let (mut changes, mut unreadable) = (Vec::new(), Vec::new());
    for change in log.changes {
        match change {
            Ok(change) if of.is_none_or(|object| *object == change.object) => changes.push(Changed::from(&change)),
            Ok(_) => {}
            Err(why) => unreadable.push(why.to_string()),
        }
    }
    Ok(HistoryReport { ok: unreadable.is_empty(), changes, unreadable })
}

/// Reads everything; records that cannot be read are said and not passed over.
async fn log(installation: &Installation, kind: Kind) -> Result<Log> {
    let cluster = installation.cluster.clone();
    blocking(move || control::read_log(&cluster, kind).during(|| format!("Kafka at {}", cluster.brokers))).await
}

/// What a pause costs with this sender, if it costs something.
fn warning_of(source: &config::Source, switch: &Switch) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use config::Environment;
    use jiff::ToSpan;

    use super::*;

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
            warning_of(config.source(source).unwrap(), &switch).unwrap_or_default()
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
