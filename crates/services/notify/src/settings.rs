//! What the notifier works by.

use std::sync::Arc;

use event::wire::Ids;
use kafka::Cluster;
use kafka::topics::Plan;
use notification::destination::{Kind, People, Person, SecretText, Values};
use notification::{Budget, Calendar, Mute, Open, Routing, Scheduled, Templates};
use traces::Traces;

use crate::scheduled::{BadReport, Content, ScheduledReport};

/// What the lanes of the notifier work by. Rules, silences, destinations and people may change while they run.
#[derive(Clone)]
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// How the topics are laid out.
    pub plan: Plan,
    /// The schema ids of what is read and written.
    pub ids: Ids,
    /// The rules that send; neither those that send nothing nor those that are only tried out.
    pub rules: Vec<notification::Rule>,
    /// The names of the rules that do not.
    pub silent_rules: Vec<String>,
    /// When rules say nothing.
    pub silences: Vec<notification::Silence>,
    /// What is held back while something else fires.
    pub inhibits: Vec<notification::Inhibit>,
    /// Where messages go.
    pub destinations: Vec<Destination>,
    /// Who can be mentioned.
    pub people: People,
    /// Titles and texts of the owners' own.
    pub templates: Templates,
    /// Where spans of traced events go.
    pub traces: Traces,
    /// What is sent by the calendar.
    pub scheduled: Vec<ScheduledReport>,
    /// Where reports are asked for; none: none are sent.
    pub warehouse: Option<Arc<warehouse::Settings>>,
}

/// A place that messages go to.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name; [`notification::CAPTURE`] is taken.
    pub name: String,
    /// Who owns it, and is told when it refuses.
    pub owner: String,
    /// The only fields about an event that leave; all of them when left out.
    pub fields: Option<Vec<String>>,
    /// What it is.
    pub kind: &'static Kind,
    /// What its kind needs.
    pub values: Values,
    /// Whether its address may be a private one.
    pub allow_private: bool,
    /// The proxy through which it is reached, if any: addresses are not checked then.
    pub proxy: Option<SecretText>,
    /// How many messages it takes; none: as many as come.
    pub max: Option<Budget>,
    /// When it may be disturbed; none: always.
    pub open: Option<Open>,
}

/// The configuration cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It was read without its secrets.
    #[error("[destination.{0}] has secrets that are not known: the configuration was read without looking secrets up")]
    NotLookedUp(String),
    /// A report cannot be asked for.
    #[error("[rule.{rule}] report: {why}")]
    Report {
        /// The rule.
        rule: String,
        /// Why.
        why: BadReport,
    },
}

/// The name of the digest of failures: no rule has one with a slash.
const FAILURES: &str = "workflow/failures";

impl Settings {
    /// What the configuration says. No spans are sent: [`Settings::traces`] is off.
    ///
    /// # Errors
    /// When it was read without its secrets, or a report cannot be asked for.
    pub fn from_config(cluster: Cluster, plan: Plan, ids: Ids, config: &config::Config) -> Result<Self, SettingsError> {
        let (rules, silences) = (rules_of(config), silences_of(config));
        let destinations = config.destinations.iter().map(destination).collect::<Result<_, _>>()?;
        Ok(Self {
            cluster,
            plan,
            ids,
            silent_rules: silent_rules(config, &rules),
            rules,
            silences,
            inhibits: config.inhibits.clone(),
            destinations,
            people: people_of(config),
            templates: templates_of(config),
            traces: Traces::default(),
            scheduled: scheduled(config)?,
            warehouse: None,
        })
    }

    /// What bundling looks at.
    pub(crate) fn routing(&self) -> Routing {
        let destinations = self.destinations.iter().map(|destination| notification::Destination {
            name: destination.name.clone(),
            owner: destination.owner.clone(),
            fields: destination.fields.clone(),
            keyed: destination.kind.keyed,
            max: destination.max,
            open: destination.open.clone(),
        });
        let scheduled = self.scheduled.iter().map(|one| one.scheduled.clone()).collect();
        let routing = Routing::new(self.rules.clone(), destinations.collect(), self.silences.clone());
        let routing = routing.with_scheduled(scheduled).with_silent(self.silent_rules.iter().cloned());
        let acknowledging = self.destinations.iter().filter(|one| one.kind.acknowledges).map(|one| one.name.clone());
        let routing = routing.with_inhibits(self.inhibits.clone());
        routing.with_templates(self.templates.clone()).with_acknowledging(acknowledging)
    }
}

/// What bundling looks at, by the configuration alone: no secret of a destination is needed for it.
pub fn routing(config: &config::Config) -> Routing {
    let destinations = config.destinations.iter().map(|destination| notification::Destination {
        name: destination.name.clone(),
        owner: destination.owner.clone(),
        fields: destination.fields.clone(),
        keyed: destination.kind.keyed,
        max: budget(destination),
        open: open(destination),
    });
    let routing = Routing::new(rules_of(config), destinations.collect(), silences_of(config));
    let acknowledging = config.destinations.iter().filter(|one| one.kind.acknowledges).map(|one| one.name.clone());
    let routing = routing.with_inhibits(config.inhibits.clone());
    routing.with_templates(templates_of(config)).with_acknowledging(acknowledging)
}

fn silences_of(config: &config::Config) -> Vec<notification::Silence> {
    let silences = config.silences.iter().map(|silence| notification::Silence {
        name: silence.name.clone(),
        rules: silence.rules.clone(),
        from_ms: silence.from.as_millisecond(),
        until_ms: silence.until.as_millisecond(),
        why: silence.why.clone(),
    });
    silences.collect()
}

