//! Which columns of the rows rules ask about, as SQL; and an event out of them.

use std::collections::BTreeSet;
use std::fmt::Write;

use event::{Counted, EventType, LinkEvent, Millis, TAGS};
use rules::{COUNTER, Condition, EventPattern, Field, Glob, LATE_MS, Per, Rule, Subject, Trigger};
use warehouse::quote;

use super::Place;

/// The columns that an event is made of here, and how each is set: what rules ask about, and what messages name.
macro_rules! columns {
    ($($name:ident),* $(,)?) => {
        /// All of them, the type and the key of the event first.
        pub(super) fn all() -> Vec<&'static str> {
            vec!["type", "event_key", "extra", "partner_approved", $(stringify!($name)),*]
        }

        fn set(event: &mut LinkEvent<'_>, name: &str, text: &str) {
            match name {
                "type" => event.r#type = EventType::from_name(text).unwrap_or_default(),
                "extra" => event.keep_tags(text.split(',')),
                "partner_approved" => event.partner_approved = text == "true",
                "event_key" => event.event_key = text.to_owned().into(),
                "counted" => event.counted = Counted::from_name(text).unwrap_or_default(),
                "redirect_status" => event.redirect_status = text.parse().unwrap_or_default(),
                "trace" => event.trace.extend(text.split('\n').map(|line| line.to_owned().into())),
                COUNTER => event.extra.add(COUNTER, text.to_owned()),
                "late" => event.received_at = Millis(if text == "1" { LATE_MS } else { 0 }),
                $(stringify!($name) => event.$name = text.to_owned().into(),)*
                _ => {}
            }
        }
    };
}

columns!(
    subtype,
    source,
    domain,
    slug,
    link_id,
    link_kind,
    campaign,
    channel,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    country,
    intent,
    promo,
    programme,
    qr_id,
    placement,
    partner,
    launch,
    owner,
    destination_host,
    referrer_class,
    error_kind,
    device,
);

/// An event that says what these columns say.
pub(super) fn event<'t>(names: &[&str], texts: impl Iterator<Item = &'t str>) -> LinkEvent<'static> {
    let mut event = LinkEvent::default();
    names.iter().zip(texts).for_each(|(name, text)| set(&mut event, name, text));
    event
}

/// A column as a text.
fn expression(name: &str) -> String {
    match name {
        "extra" => format!("extra[{}]", quote(TAGS)),
        "country" => "replaceAll(toString(country), '\\0', '')".to_owned(),
        "trace" => "arrayStringConcat(arrayFilter(line -> line IN ('catalogue:expired', 'catalogue:deleted') OR \
                    startsWith(line, 'catalogue:expected_host:'), arrayMap(line -> toString(line), trace)), '\\n')"
            .to_owned(),
        COUNTER => format!("extra[{}]", quote(COUNTER)),
        "late" => format!("toString({})", late()),
        _ => format!("toString({name})"),
    }
}

/// Whether an event came late: 1 or 0.
fn late() -> String {
    format!("toUnixTimestamp64Milli(received_at) - toUnixTimestamp64Milli(event_time) >= {LATE_MS}")
}

/// The columns by which a rule tells events of a key apart.
fn told_apart(trigger: &Trigger) -> Vec<&'static str> {
    match trigger {
        // The end of a link that the catalogue tells is passed over, by its source.
        Trigger::Broken { .. } => vec!["error_kind", "subtype", "source", "redirect_status", "trace"],
        Trigger::Drift { .. } => vec!["destination_host", "redirect_status", "trace"],
        // What a counter says late is passed over.
        Trigger::Gap { .. } => [&["source", COUNTER, "late"], Field::Link.columns()].concat(),
        Trigger::FirstSeen(rule) => rule.of.field().columns().to_vec(),
        Trigger::Each | Trigger::Count { .. } | Trigger::Spike { .. } | Trigger::Silence { .. } => Vec::new(),
    }
}

/// The columns by which these rules tell events apart.
pub(super) fn asked(rules: &[Rule]) -> Vec<&'static str> {
    let mut names = BTreeSet::new();
    for rule in rules {
        if rule.when().events().iter().any(|pattern| matches!(pattern, EventPattern::Subtype(_))) {
            names.insert("subtype");
        }
        names.extend(rule.when().conditions().iter().flat_map(|condition| condition.field().columns()));
        names.extend(rule.per().and_then(Per::field).map_or(&[][..], Field::columns));
        names.extend(rule.trigger().map(told_apart).unwrap_or_default());
        if rule.trigger().is_some_and(Trigger::is_of_all_traffic) {
            names.insert("counted");
        }
    }
    std::iter::once("type").chain(names).collect()
}

