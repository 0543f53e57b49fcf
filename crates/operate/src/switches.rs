//! Sources switched while everything runs, and what is switched and was.

use config::did_you_mean;
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
    /// Each source that is not accepted.
    pub switched: Vec<Listed>,
    /// Records that this version cannot read.
    pub unreadable: Vec<String>,
}

/// A source that is switched.
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
        let for_a_while = |listed: &Listed| matches!(listed.switch.state, State::Pause | State::Quarantine);
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

/// Switches a source.
///
/// # Errors
/// When the configuration has no such source, or Kafka fails.
pub async fn switch(installation: &Installation, object: Object, switch: Switch) -> Result<SwitchReport> {
    let Some(source) = installation.config.source(&object.id) else {
        let names = installation.config.sources.iter().map(|source| source.name.as_str());
        let hint = did_you_mean(&object.id, names);
        refuse!("{} has no source {:?}; {hint}", installation.file.display(), object.id);
    };
    let warning = warning(source, &switch);
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
    let (log, now) = (log(installation).await?, Timestamp::now());
    let unreadable: Vec<String> = log.switches.unreadable().map(ToString::to_string).collect();
    let switched = log.switches.iter().filter(|(_, switch)| switch.state_at(now) != State::Accept);
    let listed = |(id, switch): (&str, &Switch)| Listed {
        switch: Switched::new(&Object::source(id), switch),
        configured: installation.config.source(id).is_some(),
    };
    Ok(ListReport { ok: unreadable.is_empty(), switched: switched.map(listed).collect(), unreadable })
}

/// Lists what was ever switched, of one object if it is named.
///
/// # Errors
/// When Kafka fails.
pub async fn history(installation: &Installation, of: Option<&Object>) -> Result<HistoryReport> {
    let log = log(installation).await?;
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
async fn log(installation: &Installation) -> Result<Log> {
    let cluster = installation.cluster.clone();
    blocking(move || control::read_log(&cluster, Kind::Source).during(|| format!("Kafka at {}", cluster.brokers))).await
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

#[cfg(test)]
mod tests {
    use config::{Config, Environment};
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
