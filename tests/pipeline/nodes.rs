//! Several nodes of ClickHouse's own server code that know of each other: shards of a cluster.
//!
//! Each is `tests/clickhouse_stand_in.py`, which runs `clickhouse local` out of the library that `up` fetches, with
//! ClickHouse's own HTTP and native listeners. Not there: `clickhouse server` itself, replicas, `ON CLUSTER`, Keeper.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use testkit::clickhouse::Asker;
use testkit::house::{binary, free_address};

use crate::harness::{ROOT, SOON, until};

/// The user of Hookline on the nodes, and its password.
pub(crate) const OWNER: (&str, &str) = ("hookline", "of the nodes");
/// Who may do everything there.
pub(crate) const OPERATOR: (&str, &str) = ("operator", "of everything");
/// Who reads.
pub(crate) const READER: (&str, &str) = ("analyst", "reads");

/// What Hookline's user may, on each of its databases. With [`BESIDE`] it is all that it may; docs/operations.md has
/// the list ("Rights in ClickHouse").
pub(crate) const RIGHTS: [&str; 12] = [
    "CREATE DATABASE",
    "CREATE TABLE",
    "DROP TABLE",
    "SELECT",
    "INSERT",
    "ALTER ADD COLUMN",
    "ALTER MODIFY COLUMN",
    "ALTER COMMENT COLUMN",
    "ALTER CLEAR COLUMN",
    "ALTER ADD INDEX",
    "ALTER TTL",
    "ALTER DELETE",
];
/// What it may besides. `Distributed` is for shards.
pub(crate) const BESIDE: [&str; 7] = [
    "TABLE ENGINE ON MergeTree",
    "TABLE ENGINE ON ReplacingMergeTree",
    "TABLE ENGINE ON Distributed",
    "SELECT ON system.processes",
    "SELECT ON system.mutations",
    "SELECT ON system.parts_columns",
    "SELECT ON system.merge_tree_settings",
];

/// All rights but one, as statements.
fn rights(left_out: &str) -> Vec<String> {
    let of = |database: &str| {
        let each: Vec<&str> = RIGHTS.into_iter().filter(|right| *right != left_out).collect();
        format!("GRANT {} ON {database}.*", each.join(", "))
    };
    let databases = DATABASES.map(of);
    let beside = BESIDE.into_iter().filter(|right| *right != left_out).map(|right| format!("GRANT {right}"));
    databases.into_iter().chain(beside).collect()
}

const DATABASES: [&str; 4] = ["hookline", "hookline_test", "fresh", "fresh_test"];

/// The user of the nodes that has all rights but this one; its password is the owner's.
pub(crate) fn without(right: &str) -> String {
    let name: String =
        right.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    format!("without_{name}")
}

/// The nodes of a cluster called `main`, one a shard.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
}

struct Node {
    folder: PathBuf,
    /// Its HTTP interface.
    url: String,
    process: Option<Child>,
}

impl Nodes {
    /// Writes the files of `count` nodes and starts them. The thread that asks must live as long as they.
    pub(crate) async fn start(folder: &Path, count: usize) -> Self {
        let addresses: Vec<[SocketAddr; 2]> =
            (0..count).map(|_| [0; 2].map(|_| free_address().unwrap().parse().unwrap())).collect();
        let shards: String = addresses.iter().map(|[_, native]| shard(*native)).collect();
        let mut nodes = Vec::new();
        for (number, [http, native]) in (1..).zip(&addresses) {
            let folder = folder.join(format!("node-{number}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("users.xml"), users()).unwrap();
            std::fs::write(folder.join("server.xml"), config(&folder, *http, *native, &shards)).unwrap();
            nodes.push(Node { folder, url: format!("http://{http}"), process: None });
        }
        let mut this = Self { nodes };
        for number in 1..=count {
            this.begin(number);
        }
        for number in 1..=count {
            this.answers(number).await;
        }
        this
    }

    fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number - 1]
    }

