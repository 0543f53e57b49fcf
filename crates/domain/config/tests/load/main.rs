//! Loading a configuration: what is read, what is refused, and with which words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics says what broke")]

mod canary;
mod clickhouse;
mod damage;
mod environment;
mod include;
mod inhibition;
mod live;
mod mapping;
mod naming;
mod problems;
mod published;
mod schemes;
mod secrets;
mod surface;
mod traces;
mod version;

use std::fs;
use std::path::Path;

use hookline_config::{Config, Environment, Problems};
use jiff::Timestamp;

/// The smallest configuration that is sound. Its last line is line 11.
const BASE: &str = r#"version = 1
[owner]
growth = { name = "Growth", chat = "\#growth" }
[source.dub-main]
adapter = "dub"
owner = "growth"
secrets = [{ id = "a", env = "DUB_SECRET" }]
[destination.log]
kind = "csv"
owner = "growth"
path = "alerts.csv"
"#;

fn base() -> String {
    BASE.replace("\\#", "#")
}

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn environment(more: &[(&str, &str)]) -> Environment {
    let signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let given = [("DUB_SECRET", "whsec_dub"), ("HOOK_SECRET", signing), ("PATH", "/bin")];
    Environment::new(given.iter().chain(more).copied(), now())
}

fn load_with(text: &str, environment: &Environment) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hookline.toml"), text).unwrap();
    let loaded = load_file(folder.path(), environment);
    if loaded.is_ok() {
        published::the_schema_takes(text);
    }
    loaded
}

/// Loads `hookline.toml` of a folder, and names files relative to it.
fn load_file(folder: &Path, environment: &Environment) -> Result<Config, Problems> {
    let prefix = format!("{}/", folder.display());
    let strip = |problems: &mut Vec<hookline_config::Problem>| {
        for problem in problems {
            problem.file = problem.file.replace(&prefix, "");
            problem.message = problem.message.replace(&prefix, "");
        }
    };
    let mut loaded = Config::load(&folder.join("hookline.toml"), environment);
    match &mut loaded {
        Ok(config) => strip(&mut config.warnings),
        Err(problems) => {
            strip(&mut problems.errors);
            strip(&mut problems.warnings);
        }
    }
    loaded
}

fn load(text: &str) -> Result<Config, Problems> {
    load_with(text, &environment(&[]))
}

fn sound(text: &str) -> Config {
    load(text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

/// What is wrong with a text, one line a problem.
fn errors(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.errors.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(text: &str) -> Vec<String> {
    sound(text).warnings.iter().map(ToString::to_string).collect()
}
