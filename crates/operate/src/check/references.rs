//! The files that events are labelled by: whether they can be used, and how old they are.

use std::path::Path;

use config::{Config, ListPlace};
use process::{UnusableBecause, read_catalogue, read_countries};

use super::Finding;

/// Networks change hands: after so many days a file of countries is worth a warning.
const COUNTRIES_DAYS: i64 = 60;

/// What is wrong with files.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) errors: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
}

/// Looks at each file that the configuration names; `now_ms` is milliseconds since 1970.
pub(super) fn look(config: &Config, now_ms: i64) -> Found {
    let mut found = Found::default();
    if let Some(file) = &config.geo.country {
        countries(file, now_ms, &mut found);
    }
    if let Some(ListPlace::File(file)) = &config.catalogue
        && let Err(error) = read_catalogue(file)
    {
        found.errors.push(finding(
            file,
            error.why.to_string(),
            "the list before it stays in force, and without one no lane starts; hookline lint says all that is wrong",
        ));
    }
    found
}

fn countries(file: &Path, now_ms: i64, found: &mut Found) {
    match read_countries(file) {
        Ok(countries) => {
            let days = now_ms / 86_400_000 - i64::try_from(countries.built() / 86_400).unwrap_or_default();
            if days >= COUNTRIES_DAYS {
                let message = format!("the file of countries was built {days} days ago: networks have moved since");
                found.warnings.push(finding(file, message, "replace it by a newer one; nothing has to be restarted"));
            }
        }
        // The check may run elsewhere, as in a pull request.
        Err(error) if is_absent(&error.why) => {
            let message = "[geo] country is not there; process does not start without it".to_owned();
            found.warnings.push(finding(file, message, "put the file there, or leave [geo] out"));
        }
        Err(error) => found.errors.push(finding(file, error.why.to_string(), "")),
    }
}

fn is_absent(why: &UnusableBecause) -> bool {
    matches!(why, UnusableBecause::Unreadable(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// A finding about a file as a whole.
fn finding(file: &Path, message: String, hint: &str) -> Finding {
    let file = file.display().to_string();
    let text = if hint.is_empty() { format!("{file}: {message}") } else { format!("{file}: {message}; {hint}") };
    Finding { file, line: 0, column: 0, message, hint: hint.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_file_of_countries_is_worth_a_warning_after_sixty_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("country.mmdb");
        let built_day: i64 = 20_000;
        let mut database = maxminddb_writer::Database::default();
        database.metadata.binary_format_major_version = 2;
        database.metadata.build_epoch = built_day as u64 * 86_400 + 7_200;
        let value = database.insert_value(serde_json::json!({"country_code": "DE"})).expect("a value");
        let network: maxminddb_writer::paths::IpAddrWithMask = "198.51.100.0/24".parse().expect("a network");
        database.insert_node(network, value);
        std::fs::write(&file, database.write_to(Vec::new()).expect("memory")).expect("written");
        let warnings = |days: i64| {
            let mut found = Found::default();
            countries(&file, (built_day + days) * DAY_MS, &mut found);
            assert!(found.errors.is_empty());
            found.warnings.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
        };
        assert_eq!(warnings(59), [""; 0]);
        assert_eq!(warnings(60), ["the file of countries was built 60 days ago: networks have moved since"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_a_warning_and_one_that_names_no_countries_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("country.mmdb");
        let look = || {
            let mut found = Found::default();
            countries(&file, 0, &mut found);
            (found.errors.len(), found.warnings.len())
        };
        assert_eq!(look(), (0, 1));
        std::fs::write(&file, "link,kind\n").expect("written");
        assert_eq!(look(), (1, 0));
    }
}
