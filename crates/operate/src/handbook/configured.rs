//! The parts that come from the configuration.

use config::{Config, Owner, ReviewEvery, Source, WhenOver};
use jiff::Timestamp;

use super::{Block, Part};

pub(super) fn parts(config: &Config) -> Vec<Part> {
    vec![
        Part::configured("people", "Who answers for what", people(config)),
        Part::configured("sources", "Who sends: the webhooks that are enabled", sources(config)),
        Part::configured("rules", "What is told to whom", rules(config)),
        Part::configured("destinations", "Where messages go", destinations(config)),
        Part::configured("data", "What is kept, and for how long", data(config)),
        Part::configured("pause", "How to pause, and where to look", pause(config)),
    ]
}

/// What the guide's record asks for and the configuration does not say.
pub(super) fn missing(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    match &config.workflow {
        None => missing.push(
            "who maintains the endpoint and who reviews failures: add [workflow] with receiver_owner and failures_owner".to_owned(),
        ),
        Some(workflow) if workflow.logs.is_none() => {
            missing.push("where the logs are: add logs = \"https://…\" to [workflow]".to_owned());
        }
        Some(_) => {}
    }
    let unreachable = config.owners.iter().filter(|owner| owner.chat.is_none() && owner.email.is_none());
    missing.extend(unreachable.map(|owner| format!("how owner {} is reached: add chat or email", owner.id)));
    missing
}

fn named(config: &Config, id: &str) -> String {
    config.owner(id).map_or_else(|| id.to_owned(), reached)
}

/// An owner, and how they are reached.
fn reached(owner: &Owner) -> String {
    let ways: Vec<&str> = [&owner.chat, &owner.email].into_iter().flatten().map(String::as_str).collect();
    match ways.is_empty() {
        true => owner.name.clone(),
        false => format!("{} ({})", owner.name, ways.join(", ")),
    }
}

fn people(config: &Config) -> Vec<Block> {
    let mut rows = Vec::new();
    if let Some(workflow) = &config.workflow {
        let every = match workflow.review_every {
            ReviewEvery::Month => "every month",
            ReviewEvery::Quarter => "every quarter",
            ReviewEvery::Year => "every year",
        };
        rows.push(vec!["maintains the receiving endpoint".into(), named(config, &workflow.receiver_owner)]);
        rows.push(vec!["reviews failed deliveries".into(), named(config, &workflow.failures_owner)]);
        rows.push(vec!["the workflow is reviewed".into(), every.into()]);
        rows.push(vec!["logs".into(), workflow.logs.clone().unwrap_or_else(|| "not said".into())]);
    }
    let owns = |owner: &Owner| {
        let sources = config.sources.iter().filter(|source| source.owner == owner.id);
        let rules = config.rules.iter().filter(|rule| rule.rule.owner() == owner.id);
        let destinations = config.destinations.iter().filter(|destination| destination.owner == owner.id);
        let mut all: Vec<String> = sources.map(|source| format!("source {}", source.name)).collect();
        all.extend(rules.map(|rule| format!("rule {}", rule.rule.name())));
        all.extend(destinations.map(|destination| format!("destination {}", destination.name)));
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    };
    let owners = config.owners.iter().map(|owner| vec![owner.id.clone(), reached(owner), owns(owner)]).collect();
    let mut blocks = Vec::new();
    match rows.is_empty() {
        true => blocks
            .push(Block::Text("The configuration has no [workflow]: who maintains the endpoint is not said.".into())),
        false => blocks.push(Block::Table { head: vec!["what", "who or where"], rows }),
    }
    blocks.push(Block::Table { head: vec!["owner", "reached at", "answers for"], rows: owners });
    blocks
}

fn sources(config: &Config) -> Vec<Block> {
    let row = |source: &Source| {
        let secrets: Vec<String> = source
            .secrets
            .iter()
            .map(|secret| match secret.ends().and_then(|ends| Timestamp::from_second(ends).ok()) {
                Some(ends) => format!("{} (until {})", secret.id(), ends.strftime("%F")),
                None => secret.id().to_owned(),
            })
            .collect();
        let quota = match &source.quota {
            None => "none".to_owned(),
            Some(quota) => {
                let then = if quota.when_over == WhenOver::Refuse { "then refused" } else { "then warned" };
                format!("{}/s, {then}", quota.per_second)
            }
        };
        vec![
            source.name.clone(),
            format!("/v1/webhooks/{}", source.name),
            source.adapter.name().to_owned(),
            source.scheme.name().to_owned(),
            if secrets.is_empty() { "not looked up".to_owned() } else { secrets.join(", ") },
            format!("{} h", source.remember_for.as_secs() / 3_600),
            quota,
            named(config, &source.owner),
        ]
    };
    let head = vec!["source", "path", "adapter", "signed by", "secrets", "duplicates known for", "quota", "owner"];
    vec![
        Block::Table { head, rows: config.sources.iter().map(row).collect() },
        Block::Text(
            "The secrets are named, not shown. Which event types each source really sends, and which fields, is below under what is used."
                .into(),
        ),
    ]
}

