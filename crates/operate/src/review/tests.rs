use config::{Config, Environment};

use super::*;

fn config() -> Config {
    let toml = "version = 1\n[owner]\nme = { name = \"Me\" }\n[source.dub]\nadapter = \"dub\"\nowner = \"me\"\n\
        secrets = [{ id = \"old\", env = \"A\" }, { id = \"new\", env = \"B\", until = 2025-12-01 }]\n\
        [source.quiet]\nadapter = \"dub\"\nowner = \"me\"\nsecrets = [{ id = \"a\", env = \"A\" }]\n\
        [destination.log]\nkind = \"csv\"\nowner = \"me\"\npath = \"a.csv\"\n[destination.unused]\nkind = \"csv\"\nowner = \"me\"\npath = \"b.csv\"\n\
        [rule.fires]\nowner = \"me\"\nwhen = { event = \"error\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n\
        [rule.never]\nowner = \"me\"\nwhen = { event = \"visit\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hookline.toml");
    std::fs::write(&path, toml).unwrap();
    let environment = Environment::new([("A", "hunter2hunter2"), ("B", "hunter3hunter3")], at());
    Config::load(&path, &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

fn at() -> Timestamp {
    "2025-11-25T12:00:00Z".parse().unwrap()
}

fn measured() -> Measured {
    let day = DAY;
    let seen = |kind: &str, subtype: &str| TypeUse {
        source: "dub".into(),
        r#type: kind.into(),
        subtype: subtype.into(),
        events: 9,
    };
    Measured {
        types: vec![seen("click", ""), seen("error", "destination_unavailable"), seen("lifecycle", "link.created")],
        extra: vec![("dub".into(), "continent".into(), 9)],
        outcomes: vec![Outcomes {
            source: "dub".into(),
            records: 100,
            duplicates: 10,
            dead_letters: 2,
            longest_delay_ms: 2 * day,
        }],
        secrets: vec![SecretUse {
            source: "dub".into(),
            secret_id: "old".into(),
            first_used: at().as_millisecond() - 400 * day,
        }],
        rules: vec![RuleUse {
            rule: "fires".into(),
            alerts: 12,
            messages: 2,
            silenced: 2,
            acknowledged: 0,
            ended: 11,
            ended_soon: 6,
        }],
        destinations: vec![DestinationUse {
            destination: "log".into(),
            delivered: 3,
            failed: 1,
            error: "disk full".into(),
        }],
        personal: vec![PersonalData { column: "slug".into(), hits: 1, values: 7, sources: "dub".into() }],
        looked_at: 7,
        columns: 1,
    }
}

#[test]
fn every_point_of_the_checklist_says_what_is_to_be_done() {
    let report = judge(&config(), &measured(), at(), 90);
    assert!(!report.ok);
    let found = |title: &str| -> Vec<&str> {
        let point = report.points.iter().find(|point| point.title == title).unwrap();
        point.todo.iter().map(|todo| todo.found.as_str()).collect()
    };
    assert_eq!(
        found("Event types"),
        ["source quiet has sent nothing", "9 events link.created of source dub are used by no report and no rule"]
    );
    assert!(found("Fields that are sent and not used")[0].contains("continent"));
    assert_eq!(
        found("Rules and their noise"),
        [
            "all 2 messages of rule fires were silenced",
            "6 of 11 alerts of rule fires were over within ten minutes",
            "rule never did not fire in 90 days"
        ]
    );
    let noise = report.points.iter().find(|point| point.title == "Rules and their noise").unwrap();
    assert!(noise.says.contains("The loudest is fires: 2 messages, 2 of them held back"), "{}", noise.says);
    assert_eq!(
        found("Destinations and failed deliveries"),
        ["1 of 4 messages to log failed: disk full", "no rule sends to destination unused"]
    );
    assert_eq!(
        found("Personal data in stored columns"),
        ["1 of 7 different values of column slug look like personal data (dub)"]
    );
    assert_eq!(
        found("Retries and duplicates"),
        [
            "10.0 % of the records of source dub are duplicates",
            "2.0 % of the records of source dub could not be read",
            "a duplicate of source dub came 48 h after the first, and its window is 72 h",
        ]
    );
    assert_eq!(
        found("Secrets"),
        [
            "secret old of source dub is in use for 400 days",
            "secret new of source dub signed nothing",
            "secret new of source dub ends in 5 days",
        ]
    );
    assert_eq!(found("Owners").len(), 2);
    assert_eq!(found("The handbook"), ["no handbook is stored"]);
    assert!(report.points.iter().flat_map(|point| &point.todo).all(|todo| !todo.todo.is_empty()));
}
