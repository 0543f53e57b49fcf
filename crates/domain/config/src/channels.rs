//! `[channels]`: which channel a medium, a source or a referring host means here. It goes before the tables that are built in.

use std::collections::HashMap;

use enrich::Channels;

use crate::document::Value;
use crate::option::{Group, Opt};
use crate::schema::{Json, matching, object, text};
use crate::section::Section;
use crate::table::Own;

const fn names(key: &'static str, about: &'static str, example: &'static str) -> Opt<Own> {
    Opt::new(key, Own::new(schema, "a table: a channel for each name"), about, example)
}

const MEDIUM: Opt<Own> = names("medium", "Channels of values of `utm_medium`.", "{ \"partner mailing\" = \"email\" }");
const SOURCE: Opt<Own> = names("source", "Channels of values of `utm_source`.", "{ acme-podcast = \"audio\" }");
const REFERRER: Opt<Own> = names("referrer", "Channels of referring hosts.", "{ \"wiki.example.com\" = \"chat\" }");

/// `[channels]`.
pub(crate) static GROUP: Group = Group {
    title: "[channels]",
    about: "Which channel a medium, a source or a referring host means here. It goes before the tables that are built in: \
            docs/labels.md. A channel has small letters, digits, `-` and `_`.",
    read_by: "process",
    options: &[&MEDIUM, &SOURCE, &REFERRER],
    others: &[],
};

fn schema() -> Json {
    object([("type", text("object")), ("additionalProperties", matching("^[a-z0-9_-]{1,40}$"))])
}

pub(crate) fn read(section: Option<Section<'_>>) -> Channels {
    let Some(section) = section else { return Channels::default() };
    let channels = Channels {
        medium: table(&section, &MEDIUM, enrich::fold),
        source: table(&section, &SOURCE, enrich::fold),
        referrer: table(&section, &REFERRER, host),
    };
    section.finish();
    channels
}

fn host(text: &str) -> String {
    text.trim().trim_start_matches("www.").trim_end_matches('.').to_ascii_lowercase()
}

/// One table of names → channels. Two spellings of one name are an error: only one of them could count.
fn table(section: &Section<'_>, opt: &Opt<Own>, fold: impl Fn(&str) -> String) -> HashMap<String, String> {
    let mut channels = HashMap::new();
    let Some(entries) = section.section(opt) else { return channels };
    for entry in entries.entries() {
        let name = fold(&entry.key);
        let channel = match &entry.node.value {
            Value::Text(channel) if is_channel(channel) => channel.clone(),
            Value::Text(channel) => {
                let hint = "a channel has small letters, digits and '-', as in \"email\" or \"in-store\"";
                entries.error(&entry.node.at, format!("{:?} is not the name of a channel", channel), hint);
                continue;
            }
            other => {
                entries.error(
                    &entry.node.at,
                    format!("{} is {}, not a text", entry.key, other.kind()),
                    "name the channel",
                );
                continue;
            }
        };
        if name.is_empty() {
            entries.error(&entry.at, "a name without a letter or a digit", "name what the channel is for");
        } else if channels.insert(name, channel).is_some() {
            let key = opt.key;
            let message =
                format!("{} stands twice in channels.{key}: case, blanks, _ and - make no difference", entry.key);
            entries.error(&entry.at, message, "remove one of them");
        }
    }
    channels
}

fn is_channel(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= 40 && name.bytes().all(plain)
}
