//! `hookline.toml` as one checked whole.
//!
//! [`Config::load`] reads the file, what it includes and its overrides from the environment, and either returns a
//! [`Config`] in which everything refers to something that exists, or [`Problems`]: all of them, each with its line
//! and, where a name is misspelt, a suggestion. There is no state in between: nothing starts on a configuration that
//! has an error. What this version cannot do yet is refused or said, by the one list in `availability.rs`.
//!
//! Each key is declared once, beside its reader (`option::Opt`): its form, its bounds, its default, what it
//! means. The reader, [`reference()`] (docs/configuration.md) and [`schema()`] (schemas/hookline.schema.json) go by
//! that.

mod alert;
mod availability;
mod canary;
mod channels;
#[cfg(test)]
mod declared;
mod destination;
mod document;
mod environment;
mod form;
mod fresh;
mod inhibit;
mod labels;
mod live;
mod mapping;
mod naming;
mod option;
mod owners;
mod patience;
mod places;
mod platform;
mod privacy;
mod problem;
mod reference;
mod report;
mod root;
mod route_test;
mod rule;
mod schema;
mod scheme;
mod secret;
mod section;
mod silence;
mod source;
mod table;
mod template;
mod traces;
mod values;
mod version;
mod window;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::tz::TimeZone;

pub use enrich::Network;

pub use canary::Canary;
pub use destination::{Destination, OpenHours, Outside};
pub use environment::Environment;
pub use fresh::{Fresh, FreshError};
pub use labels::ListPlace;
pub use live::{AtRestart, LiveChange};
pub use owners::{Owner, ReviewEvery, Workflow};
pub use patience::{Patience, patience};
pub use places::Places;
pub use platform::{ClickHouse, Console, Geo, Ingest, Kafka, Metrics, Process, Registry, Tls};
pub use privacy::{Ignore, Internal, Keep, Privacy, TestTraffic};
pub use problem::{Problem, Problems, did_you_mean};
pub use reference::reference;
pub use report::RuleReport;
pub use route_test::RouteTest;
pub use rule::{Rule, Sending};
pub use schema::schema;
pub use secret::SecretText;
pub use silence::{Mute, Silence};
pub use source::{Quota, Source, WhenOver};
pub use traces::Traces;
pub use values::{Rate, Weekly, duration};
pub use window::{horizon, memory_bytes};

use document::{Entry, Table};
use option::{Form, Opt};
use owners::Declared;
use problem::{Origin, Place, Sink};
use section::{Reading, Section};

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Of dates in the file that name no zone, of `pause --until`, and of times that alerts say. Reports are by days of
    /// UTC, and everything is stored in UTC.
    pub timezone: TimeZone,
    /// Who owns things.
    pub owners: Vec<Owner>,
    /// Who does what about the workflow as a whole.
    pub workflow: Option<Workflow>,
    /// Who sends.
    pub sources: Vec<Source>,
    /// What is kept, and for how long.
    pub privacy: Privacy,
    /// Whose traffic does not count.
    pub ignore: Ignore,
    /// `[channels]`.
    pub channels: enrich::Channels,
    /// `[naming]`.
    pub naming: enrich::Naming,
    /// Where the list of links is, if there is one.
    pub catalogue: Option<ListPlace>,
    /// Which sources (`utm_source`, folded) each partner may use.
    pub partners: HashMap<String, HashSet<String>>,
    /// Planned launches.
    pub launches: Vec<enrich::Launch>,
    /// Where messages go.
    pub destinations: Vec<Destination>,
    /// Which events alert.
    pub rules: Vec<Rule>,
    /// When rules say nothing.
    pub silences: Vec<Silence>,
    /// Hours in which rules that name them say nothing new.
    pub mutes: Vec<Mute>,
    /// What is held back while something else fires, the one that is there by itself included.
    pub inhibits: Vec<notification::Inhibit>,
    /// What rules are expected to make of events.
    pub tests: Vec<RouteTest>,
    /// Where Kafka is.
    pub kafka: Kafka,
    /// Where ClickHouse is.
    pub clickhouse: ClickHouse,
    /// The schema registry, if there is one.
    pub registry: Option<Registry>,
    /// The HTTP edge.
    pub ingest: Ingest,
    /// The process stage.
    pub process: Process,
    /// Where the country of an address is looked up.
    pub geo: Geo,
    /// Metrics and health of every service.
    pub metrics: Metrics,
    /// Where spans of sampled events go; none: nothing is traced.
    pub traces: Option<Traces>,
    /// The console.
    pub console: Console,
    /// The made-up event that is sent at each interval; none: nothing is sent.
    pub canary: Option<Canary>,
    /// What is worth knowing, though nothing is wrong.
    pub warnings: Vec<Problem>,
    version: String,
}

