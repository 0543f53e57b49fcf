//! How right the referrer map is, measured against Matomo's searchengine-and-social-list (CC0), which is not part of the
//! product. `HOOKLINE_TEST_ORACLES` names the folder of its YAML files; without it the measurement is left out, and says so.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a test that prints its table")]

use event::{EventType, LinkEvent};
use hookline_enrich::{Enricher, Hints, Settings};

/// The hosts of a list: `- host`, `- 'host/path'`; `{}` stands for a country.
fn hosts(text: &str) -> Vec<String> {
    let entries = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let entries = entries.map(|entry| entry.trim_matches(['"', '\'']).replace("{}", "de"));
    let host = |entry: String| entry.split('/').next().unwrap_or_default().to_owned();
    let mut hosts: Vec<_> = entries.map(host).filter(|host| is_host(host)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

fn is_host(text: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    text.contains('.') && !text.ends_with('.') && text.bytes().all(name)
}

#[test]
fn of_the_hosts_of_each_kind_that_matomo_knows_95_percent_have_its_class() {
    let Some(folder) = std::env::var_os("HOOKLINE_TEST_ORACLES") else {
        eprintln!("LEFT OUT: HOOKLINE_TEST_ORACLES is not set");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let mut enricher = Enricher::new(Settings::default());
    let (mut right, mut all) = (0, 0);
    for (file, expected) in
        [("matomo-SearchEngines.yml", "search"), ("matomo-Socials.yml", "social"), ("matomo-AIAssistants.yml", "ai")]
    {
        let hosts = hosts(&std::fs::read_to_string(folder.join(file)).unwrap());
        let mut wrong = Vec::new();
        for host in &hosts {
            let mut event = LinkEvent { r#type: EventType::Click, ..LinkEvent::default() };
            enricher.enrich(&mut event, &Hints { referrer: Some(host), ..Hints::default() }, None);
            if event.referrer_class != expected {
                wrong.push(format!("{host} ({})", event.referrer_class));
            }
        }
        println!("| {file} | {} | {} |", hosts.len(), hosts.len() - wrong.len());
        println!("    not so: {}", wrong.join(", "));
        right += hosts.len() - wrong.len();
        all += hosts.len();
    }
    assert!(all > 700 && right * 100 >= all * 95, "{right} of {all}");
}
