//! `[clickhouse]`.

use super::http_address;
use crate::form::{Secret, TEXT, Text};
use crate::option::{Group, Opt};
use crate::secret::{Resolved, SecretText};
use crate::section::Section;

const URL: Opt<Text> =
    Opt::new("url", Text("an http address, without a user in it"), "Its HTTP interface.", "\"https://host:8443\"")
        .otherwise("the local engine of `hookline up`");
const USER: Opt<Text> = Opt::new("user", TEXT, "The user.", "\"hookline\"").or("default");
const PASSWORD: Opt<Secret> =
    Opt::new("password", Secret, "That user's password.", "{ env = \"CLICKHOUSE_PASSWORD\" }").otherwise("none");
const CLUSTER: Opt<Text> =
    Opt::new("cluster", TEXT, "The cluster that tables are created on, as replicated ones.", "\"main\"")
        .otherwise("one server, plain MergeTree");

pub(crate) static GROUP: Group = Group {
    title: "[clickhouse]",
    about: "Where ClickHouse is.",
    read_by: "report, notify, migrate, console and the tools that ask it",
    options: &[&URL, &USER, &PASSWORD, &CLUSTER],
    others: &[],
};

/// `[clickhouse]`.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// Its HTTP address; none means the local engine of `hookline up`.
    pub url: Option<String>,
    /// The user, `default` when left out.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<SecretText>,
    /// The cluster that tables are created on; none: one server.
    pub cluster: Option<String>,
}

pub(crate) fn read_clickhouse(section: Option<Section<'_>>) -> ClickHouse {
    let mut clickhouse = ClickHouse { url: None, user: USER.usual().to_owned(), password: None, cluster: None };
    let Some(section) = section else { return clickhouse };
    clickhouse.url = http_address(&section, &URL);
    clickhouse.user = section.text(&USER).unwrap_or(clickhouse.user);
    clickhouse.password = section.secret(&PASSWORD).and_then(Resolved::value);
    clickhouse.cluster = section.text(&CLUSTER);
    section.finish();
    clickhouse
}
