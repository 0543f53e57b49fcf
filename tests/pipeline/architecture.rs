//! The arrows of ARCHITECTURE.md, held against what cargo knows.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates that decide and never do: no clock, no socket, no engine.
const PURE: [&str; 8] = ["event", "signature", "adapter", "dedupe", "enrich", "route", "detect", "bundle"];
/// Crates that run as services. None knows another.
const SERVICES: [&str; 5] = ["ingest", "process", "detector", "report", "notifier"];
/// What only one room may name.
const SOLE_OWNER: [(&str, &str); 2] = [("rdkafka", "kafka"), ("clickhouse", "warehouse")];

/// Each workspace crate and what it depends on, test dependencies left out.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let normal = |package: &cargo_metadata::Package| {
        let kept = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        kept.map(|dependency| dependency.name.clone()).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), normal(package))).collect()
}

fn assert_none(of: &str, forbidden: &[&str], arrows: &BTreeMap<String, BTreeSet<String>>, why: &str) {
    for name in forbidden {
        assert!(!arrows[of].contains(*name), "crates/{of} depends on {name}: {why}");
    }
}

#[test]
fn pure_crates_know_no_runtime_and_no_engine() {
    let arrows = arrows();
    let doers =
        ["tokio", "rdkafka", "clickhouse", "axum", "reqwest", "kafka", "warehouse", "registry", "runtime", "config"];
    for pure in PURE {
        assert_none(pure, &doers, &arrows, "it is a pure crate");
        assert_none(pure, &SERVICES, &arrows, "it is a pure crate");
    }
}

#[test]
fn no_service_knows_another() {
    let arrows = arrows();
    for service in SERVICES {
        assert_none(service, &SERVICES, &arrows, "services meet on topics only");
        assert_none(service, &["hookline", "local", "testkit", "hostile"], &arrows, "a service runs without them");
    }
}

#[test]
fn each_engine_is_named_by_one_crate_only() {
    for (name, dependencies) in arrows() {
        for (library, owner) in SOLE_OWNER {
            let allowed = name == owner || name == "hookline-tests";
            assert!(
                allowed || !dependencies.contains(library),
                "crates/{name} names {library}; only crates/{owner} may"
            );
        }
    }
}

#[test]
fn ingest_knows_nothing_of_rules_or_clickhouse() {
    assert_none("ingest", &["warehouse", "route", "detect", "enrich", "bundle", "dedupe"], &arrows(), "ingest is thin");
}

#[test]
fn the_engines_of_one_machine_are_known_to_the_binary_only() {
    for (name, dependencies) in arrows() {
        let allowed = ["hookline", "testkit", "hookline-tests", "local"].contains(&name.as_str());
        assert!(allowed || !dependencies.contains("local"), "crates/{name} depends on crates/local");
    }
}