fn rules(config: &Config) -> Vec<Block> {
    let rows = config.rules.iter().map(|rule| {
        let to = match &rule.send {
            Some(send) => send.to.join(", "),
            None if let Some(report) = &rule.report => {
                format!("the report {} to {}", report.view, report.to.join(", "))
            }
            None if rule.rule.is_shadow() => "nothing is sent: it is in shadow".to_owned(),
            None => "nothing is sent".to_owned(),
        };
        let counts = match (rule.rule.trigger().is_some(), rule.rule.per()) {
            (_, Some(per)) => format!("counts per {}", per.name()),
            (true, None) => match rule.rule.trigger() {
                Some(rules::Trigger::FirstSeen(first)) => format!("each new {}", first.of.name()),
                _ => "each event".to_owned(),
            },
            (false, None) => "never".to_owned(),
        };
        vec![
            rule.rule.name().to_owned(),
            rule.rule.when().to_string(),
            counts,
            to,
            rule.instruction.clone().unwrap_or_default(),
            named(config, rule.rule.owner()),
        ]
    });
    let head = vec!["rule", "about", "fires", "tells", "what to do then", "owner"];
    let mut blocks = vec![Block::Table { head, rows: rows.collect() }];
    if config.rules.is_empty() {
        blocks = vec![Block::Text("There are no rules: events are stored and reported.".into())];
    }
    if !config.silences.is_empty() {
        let rows = config.silences.iter().map(|silence| {
            let between = format!("{} to {}", silence.from, silence.until);
            vec![silence.name.clone(), silence.rules.join(", "), between, silence.why.clone()]
        });
        blocks.push(Block::Table { head: vec!["silence", "rules", "when", "why"], rows: rows.collect() });
    }
    if !config.inhibits.is_empty() {
        let rows = config.inhibits.iter().map(|inhibit| {
            let by: Vec<&str> = inhibit.by.keys().map(String::as_str).collect();
            vec![inhibit.name.clone(), by.join(", "), inhibit.hold.join(", "), inhibit.same.join(", ")]
        });
        blocks.push(Block::Table {
            head: vec!["inhibition", "while", "holds back", "of the same"],
            rows: rows.collect(),
        });
    }
    blocks
}

fn destinations(config: &Config) -> Vec<Block> {
    if config.destinations.is_empty() {
        return vec![Block::Text("There are no destinations: no message leaves.".into())];
    }
    let rows = config.destinations.iter().map(|destination| {
        let fields =
            destination.fields.as_ref().map_or_else(|| "all of a message".to_owned(), |fields| fields.join(", "));
        let rules = config
            .rules
            .iter()
            .filter(|rule| rule.send.as_ref().is_some_and(|send| send.to.contains(&destination.name)));
        let rules: Vec<&str> = rules.map(|rule| rule.rule.name()).collect();
        vec![
            destination.name.clone(),
            destination.kind.name.to_owned(),
            fields,
            if rules.is_empty() { "no rule".to_owned() } else { rules.join(", ") },
            named(config, &destination.owner),
        ]
    });
    let head = vec!["destination", "kind", "fields that leave", "used by", "owner"];
    vec![Block::Table { head, rows: rows.collect() }]
}

fn data(config: &Config) -> Vec<Block> {
    let days = |time: &std::time::Duration| format!("{} days", time.as_secs() / 86_400);
    let config::Keep { raw, events, rollups, deliveries } = &config.privacy.keep;
    let rows = vec![
        vec![
            "raw deliveries (may hold personal data)".to_owned(),
            "Kafka, topic hookline.raw.v1".to_owned(),
            days(raw),
        ],
        vec!["events".to_owned(), "ClickHouse, hookline.records".to_owned(), days(events)],
        vec!["reports by day".to_owned(), "ClickHouse".to_owned(), days(rollups)],
        vec!["alerts and deliveries".to_owned(), "ClickHouse".to_owned(), days(deliveries)],
    ];
    let kept = match config.privacy.keep_query_params.is_empty() {
        true => "Of destination URLs no query parameter is kept.".to_owned(),
        false => format!(
            "Of destination URLs these query parameters are kept: {}.",
            config.privacy.keep_query_params.join(", ")
        ),
    };
    vec![
        Block::Table { head: vec!["what", "where", "kept for"], rows },
        Block::Text(format!(
            "{kept} Addresses and user agents are used in memory and stored in raw alone. Reports by geography hide groups under {}.",
            config.privacy.hide_groups_under
        )),
    ]
}

fn pause(config: &Config) -> Vec<Block> {
    let source = config.sources.first().map_or("NAME", |source| source.name.as_str());
    vec![
        Block::Text(
            "A paused source is answered 503, and its sender keeps the deliveries for its retries; in quarantine it is answered 202, and \
             its deliveries wait as dead letters."
                .into(),
        ),
        Block::Commands(vec![
            format!("hookline pause source/{source} --for 2h --why \"plan change\""),
            format!("hookline pause source/{source} --quarantine --why \"plan change\""),
            format!("hookline resume source/{source}"),
            "hookline pause --list".into(),
        ]),
        Block::Text("When something is wrong, in this order:".into()),
        Block::Commands(vec![
            "hookline status".into(),
            "hookline ledger".into(),
            "hookline dlq list".into(),
            "hookline explain RECEIPT-OR-EVENT-KEY".into(),
        ]),
        Block::Text(
            "Failed messages to destinations, with the answers: SELECT * FROM hookline.delivery_attempts WHERE stage = 'failed' ORDER BY at \
             DESC. Runbooks are in docs/runbooks, one for each alert."
                .into(),
        ),
    ]
}