/// Events that rules cannot tell apart, added up within panes; none if no rule counts.
pub(super) fn counts(rules: &[Rule], pane_ms: i64, within: &str, only: &str) -> Option<String> {
    let meant = meant(&rules.iter().collect::<Vec<_>>())?;
    let texts: Vec<String> = asked(rules).into_iter().map(expression).collect();
    let numbers: Vec<String> = (1..=texts.len()).map(|at| format!("t{at}")).collect();
    let texts: Vec<String> = texts.iter().zip(&numbers).map(|(text, name)| format!("{text} AS {name}")).collect();
    Some(format!(
        "SELECT intDiv(toUnixTimestamp64Milli(received_at), {pane_ms}) * {pane_ms} AS pane, count(), countIf({}), \
         min(toUInt64(lane) * 281474976710656 + raw_offset) AS first, {} FROM records \
         WHERE {within} AND {only} AND {meant} GROUP BY pane, lane, {} ORDER BY pane, first",
        late(),
        texts.join(", "),
        numbers.join(", "),
    ))
}

/// The single events that rules are about, in the order of receipt; none without a rule.
pub(super) fn events(rules: &[&Rule], within: &str, only: &str) -> Option<String> {
    let meant = meant(rules)?;
    let texts: Vec<String> = all().into_iter().map(expression).collect();
    Some(format!(
        "SELECT toUnixTimestamp64Milli(received_at) AS at, toUInt64(1), toUInt64(0), \
         toUInt64(lane) * 281474976710656 + raw_offset AS first, {} FROM records WHERE {within} AND {only} AND {meant} \
         ORDER BY at, first",
        texts.join(", "),
    ))
}

/// What messages name of these events.
pub(super) fn named(places: &[Place]) -> String {
    let (mut list, mut from, mut to) = (String::new(), i64::MAX, i64::MIN);
    for place in places {
        // Writing to a String cannot fail.
        let _ = write!(list, "{}({},{})", if list.is_empty() { "" } else { "," }, place.lane, place.offset);
        (from, to) = (from.min(place.received.start), to.max(place.received.end));
    }
    let texts: Vec<String> = all().into_iter().map(|name| format!("{} AS v_{name}", expression(name))).collect();
    let back: Vec<String> = all().into_iter().map(|name| format!("v_{name} AS `{name}`")).collect();
    format!(
        "SELECT lane, raw_offset, {} FROM (SELECT lane, raw_offset, {} FROM records WHERE outcome = 'event' AND {} \
         AND (lane, raw_offset) IN ({list}))",
        back.join(", "),
        texts.join(", "),
        super::within(&(from..to)),
    )
}

/// Rows that any of the rules may be about: all that match are among them. None without a rule.
fn meant(rules: &[&Rule]) -> Option<String> {
    // Duplicates, dead letters, bots and internal traffic meet no rule; leads and sales do, also those that a
    // server told of. Rules on delivery gaps are about all traffic.
    let (all, human): (Vec<&Rule>, Vec<&Rule>) =
        rules.iter().partition(|rule| rule.trigger().is_some_and(Trigger::is_of_all_traffic));
    let any =
        |rules: &[&Rule]| format!("({})", rules.iter().map(|rule| of_rule(rule)).collect::<Vec<_>>().join(" OR "));
    let human =
        (!human.is_empty()).then(|| format!("(counted = 'human' OR type IN ('lead', 'sale')) AND {}", any(&human)));
    let all = (!all.is_empty()).then(|| any(&all));
    let either = match (human, all) {
        (Some(human), Some(all)) => format!("({human} OR {all})"),
        (either, all) => either.or(all)?,
    };
    Some(format!("outcome = 'event' AND {either}"))
}

fn of_rule(rule: &Rule) -> String {
    let events: Vec<String> = rule.when().events().iter().map(of_pattern).collect();
    let mut all: Vec<String> = Vec::new();
    if !events.is_empty() {
        all.push(format!("({})", events.join(" OR ")));
    }
    all.extend(rule.when().conditions().iter().filter_map(of_condition));
    if all.is_empty() { "1".to_owned() } else { format!("({})", all.join(" AND ")) }
}

