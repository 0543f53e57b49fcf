//! The arrows of ARCHITECTURE.md, held against what cargo knows.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What only one room may name.
const SOLE_OWNER: [(&str, &str); 2] = [("rdkafka", "kafka"), ("clickhouse", "warehouse")];

fn workspace() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).no_deps().exec().unwrap()
}

/// The name in code: packages carry the prefix `hookline-`, code does not.
fn short(package: &str) -> String {
    package.strip_prefix("hookline-").unwrap_or(package).to_owned()
}

/// Each workspace crate and what it depends on, test dependencies left out.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let normal = |package: &Package| {
        let kept = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        kept.map(|dependency| short(&dependency.name)).collect()
    };
    workspace().packages.iter().map(|package| (short(&package.name), normal(package))).collect()
}

/// The crates of one layer, which is a folder of `crates/`.
fn layer(folder: &str) -> Vec<String> {
    let place = format!("/crates/{folder}/");
    let packages = workspace().packages;
    let of_layer = packages.iter().filter(|package| package.manifest_path.as_str().contains(&place));
    let crates: Vec<String> = of_layer.map(|package| short(&package.name)).collect();
    assert!(crates.len() > 3, "crates/{folder} has {crates:?}");
    crates
}

fn assert_none<S: AsRef<str>>(of: &str, forbidden: &[S], arrows: &BTreeMap<String, BTreeSet<String>>, why: &str) {
    for name in forbidden {
        let name = name.as_ref();
        assert!(!arrows[of].contains(name), "crates/{of} depends on {name}: {why}");
    }
}

#[test]
fn the_domain_is_pure() {
    let arrows = arrows();
    let doers = ["tokio", "rdkafka", "clickhouse", "axum", "hyper", "reqwest", "prometheus", "tracing-subscriber"];
    for pure in layer("domain") {
        assert_none(&pure, &doers, &arrows, "the domain decides and never does");
        assert_none(&pure, &layer("io"), &arrows, "the domain is below the engines");
        assert_none(&pure, &layer("services"), &arrows, "the domain is below the services");
    }
}

#[test]
fn what_reads_the_configuration_is_above_what_decides() {
    for pure in layer("domain") {
        assert_none(&pure, &["config"], &arrows(), "decisions take their settings as arguments");
    }
}

#[test]
fn engines_are_below_services() {
    for io in layer("io") {
        assert_none(&io, &layer("services"), &arrows(), "services stand on it");
    }
}

#[test]
fn no_service_knows_another() {
    let arrows = arrows();
    for service in layer("services") {
        assert_none(&service, &layer("services"), &arrows, "services meet on topics only");
        let above = ["hookline", "operate", "console", "local", "traffic", "testkit", "measure", "fuzz-targets"];
        assert_none(&service, &above, &arrows, "a service runs without them");
    }
}

#[test]
fn each_engine_is_named_by_one_crate_only() {
    for (name, dependencies) in arrows() {
        for (library, owner) in SOLE_OWNER {
            let allowed = name == owner || name == "tests";
            assert!(
                allowed || !dependencies.contains(library),
                "crates/{name} names {library}; only crates/{owner} may"
            );
        }
    }
}

#[test]
fn ingest_knows_nothing_of_rules_or_clickhouse() {
    assert_none("ingest", &["warehouse", "rules", "enrich", "notification", "dedupe"], &arrows(), "ingest is thin");
}

/// Each file of code below a folder of `crates/` by its name, without the tests within it.
fn shipped(folder: &str) -> BTreeMap<String, String> {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut files = BTreeMap::new();
    let mut to_visit = vec![crates.join(folder)];
    while let Some(path) = to_visit.pop() {
        if path.is_dir() {
            to_visit.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let name = path.strip_prefix(&crates).unwrap().to_string_lossy().into_owned();
            files.insert(name, shipped.to_owned());
        }
    }
    files
}

#[test]
fn the_domain_is_told_the_time() {
    let clocks = ["Timestamp::now(", "Zoned::now(", "SystemTime::now(", "Instant::now("];
    let looks = |(name, text): &(String, String)| {
        let is_test = name.contains("/tests/") || name.ends_with("tests.rs") || name.contains("/benches/");
        !is_test && name.contains("/src/") && clocks.iter().any(|clock| text.contains(clock))
    };
    let found: Vec<String> = shipped("domain").into_iter().filter(looks).map(|(name, _)| name).collect();
    assert_eq!(found, ["domain/config/src/environment.rs"], "times come in as arguments");
}

/// An insert takes a permit: these look at a proof of the fence before they give one.
#[test]
fn only_what_has_proven_its_fence_gives_a_permit_to_insert() {
    let (mut permits, mut assumed) = (BTreeSet::new(), BTreeSet::new());
    for (name, shipped) in shipped("") {
        if shipped.contains("InsertPermit for ") {
            permits.insert(name.clone());
        }
        if shipped.contains("Proof::in_model(") && !name.contains("/tests/") {
            assumed.insert(name);
        }
    }
    let known = ["operate/src/replay/backfill.rs", "services/report/src/standing.rs"].map(str::to_owned);
    assert_eq!(permits, BTreeSet::from(known));
    assert_eq!(assumed, BTreeSet::new(), "a proof that is assumed is for models alone");
}