fn budget(destination: &config::Destination) -> Option<Budget> {
    destination.max.map(|max| Budget { count: max.count, per_ms: max.per.as_millis() as i64 })
}

fn open(destination: &config::Destination) -> Option<Open> {
    let open = destination.open.as_ref()?;
    Some(Open { hours: open.hours.clone(), drops_outside: open.otherwise == config::Outside::Drop })
}

/// The rules of a configuration that send, as bundling looks at them.
pub(crate) fn rules_of(config: &config::Config) -> Vec<notification::Rule> {
    let mutes: Vec<Mute> =
        config.mutes.iter().map(|mute| Mute { name: mute.name.clone(), hours: mute.hours.clone() }).collect();
    let rules = config.rules.iter().filter(|rule| !rule.rule.is_shadow());
    let rules = rules.filter_map(|rule| {
        let send = rule.send.as_ref()?;
        Some(notification::Rule {
            name: rule.rule.name().to_owned(),
            owner: rule.rule.owner().to_owned(),
            instruction: rule.instruction.clone(),
            sending: notification::Sending {
                to: send.to.clone(),
                mention_link_owner: send.mention_link_owner,
                first_ms: send.first.as_millis() as i64,
                then_every_ms: send.then_every.as_millis() as i64,
                say_when_over: send.say_when_over,
                one_open_per: send.one_open_per.map(|per| per.name().to_owned()),
                mute: mutes.iter().find(|mute| Some(&mute.name) == send.mute.as_ref()).cloned(),
            },
        })
    });
    rules.collect()
}

fn silent_rules(config: &config::Config, sending: &[notification::Rule]) -> Vec<String> {
    let names = config.rules.iter().map(|rule| rule.rule.name());
    names.filter(|name| !sending.iter().any(|rule| rule.name == **name)).map(str::to_owned).collect()
}

fn templates_of(config: &config::Config) -> Templates {
    let rules = config.rules.iter().filter_map(|rule| Some((rule.rule.name().to_owned(), rule.template.clone()?)));
    let destinations = config.destinations.iter();
    let destinations = destinations.filter_map(|one| Some((one.name.clone(), one.template.clone()?)));
    Templates { rules: rules.collect(), destinations: destinations.collect() }
}

/// The owners of a configuration, as messages mention them.
pub fn people_of(config: &config::Config) -> People {
    let people = config.owners.iter().map(|owner| {
        let (slack, teams, github) = (owner.slack.clone(), owner.teams.clone(), owner.github.clone());
        let (jira, email) = (owner.jira.clone(), owner.email.clone());
        (owner.id.clone(), Person { name: owner.name.clone(), slack, teams, github, jira, email })
    });
    people.collect()
}

/// What is sent by the calendar: reports of rules, and the digest of failures.
fn scheduled(config: &config::Config) -> Result<Vec<ScheduledReport>, SettingsError> {
    let mut all = Vec::new();
    for rule in &config.rules {
        let Some(report) = &rule.report else { continue };
        let name = rule.rule.name();
        let content = Content::view(&report.view, &report.select)
            .map_err(|why| SettingsError::Report { rule: name.to_owned(), why })?;
        let (owner, to, when) = (rule.rule.owner().to_owned(), report.to.clone(), report.when.clone());
        all.push(ScheduledReport { scheduled: Scheduled { name: name.to_owned(), owner, to, when }, content });
    }
    if let Some(workflow) = &config.workflow
        && let Some(weekly) = workflow.failures_digest
    {
        let when = Calendar { on: Some(weekly.day), at: weekly.at, zone: config.timezone.clone() };
        let (owner, to) = (workflow.failures_owner.clone(), workflow.failures_to.clone());
        let scheduled = Scheduled { name: FAILURES.to_owned(), owner, to, when };
        all.push(ScheduledReport { scheduled, content: Content::Failures });
    }
    Ok(all)
}

#[cfg(test)]
impl Settings {
    /// No rule and no destination, for tests.
    pub(crate) fn nothing() -> Self {
        Self {
            cluster: Cluster::new("nowhere:1"),
            plan: Plan::new(1, 1),
            ids: Ids::FIXED,
            rules: Vec::new(),
            silent_rules: Vec::new(),
            silences: Vec::new(),
            inhibits: Vec::new(),
            destinations: Vec::new(),
            people: People::new(),
            templates: Templates::default(),
            traces: Traces::default(),
            scheduled: Vec::new(),
            warehouse: None,
        }
    }
}

impl Destination {
    /// Whether messages travel there as they do to `other`.
    pub(crate) fn is_reached_as(&self, other: &Self) -> bool {
        let Self { name, owner, kind, values, allow_private, proxy, .. } = self;
        let same_kind = kind.name == other.kind.name;
        let same = (name, owner, values, allow_private, proxy)
            == (&other.name, &other.owner, &other.values, &other.allow_private, &other.proxy);
        same_kind && same
    }
}

fn destination(destination: &config::Destination) -> Result<Destination, SettingsError> {
    let Some(values) = destination.values.clone() else {
        return Err(SettingsError::NotLookedUp(destination.name.clone()));
    };
    Ok(Destination {
        name: destination.name.clone(),
        owner: destination.owner.clone(),
        fields: destination.fields.clone(),
        kind: destination.kind,
        values,
        allow_private: destination.allow_private,
        proxy: destination.proxy.clone(),
        max: budget(destination),
        open: open(destination),
    })
}