fn of_pattern(pattern: &EventPattern) -> String {
    match pattern {
        EventPattern::Visit => "type IN ('click', 'qr_scan')".to_owned(),
        EventPattern::Type(r#type) => format!("type = {}", quote(r#type.as_str())),
        EventPattern::Subtype(glob) => like("subtype", glob),
    }
}

/// A condition on one column; none where it is about several: the rule decides.
fn of_condition(condition: &Condition) -> Option<String> {
    if matches!(condition.field(), Field::Link | Field::Tag | Field::PartnerApproved) {
        return None;
    }
    let [name] = condition.field().columns() else { return None };
    let column = if *name == "country" { expression(name) } else { (*name).to_owned() };
    let any: Vec<String> = condition.patterns().iter().map(|glob| like(&column, glob)).collect();
    Some(format!("({})", any.join(" OR ")))
}

fn like(column: &str, glob: &Glob) -> String {
    if !glob.is_wild() {
        return format!("{column} = {}", quote(glob.as_str()));
    }
    let mut pattern = String::new();
    for letter in glob.as_str().chars() {
        match letter {
            '*' => pattern.push('%'),
            '%' | '_' | '\\' => pattern.extend(['\\', letter]),
            letter => pattern.push(letter),
        }
    }
    format!("{column} LIKE {}", quote(&pattern))
}

/// Rows of one key of a rule.
pub(super) fn key_condition(rule: &Rule, key: &str) -> String {
    if let Some(Trigger::FirstSeen(first)) = rule.trigger() {
        let columns = first.of.field().columns();
        let begins = first.of == Subject::CampaignPrefix;
        return match columns {
            [name] if begins => format!("startsWith({}, {})", expression(name), quote(key)),
            [name] => format!("{} = {}", expression(name), quote(key)),
            _ => "1".to_owned(),
        };
    }
    let key = quote(key);
    match rule.per().and_then(Per::field) {
        None => "1".to_owned(),
        Some(Field::Link) => {
            format!("if(slug = '' OR domain = '', link_id, concat(domain, '/', slug)) = {key}")
        }
        Some(field) => match field.columns() {
            [name] if *name != "extra" => format!("{} = {key}", expression(name)),
            _ => "1".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use rules::{BrokenRule, DriftRule, FirstSeenRule, GapRule, When};

    use super::*;

    #[test]
    fn every_column_that_a_rule_can_ask_about_is_read() {
        let names = all();
        for field in Field::ALL {
            assert!(field.columns().iter().all(|name| names.contains(name)), "{} is not read", field.name());
        }
        let per = Per::EVERY.iter().filter_map(|per| per.field());
        assert!(per.flat_map(Field::columns).all(|name| names.contains(name)));
    }

    #[test]
    fn every_field_comes_back_as_a_rule_reads_it() {
        for field in Field::ALL {
            let mut given = LinkEvent { partner: "dealfox".into(), ..LinkEvent::default() };
            field.set(&mut given, if *field == Field::PartnerApproved { "true" } else { "de" });
            let mut texts: Vec<String> = Vec::new();
            for name in all() {
                texts.push(match name {
                    "extra" => given.extra.get(TAGS).to_owned(),
                    "partner_approved" => given.partner_approved.to_string(),
                    _ => Field::ALL
                        .iter()
                        .find(|field| field.columns() == [name])
                        .map_or_else(String::new, |field| field.value(&given).into_owned()),
                });
            }
            for (name, text) in all().into_iter().zip(&mut texts) {
                match name {
                    "domain" => *text = given.domain.to_string(),
                    "slug" => *text = given.slug.to_string(),
                    "link_id" => *text = given.link_id.to_string(),
                    _ => {}
                }
            }
            let read = event(&all(), texts.iter().map(String::as_str));
            assert_eq!(field.value(&read), field.value(&given), "{}", field.name());
        }
    }

    #[test]
    fn a_condition_of_sql_holds_wherever_the_rule_does_and_quotes_what_it_is_given() {
        let when = When::new(
            [EventPattern::Visit, EventPattern::Subtype(Glob::new("link.*"))],
            [
                Condition::new(Field::Campaign, ["spring_*", "o'hara"]),
                Condition::new(Field::Tag, ["q4"]),
                Condition::new(Field::Country, ["de"]),
            ],
        );
        let rule = Rule::new("r", "me", when, Some(Trigger::Each));
        assert_eq!(
            of_rule(&rule),
            r"((subtype LIKE 'link.%' OR type IN ('click', 'qr_scan')) AND (campaign = 'o\'hara' OR campaign LIKE 'spring\\_%') AND (replaceAll(toString(country), '\0', '') = 'DE'))"
        );
        assert_eq!(asked(std::slice::from_ref(&rule)), ["type", "campaign", "country", "extra", "subtype"]);
        assert_eq!(meant(&[]), None);
    }

    /// What ClickHouse would say of a column of an event.
    fn text_of(event: &LinkEvent<'_>, name: &str) -> String {
        let of_catalogue = |line: &&str| {
            matches!(*line, "catalogue:expired" | "catalogue:deleted") || line.starts_with("catalogue:expected_host:")
        };
        match name {
            "type" => event.r#type.as_str().to_owned(),
            "counted" => event.counted.as_str().to_owned(),
            "subtype" => event.subtype.to_string(),
            "source" => event.source.to_string(),
            "domain" => event.domain.to_string(),
            "slug" => event.slug.to_string(),
            "error_kind" => event.error_kind.to_string(),
            "destination_host" => event.destination_host.to_string(),
            "redirect_status" => event.redirect_status.to_string(),
            "trace" => event.trace.iter().map(|line| &**line).filter(of_catalogue).collect::<Vec<_>>().join("\n"),
            COUNTER => event.extra.get(COUNTER).to_owned(),
            "late" => u8::from(rules::is_late(event)).to_string(),
            _ => String::new(),
        }
    }

    #[test]
    fn a_rule_that_tells_events_apart_sees_in_a_row_what_it_saw_in_the_event() {
        let broken =
            BrokenRule { at_least: 1, percent: 1, within_minutes: 1, over_after_minutes: 1, quiet_for_minutes: 1 };
        let gap = GapRule { share_basis_points: 500, within_hours: 24, at_least: 1 };
        let first = FirstSeenRule { of: Subject::Domain, learn_minutes: 0, known: Vec::new() };
        let triggers = [
            Trigger::Broken { broken, per: Per::Link },
            Trigger::Drift { drift: DriftRule { at_least: 1, quiet_for_minutes: 1 }, per: Per::Link },
            Trigger::Gap { gap, per: Per::Source },
            Trigger::FirstSeen(first),
        ];
        let click = LinkEvent {
            source: "dub".into(),
            domain: "go.example.com".into(),
            slug: "a".into(),
            destination_host: "www.shop.example.com".into(),
            redirect_status: 302,
            received_at: Millis(LATE_MS),
            event_time: Millis(LATE_MS),
            ..LinkEvent::default()
        };
        let mut counter = event::Map::default();
        counter.add(COUNTER, "12");
        let with = |line: &'static str| LinkEvent { trace: vec!["bot:none".into(), line.into()], ..click.clone() };
        let lifecycle = |subtype: &'static str| LinkEvent {
            r#type: EventType::Lifecycle,
            subtype: subtype.into(),
            ..click.clone()
        };
        let events = [
            click.clone(),
            with("catalogue:expired"),
            with("catalogue:deleted"),
            with("catalogue:expected_host:other.example.com"),
            LinkEvent { redirect_status: 404, ..click.clone() },
            LinkEvent { r#type: EventType::Error, error_kind: "malformed_target".into(), ..click.clone() },
            lifecycle("link.expired"),
            LinkEvent { source: event::CATALOGUE_SOURCE.into(), ..lifecycle("link.expired") },
            lifecycle("link.edited"),
            LinkEvent { extra: counter.clone(), counted: Counted::Bot, ..click.clone() },
            LinkEvent { extra: counter, event_time: Millis(0), ..click.clone() },
        ];
        for trigger in triggers {
            let rule = Rule::new("r", "me", When::default(), Some(trigger));
            let names = asked(std::slice::from_ref(&rule));
            let index = rules::RuleIndex::new(vec![rule.clone()]);
            for seen in &events {
                let texts: Vec<String> = names.iter().map(|name| text_of(seen, name)).collect();
                let read = event(&names, texts.iter().map(String::as_str));
                assert_eq!(rule.observe(&read, 0), rule.observe(seen, 0), "{names:?} of {seen:?}");
                // A bot's visit is not among the rows of other rules.
                if rule.trigger().is_some_and(Trigger::is_of_all_traffic) {
                    assert_eq!(index.matches(&read).count(), index.matches(seen).count());
                }
            }
        }
        let gap = Rule::new("r", "me", When::default(), Some(Trigger::Gap { gap, per: Per::Source }));
        let each = Rule::new("e", "me", When::default(), Some(Trigger::Each));
        assert_eq!(meant(&[&gap]).unwrap(), "outcome = 'event' AND (1)");
        let human = "outcome = 'event' AND ((counted = 'human' OR type IN ('lead', 'sale')) AND (1) OR (1))";
        assert_eq!(meant(&[&gap, &each]).unwrap(), human);
    }
}
