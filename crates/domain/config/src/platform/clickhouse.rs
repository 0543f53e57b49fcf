//! `[clickhouse]`.

use super::{http_address, http_addresses};
use crate::form::{Flag, Secret, TEXT, Text, Texts};
use crate::option::{Group, Opt};
use crate::secret::{Resolved, SecretText};
use crate::section::Section;

const URL: Opt<Text> = Opt::new(
    "url",
    Text("an http address, without a user in it"),
    "Its HTTP interface. Beside `shards`: where questions about all rows are asked.",
    "\"https://host:8443\"",
)
.otherwise("the first of `shards`; without them the local engine of `hookline up`");
const USER: Opt<Text> = Opt::new("user", TEXT, "The user.", "\"hookline\"").or("default");
const PASSWORD: Opt<Secret> =
    Opt::new("password", Secret, "That user's password.", "{ env = \"CLICKHOUSE_PASSWORD\" }").otherwise("none");
const CLUSTER: Opt<Text> =
    Opt::new("cluster", TEXT, "The cluster, as `remote_servers` of ClickHouse calls it: tables are created on it, as replicated ones; shards are read over it.", "\"main\"")
        .otherwise("one server, plain MergeTree");
const SHARDS: Opt<Texts> = Opt::new(
    "shards",
    Texts,
    "The HTTP interface of each shard, at least two, in an order that is never changed: the rows of lane *l* are on the shard *l* modulo their \
     number. Wants `cluster`.",
    "[\"https://ch-1:8443\", \"https://ch-2:8443\"]",
)
.otherwise("all rows are on one server, or on its replicas");
const REPLICATED: Opt<Flag> = Opt::new(
    "replicated",
    Flag,
    "Whether tables on `cluster` are replicated ones, made `ON CLUSTER`, whose inserts wait for a quorum. `false`: each of `shards` is one server.",
    "false",
)
.or(true);

pub(crate) static GROUP: Group = Group {
    title: "[clickhouse]",
    about: "Where ClickHouse is.",
    read_by: "report, notify, migrate, console and the tools that ask it",
    options: &[&URL, &USER, &PASSWORD, &CLUSTER, &SHARDS, &REPLICATED],
    others: &[],
};

/// `[clickhouse]`.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// Its HTTP address, with shards that of the first where none is named; none means the local engine of
    /// `hookline up`.
    pub url: Option<String>,
    /// The user, `default` when left out.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<SecretText>,
    /// The cluster that tables are created on, and that shards are read over; none: one server.
    pub cluster: Option<String>,
    /// The HTTP address of each shard; none: rows are not sharded.
    pub shards: Vec<String>,
    /// Whether tables on a cluster are replicated.
    pub replicated: bool,
}

pub(crate) fn read_clickhouse(section: Option<Section<'_>>) -> ClickHouse {
    let mut clickhouse = ClickHouse {
        url: None,
        user: USER.usual().to_owned(),
        password: None,
        cluster: None,
        shards: Vec::new(),
        replicated: REPLICATED.usual(),
    };
    let Some(section) = section else { return clickhouse };
    clickhouse.user = section.text(&USER).unwrap_or(clickhouse.user);
    clickhouse.password = section.secret(&PASSWORD).and_then(Resolved::value);
    clickhouse.cluster = section.text(&CLUSTER);
    clickhouse.replicated = section.flag(&REPLICATED).unwrap_or(clickhouse.replicated);
    clickhouse.shards = shards(&section, clickhouse.cluster.is_some());
    if !clickhouse.replicated
        && clickhouse.shards.is_empty()
        && let Some(node) = section.node(&REPLICATED)
        && !section.has(&SHARDS)
    {
        let hint = "leave it out, or name the shards";
        section.error(&node.at, "replicated = false is said of shards, and there are none", hint);
    }
    clickhouse.url = http_address(&section, &URL).or_else(|| clickhouse.shards.first().cloned());
    section.finish();
    clickhouse
}

fn shards(section: &Section<'_>, has_cluster: bool) -> Vec<String> {
    let Some(node) = section.node(&SHARDS) else { return Vec::new() };
    let shards = http_addresses(section, &SHARDS);
    let of = &section.title;
    if !has_cluster {
        let hint = "write cluster = \"…\", the name in remote_servers of each of them";
        section.error(&node.at, format!("shards of {of} are read over a cluster, and none is named"), hint);
    }
    if shards.len() == 1 {
        let hint = "leave shards out, and write its address as url";
        section.error(&node.at, format!("shards of {of} has one address: that is a server without shards"), hint);
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = shards.iter().find(|url| !seen.insert(url.as_str())) {
        section.error(&node.at, format!("shards of {of} names {twice:?} twice"), "write each shard once");
    }
    shards
}