    /// The address of each, in the order of the shards.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// One of them, as a user asks it.
    pub(crate) fn asked_by(&self, number: usize, (user, password): (&str, &str)) -> Asker {
        Asker::new(&self.nodes[number - 1].url, user, password).unwrap()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut process = self.node(number).process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts a node again that was killed, and waits until it answers.
    pub(crate) async fn start_again(&mut self, number: usize) {
        self.begin(number);
        self.answers(number).await;
    }

    fn begin(&mut self, number: usize) {
        let node = self.node(number);
        let log = File::options().create(true).append(true).open(node.folder.join("log")).unwrap();
        let mut command = Command::new(binary().unwrap());
        // On a leash: nothing outlives the test.
        command.args(["engine-exec", &std::process::id().to_string()]);
        command.arg(Path::new(ROOT).join("tests/clickhouse_stand_in.py")).arg("server");
        command.arg(format!("--config-file={}", node.folder.join("server.xml").display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        node.process = Some(command.spawn().unwrap());
    }

    async fn answers(&mut self, number: usize) {
        let asker = self.asked_by(number, OPERATOR);
        let answers = || async { asker.number("SELECT 1").await.ok() };
        let answered = until(SOON, "a node of ClickHouse answers", answers).await;
        if let Err(error) = answered {
            let log = std::fs::read_to_string(self.node(number).folder.join("log")).unwrap_or_default();
            panic!("{error}; its log:\n{log}");
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

fn shard(native: SocketAddr) -> String {
    let (host, port, (user, password)) = (native.ip(), native.port(), OWNER);
    format!(
        "<shard><internal_replication>true</internal_replication><replica><host>{host}</host><port>{port}</port>\
         <user>{user}</user><password>{password}</password></replica></shard>"
    )
}

fn config(folder: &Path, http: SocketAddr, native: SocketAddr, shards: &str) -> String {
    let (folder, host) = (folder.display(), http.ip());
    format!(
        "<clickhouse>
    <logger><level>warning</level><console>true</console></logger>
    <timezone>UTC</timezone>
    <listen_host>{host}</listen_host>
    <http_port>{}</http_port>
    <tcp_port>{}</tcp_port>
    <path>{folder}/data/</path>
    <tmp_path>{folder}/data/tmp/</tmp_path>
    <user_files_path>{folder}/data/user_files/</user_files_path>
    <format_schema_path>{folder}/data/format_schemas/</format_schema_path>
    <user_directories><users_xml><path>{folder}/users.xml</path></users_xml></user_directories>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <remote_servers><main>{shards}</main></remote_servers>
    <!-- As the file of a server has them. -->
    <access_control_improvements>
        <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
        <table_engines_require_grant>true</table_engines_require_grant>
    </access_control_improvements>
    <max_server_memory_usage>1500000000</max_server_memory_usage>
    <mark_cache_size>33554432</mark_cache_size>
    <max_thread_pool_size>1000</max_thread_pool_size>
    <max_thread_pool_free_size>8</max_thread_pool_free_size>
    <background_pool_size>2</background_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <merge_tree>
        <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
</clickhouse>
",
        http.port(),
        native.port(),
    )
}

fn users() -> String {
    let user = |name: &str, password: &str, profile: &str, grants: &[String]| {
        let each: String = grants.iter().map(|grant| format!("<query>{grant}</query>")).collect();
        let grants = if each.is_empty() { each } else { format!("<grants>{each}</grants>") };
        format!(
            "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>{profile}</profile>\
             <quota>default</quota>{grants}</{name}>\n"
        )
    };
    let reads = ["GRANT SELECT, SHOW DATABASES, SHOW TABLES, SHOW COLUMNS ON *.*".to_owned()];
    let less = RIGHTS.into_iter().chain(BESIDE).map(|right| user(&without(right), OWNER.1, "default", &rights(right)));
    format!(
        "<clickhouse>
    <profiles><default></default><reader><readonly>2</readonly></reader></profiles>
    <quotas><default></default></quotas>
    <users>
{}{}{}{}{}    </users>
</clickhouse>
",
        user("default", "", "reader", &reads),
        user(OWNER.0, OWNER.1, "default", &rights("")),
        user(OPERATOR.0, OPERATOR.1, "default", &[]),
        user(READER.0, READER.1, "reader", &reads),
        less.collect::<String>(),
    )
}