impl Config {
    /// Reads `path`, the files it includes and the overrides of the environment, and checks everything.
    ///
    /// # Errors
    /// All problems of one run, each with its place.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, Problems> {
        Self::load_with_rules(path, None, environment).map(|(config, _)| config)
    }

    /// The same, with a file of rules in the place of those that are called the same: it has `[rule]`, `[mute]`,
    /// `[silence]`, `[launch]` and `[test]`. The names of its rules come as well.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn load_with_rules(
        path: &Path,
        rules: Option<&Path>,
        environment: &Environment,
    ) -> Result<(Self, Vec<String>), Problems> {
        let sink = Sink::default();
        let mut root = document::read(path, &sink);
        let names = rules.map(|rules| document::put_rules(&mut root, rules, &sink)).unwrap_or_default();
        environment.override_keys(&mut root, &sink);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let origin = Rc::new(Origin { name: path.display().to_string(), folder, environment: false });
        let config = read(&root, &Place::whole(&origin), environment, &sink);
        let problems = sink.into_problems();
        if problems.errors.is_empty() {
            Ok((Self { warnings: problems.warnings, ..config }, names))
        } else {
            Err(problems)
        }
    }

    /// What the detector is to expect, beside the rules, and the zone of the times that alerts say.
    pub fn expectations(&self) -> rules::Expectations {
        let launch = |launch: &enrich::Launch| rules::Launch {
            links: launch.links.iter().map(|link| rules::Glob::new(link)).collect(),
            from_ms: launch.from_ms,
            until_ms: launch.until_ms,
        };
        let minutes = |source: &Source| i64::try_from(source.quiet_after?.as_secs() / 60).ok();
        rules::Expectations {
            launches: self.launches.iter().map(launch).collect(),
            quiet_after_minutes: self
                .sources
                .iter()
                .filter_map(|source| Some((source.name.clone(), minutes(source)?)))
                .collect(),
            zone: Some(self.timezone.clone()),
        }
    }

    /// 12 hex digits that name this configuration: stamped on events as `config_version`.
    ///
    /// It covers everything but the platform's half, which differs between instances of one system.
    pub fn version_hash(&self) -> &str {
        &self.version
    }

    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.iter().find(|destination| destination.name == name)
    }

    /// The rule of that name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.rule.name() == name)
    }

    /// The owner of that id.
    pub fn owner(&self, id: &str) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.id == id)
    }

    /// The longest dedupe window of any source.
    pub fn longest_window(&self) -> Duration {
        self.sources.iter().map(|source| source.remember_for).max().unwrap_or(window::REMEMBER_FOR)
    }

    /// What reading payloads needs, whatever their source.
    pub fn adapter_options(&self) -> adapter::Options {
        adapter::Options { keep_query_params: self.privacy.keep_query_params.clone() }
    }

    /// What labelling events needs.
    pub fn enrich_settings(&self) -> enrich::Settings {
        let Ignore { internal, test } = &self.ignore;
        let owners = self.sources.iter().map(|source| (source.name.clone(), source.owner.clone()));
        let test_sources = self.sources.iter().filter(|source| source.test).map(|source| source.name.clone());
        enrich::Settings {
            source_owners: owners.collect(),
            internal_networks: internal.networks.clone(),
            internal_referrer_hosts: internal.referrer_hosts.clone(),
            test_sources: test_sources.collect(),
            test_slug_prefixes: test.slug_prefixes.clone(),
            test_campaigns: test.campaigns.clone(),
            test_tags: test.tags.clone(),
            channels: self.channels.clone(),
            naming: self.naming.clone(),
            partners: self.partners.clone(),
            launches: self.launches.clone(),
        }
    }

    /// All rules, ready to be matched.
    pub fn routes(&self) -> rules::RuleIndex {
        rules::RuleIndex::new(self.rules.iter().map(|rule| rule.rule.clone()).collect())
    }
}

