//! The naming standard beside what links are really called: what breaks it, whose links those are, and what links say
//! nothing of.

use enrich::{Form, Naming, Standard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use warehouse::Side;

use crate::{Error, Installation, Report, Result};

/// Values and links that are listed, those with the most events first.
const MOST: u32 = 50;
/// Values of a list that are shown.
const MOST_VALUES: usize = 30;

/// What is demanded, and what came.
#[derive(Debug, Clone, Serialize)]
pub struct NamingReport {
    /// Whether nothing breaks the standard.
    pub ok: bool,
    /// How far back was looked.
    pub days: u32,
    /// What is demanded; nothing where no standard is configured.
    pub standards: Vec<StandardWords>,
    /// Events of that time, and how many of them break it.
    pub totals: Totals,
    /// What breaks it, by owner and by what is broken.
    pub breaks: Vec<Breaks>,
    /// The links that break it, and those that say neither campaign nor kind.
    pub links: Vec<LinkRow>,
}

impl Report for NamingReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// What one field is to look like, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandardWords {
    /// The field.
    pub field: &'static str,
    /// What its values may look like.
    pub form: String,
    /// A good value; may be empty.
    pub example: String,
    /// How many other names of values are known.
    pub aliases: usize,
}

/// How much came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Those that break the standard.
    pub breaking: u64,
    /// Links.
    pub links: u64,
    /// Events whose link says no campaign.
    pub without_campaign: u64,
    /// Events whose link says no kind.
    pub without_kind: u64,
}

/// One thing that is broken, by one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Breaks {
    /// The owner of the links.
    pub owner: String,
    /// What is broken: `campaign:pattern` and so on.
    pub issue: String,
    /// Events.
    pub events: u64,
    /// Links.
    pub links: u64,
    /// One of the links.
    pub example: String,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LinkRow {
    /// Domain and slug.
    pub link: String,
    /// Its owner.
    pub owner: String,
    /// Its kind.
    pub kind: String,
    /// Its campaign.
    pub campaign: String,
    /// Its channel.
    pub channel: String,
    /// Events of it.
    pub events: u64,
    /// What it breaks.
    pub issues: Vec<String>,
}

/// Reads what came in the last `days`.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn read(installation: &Installation, days: u32) -> Result<NamingReport> {
    let warehouse = installation.connect().await?;
    let since = days.to_string();
    let ask = async |sql: String| warehouse.query(Side::Production, &sql, &[("days", &since)]).await;
    let recent = "events.received_at > now() - toIntervalDay({days:UInt32})";
    let totals = ask(format!(
        "SELECT count() AS events, countIf(notEmpty(naming_issues)) AS breaking, uniq(link_id) AS links, \
         countIf(campaign = '') AS without_campaign, countIf(link_kind = '') AS without_kind FROM events WHERE {recent}"
    ));
    let totals: Vec<Totals> = rows(totals.await?)?;
    let breaks = ask(format!(
        "SELECT events.owner::String AS owner, arrayJoin(events.naming_issues)::String AS issue, count() AS events, \
         uniq(events.link_id) AS links, any(concat(events.domain::String, '/', events.slug)) AS example \
         FROM events WHERE {recent} AND notEmpty(events.naming_issues) \
         GROUP BY owner, issue ORDER BY count() DESC, owner, issue LIMIT {MOST}"
    ));
    let breaks: Vec<Breaks> = rows(breaks.await?)?;
    // Columns are named with their table: what is selected has the same names.
    let links = ask(format!(
        "SELECT concat(events.domain::String, '/', events.slug) AS link, anyLast(events.owner)::String AS owner, \
         anyLast(events.link_kind)::String AS kind, anyLast(events.campaign)::String AS campaign, \
         anyLast(events.channel)::String AS channel, count() AS events, \
         arraySort(groupUniqArrayArray(8)(events.naming_issues))::Array(String) AS issues FROM events WHERE {recent} \
         AND (notEmpty(events.naming_issues) OR (events.campaign = '' AND events.link_kind = '')) AND events.slug != '' \
         GROUP BY link ORDER BY notEmpty(issues) DESC, count() DESC, link LIMIT {MOST}"
    ));
    let links: Vec<LinkRow> = rows(links.await?)?;
    let totals = totals.into_iter().next().unwrap_or_default();
    let standards = words(&installation.config.naming);
    Ok(NamingReport { ok: totals.breaking == 0, days, standards, totals, breaks, links })
}

fn rows<T: DeserializeOwned>(rows: Vec<serde_json::Map<String, Value>>) -> Result<Vec<T>> {
    let one = |row| serde_json::from_value(Value::Object(row)).map_err(|error| Error::Engine(Box::new(error)));
    rows.into_iter().map(one).collect()
}

/// The standard as a person reads it.
fn words(naming: &Naming) -> Vec<StandardWords> {
    let aliases = |field| naming.aliases.iter().find(|(of, _)| *of == field).map_or(0, |(_, aliases)| aliases.len());
    let one = |standard: &Standard| StandardWords {
        field: standard.field.name(),
        form: match &standard.form {
            Form::Pattern(regex) => format!("all of it matches {}", regex.as_str()),
            Form::OneOf(values) => {
                let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
                values.sort_unstable();
                let more = values.len().saturating_sub(MOST_VALUES);
                values.truncate(MOST_VALUES);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("one of {}{more}", values.join(", "))
            }
        },
        example: standard.example.clone(),
        aliases: aliases(standard.field),
    };
    naming.standards.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use config::{Config, Environment};

    use super::*;

    #[test]
    fn the_standard_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hookline.toml");
        let text = "version = 1\n[owner]\nme = { name = \"Me\" }\n[source.s]\nadapter = \"dub\"\nowner = \"me\"\n\
                    secrets = [{ id = \"a\", env = \"A\" }]\n[naming]\ncampaign = { pattern = \"[0-9]{4}q[1-4]-.*\", example = \"2026q4-x\" }\n\
                    channel = [\"social\", \"email\"]\nsame_as = { channel = { \"e-mail\" = \"email\" } }\n";
        std::fs::write(&file, text).unwrap();
        let environment = Environment::new([("A", "x")], jiff::Timestamp::UNIX_EPOCH);
        let config = Config::load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let mut words = words(&config.naming);
        words.sort_by_key(|one| one.field);
        assert_eq!((words[0].field, words[0].example.as_str(), words[0].aliases), ("campaign", "2026q4-x", 0));
        assert!(words[0].form.starts_with("all of it matches ") && words[0].form.contains("q[1-4]"), "{:?}", words[0]);
        assert_eq!((words[1].field, words[1].form.as_str(), words[1].aliases), ("channel", "one of email, social", 1));
    }
}