#[test]
fn what_an_operator_does_is_a_library_that_neither_parses_nor_prints() {
    let above = ["clap", "anyhow", "hookline", "console", "local", "traffic", "testkit", "measure"];
    assert_none("operate", &above, &arrows(), "tools return reports and typed errors; the command line renders them");
}

#[test]
fn what_is_for_tests_alone_is_not_shipped() {
    let arrows = arrows();
    let mut shipped = BTreeSet::from(["hookline".to_owned()]);
    let mut to_visit = vec!["hookline".to_owned()];
    while let Some(name) = to_visit.pop() {
        for used in arrows.get(&name).into_iter().flatten().filter(|used| arrows.contains_key(*used)) {
            if shipped.insert(used.clone()) {
                to_visit.push(used.clone());
            }
        }
    }
    assert!(shipped.contains("traffic") && shipped.contains("kafka"), "the binary is made of {shipped:?}");
    for name in ["testkit", "measure", "fuzz-targets", "tests"] {
        assert!(!shipped.contains(name), "the binary is made of {shipped:?}, and {name} is for tests alone");
    }
}

#[test]
fn the_engines_of_one_machine_are_known_to_the_binary_only() {
    let arrows = arrows();
    let ours = |name: &&String| arrows.contains_key(*name);
    assert_eq!(arrows["chdb-http"].iter().filter(ours).count(), 0, "crates/chdb-http stands on no crate of ours");
    for (name, dependencies) in arrows.clone() {
        let allowed = name == "local";
        assert!(allowed || !dependencies.contains("chdb-http"), "crates/{name} depends on crates/chdb-http");
        let allowed = ["hookline", "testkit", "tests", "local"].contains(&name.as_str());
        assert!(allowed || !dependencies.contains("local"), "crates/{name} depends on crates/local");
    }
}

/// What starts a thread or a task, how many times, and how a panic or a stand-still of it is seen.
const STARTED: [(&str, usize, &str); 27] = [
    ("cli/src/commands/console.rs", 1, "the listener of metrics has a beat"),
    ("cli/src/reload.rs", 3, "loading and requests have beats; a hangup is handed on by two lines that wait for it"),
    ("cli/src/services.rs", 1, "the listener of metrics has a beat"),
    ("cli/src/up.rs", 3, "the canary has a beat; the console and the demo are waited for"),
    ("console/src/pages/discard.rs", 1, "it is waited for"),
    ("console/src/redrives.rs", 2, "a redrive is waited for, and its panic is its outcome"),
    ("domain/dedupe/src/store/beside.rs", 2, "its lane joins it, and panics with it; the other only frees memory"),
    ("io/kafka/src/edge/mod.rs", 1, "the threads of the edge producer have beats"),
    ("io/kafka/src/lane/bounded.rs", 1, "its lane waits for each call, with a bound"),
    ("io/kafka/src/watch/mod.rs", 1, "the watch over lanes has a beat"),
    ("io/runtime/src/beats.rs", 1, "the watchdog: /livez looks whether it has ended"),
    ("io/runtime/src/disposal.rs", 1, "what does not end is counted"),
    ("io/runtime/src/lanes.rs", 1, "each lane has a beat"),
    ("io/runtime/src/shutdown.rs", 1, "a signal is handed on by two lines that wait for it"),
    ("io/traces/src/lib.rs", 1, "the sender of traces has a beat"),
    (
        "local/src/supervise.rs",
        3,
        "an engine whose task ends is given up, and `up` with it; what reads its log ends with it",
    ),
    ("operate/src/status/services.rs", 1, "it is waited for"),
    ("services/ingest/src/body.rs", 1, "it ends after a bounded time"),
    ("services/ingest/src/lib.rs", 2, "readiness and the certificate have beats"),
    ("services/ingest/src/switches.rs", 1, "the switches have a beat"),
    ("services/notify/src/live.rs", 1, "the switches have a beat"),
    ("services/notify/src/scheduled.rs", 1, "the lane waits for its answer, and asks again without one"),
    ("services/notify/src/worker.rs", 1, "the lane ends with a worker that has ended; what it waits for is bounded"),
    ("services/process/src/catalogue/follow.rs", 1, "it has a beat"),
    ("services/process/src/catalogue/keeper.rs", 1, "it has a beat"),
    ("services/process/src/references.rs", 1, "it has a beat"),
    ("services/report/src/lib.rs", 1, "the keeper has a beat"),
];

/// A new thread or task that lives long registers a beat (`runtime::beats`), or its owner looks at its handle.
#[test]
fn each_thread_and_task_has_its_watch() {
    let starts = ["thread::Builder::new()", "thread::spawn(", "tokio::spawn(", "handle.spawn(", ".spawn_on("];
    let is_for_tests = |name: &str| {
        name.contains("tests") || ["testkit/", "measure/", "chdb-http/"].iter().any(|folder| name.starts_with(folder))
    };
    let mut found = Vec::new();
    for (name, text) in shipped("").into_iter().filter(|(name, _)| name.contains("/src/") && !is_for_tests(name)) {
        let count: usize = starts.iter().map(|start| text.matches(start).count()).sum();
        if count > 0 {
            found.push((name, count));
        }
    }
    let known: Vec<(String, usize)> = STARTED.iter().map(|(name, count, _)| ((*name).to_owned(), *count)).collect();
    assert_eq!(found, known, "say in STARTED how each is watched");
}