/// Reads every section, however many problems there are.
fn read(root: &Table, whole: &Place, environment: &Environment, sink: &Sink) -> Config {
    let utc = TimeZone::UTC;
    let zone = {
        let top = Section::new(
            "the configuration".to_owned(),
            whole,
            root,
            Reading { sink, environment, zone: &utc, of_platform: false },
        );
        check_version(&top);
        top.time_zone(&root::TIMEZONE).unwrap_or(TimeZone::UTC)
    };
    let reading = Reading { sink, environment, zone: &zone, of_platform: false };
    let top = Section::new("the configuration".to_owned(), whole, root, reading).declared_as(&root::GROUP);
    top.has(&root::VERSION);
    top.has(&root::TIMEZONE);
    let owner_section = section(&top, &root::OWNER);
    let owners = owner_section.as_ref().map(owners::read_owners).unwrap_or_default();
    let known_owners = declared(owner_section.as_ref());
    let ingest = platform::read_ingest(section(&top, &root::INGEST));
    let source_section = section(&top, &root::SOURCE);
    let known_sources = declared(source_section.as_ref());
    if source_section.as_ref().is_none_or(|sources| sources.entries().is_empty()) {
        sink.error(whole, "there is no [source]: nothing could be received", "add one");
    }
    let (privacy, ignore) =
        (privacy::read_privacy(section(&top, &root::PRIVACY)), privacy::read_ignore(section(&top, &root::IGNORE)));
    let sources =
        source_section.map(|all| source::read(&all, &known_owners, &ingest, privacy.visitors)).unwrap_or_default();
    let destination_section = section(&top, &root::DESTINATION);
    let known_destinations = declared(destination_section.as_ref());
    let destinations = destination_section.map(|all| destination::read(&all, &known_owners)).unwrap_or_default();
    let rule_section = section(&top, &root::RULE);
    let known_rules = declared(rule_section.as_ref());
    let mute_section = section(&top, &root::MUTE);
    let known_mutes = declared(mute_section.as_ref());
    let mutes = mute_section.map(|all| silence::read_mutes(&all)).unwrap_or_default();
    let rules =
        rule_section.map(|all| rule::read(&all, &known_owners, &known_destinations, &known_mutes)).unwrap_or_default();
    let silences =
        section(&top, &root::SILENCE).map(|all| silence::read_silences(&all, &known_rules)).unwrap_or_default();
    let inhibits = inhibit::read(section(&top, &root::INHIBIT).as_ref(), &known_rules, &rules);
    let known = canary::Known { sources: &known_sources, rules: &known_rules };
    let canary = canary::read(section(&top, &root::CANARY), &known, &sources, &rules, ingest.tls.is_some());
    let workflow = section(&top, &root::WORKFLOW)
        .and_then(|workflow| owners::read_workflow(workflow, &known_owners, &known_destinations));
    let channels = channels::read(section(&top, &root::CHANNELS));
    let naming = section(&top, &root::NAMING).map(|naming| naming::read(&naming)).unwrap_or_default();
    let tests = section(&top, &root::TEST).map(|all| route_test::read(&all)).unwrap_or_default();
    let config = Config {
        owners,
        workflow,
        sources,
        privacy,
        ignore,
        channels,
        naming,
        catalogue: labels::read_catalogue(section(&top, &root::CATALOGUE)),
        partners: labels::read_partners(section(&top, &root::PARTNER)),
        launches: labels::read_launches(section(&top, &root::LAUNCH)),
        destinations,
        rules,
        silences,
        mutes,
        inhibits,
        tests,
        kafka: platform::read_kafka(section(&top, &root::KAFKA)),
        clickhouse: platform::read_clickhouse(section(&top, &root::CLICKHOUSE)),
        registry: platform::read_registry(section(&top, &root::REGISTRY)),
        ingest,
        process: platform::read_process(section(&top, &root::PROCESS)),
        geo: platform::read_geo(section(&top, &root::GEO)),
        metrics: platform::read_metrics(section(&top, &root::METRICS)),
        traces: traces::read(section(&top, &root::TRACES), &known_sources),
        console: platform::read_console(section(&top, &root::CONSOLE)),
        canary,
        warnings: Vec::new(),
        version: version::hash(root),
        timezone: zone.clone(),
    };
    top.finish();
    config
}

/// A section of the file.
fn section<'a, F: Form>(top: &Section<'a>, opt: &Opt<F>) -> Option<Section<'a>> {
    let mut section = top.section(opt)?;
    section.title = format!("[{}]", opt.key);
    section.reading.of_platform = environment::PLATFORM_SECTIONS.contains(&opt.key);
    Some(section)
}

/// The names of a section's entries.
fn declared(section: Option<&Section<'_>>) -> Declared {
    let entries: &[Entry] = section.map_or(&[], |section| section.entries());
    Declared::of(entries.iter().map(|entry| (entry.key.as_str(), &entry.at)))
}

fn check_version(top: &Section<'_>) {
    top.demand(&root::VERSION);
    top.integer(&root::VERSION);
}
