//! `[clickhouse]`: one server, or shards.

use crate::problems::expect;
use crate::{base, sound};

#[test]
fn shards_of_clickhouse_have_a_cluster_and_are_several() {
    let two = "shards = [\"http://a:8123\", \"http://b:8123/\"]\n";
    let config = sound(&format!("{}[clickhouse]\n{two}cluster = \"main\"\nreplicated = false\n", base()));
    assert_eq!(config.clickhouse.shards, ["http://a:8123", "http://b:8123"]);
    assert_eq!(config.clickhouse.url.as_deref(), Some("http://a:8123"), "questions go to the first");
    assert!(!config.clickhouse.replicated);
    let config = sound(&format!("{}[clickhouse]\nurl = \"http://c\"\n{two}cluster = \"main\"\n", base()));
    assert_eq!((config.clickhouse.url.as_deref(), config.clickhouse.replicated), (Some("http://c"), true));
    expect(
        &format!("[clickhouse]\n{two}"),
        &[
            "hookline.toml:13:10: shards of [clickhouse] are read over a cluster, and none is named; write cluster = \"…\", the name in \
           remote_servers of each of them",
        ],
    );
    expect(
        "[clickhouse]\ncluster = \"main\"\nshards = [\"http://a\"]\n",
        &[
            "hookline.toml:14:10: shards of [clickhouse] has one address: that is a server without shards; leave shards out, and write \
           its address as url",
        ],
    );
    expect(
        "[clickhouse]\ncluster = \"main\"\nshards = [\"http://a\", \"http://a/\", \"b:1\"]\n",
        &[
            "hookline.toml:14:10: shards of [clickhouse] names \"http://a\" twice; write each shard once",
            "hookline.toml:14:36: shards \"b:1\" is not an http address; write [\"https://ch-1:8443\", \"https://ch-2:8443\"]",
        ],
    );
    expect(
        "[clickhouse]\ncluster = \"main\"\nreplicated = false\n",
        &[
            "hookline.toml:14:14: replicated = false is said of shards, and there are none; leave it out, or name the shards",
        ],
    );
}
