//! No secret that a configuration refers to, and none that was put into it by mistake, is printed.

use std::fs;

use proptest::prelude::*;

use crate::{environment, load_file};

/// Every scheme, with secrets from the environment and from files; Basic and Standard Webhooks want a form of their own.
const SCHEMES: [(&str, &str); 18] = [
    ("\"standard-webhooks\"", "whsec_SECRET"),
    ("\"svix\"", "whsec_SECRET"),
    ("\"stripe\"", "SECRET"),
    ("\"calendly\"", "SECRET"),
    ("\"mux\"", "SECRET"),
    ("\"convoy\"", "SECRET"),
    ("\"github\"", "SECRET"),
    ("\"shopify\"", "SECRET"),
    ("\"slack\"", "SECRET"),
    ("\"twilio\"", "SECRET"),
    ("\"dub\"", "SECRET"),
    ("\"hookdeck\"", "SECRET"),
    ("\"outpost\"", "SECRET"),
    ("\"basic\"", "user:SECRET"),
    ("\"bearer\"", "SECRET"),
    ("{ header = \"X-Secret\" }", "SECRET"),
    ("{ query = \"key\" }", "SECRET"),
    ("{ hmac = \"sha256\", header = \"X-Signature\" }", "SECRET"),
];

fn everything(secret: &str, damage: &str) -> String {
    let mut text = format!(
        r#"version = 1
[owner]
growth = {{ name = "Growth" }}
[kafka]
brokers = "localhost:9092"
properties = {{ "sasl.password" = {{ env = "ONE" }}, "ssl.key.password" = "{secret}" }}
[clickhouse]
url = "http://localhost:8123"
password = {{ file = "one" }}
[console]
token = {{ env = "ONE" }}
[destination.hook]
kind = "webhook"
owner = "growth"
url = "https://hooks.example.com/{secret}"
secret = {{ env = "HOOK" }}
{damage}
"#
    );
    for (n, (scheme, _)) in SCHEMES.iter().enumerate() {
        text.push_str(&format!(
            "[source.s{n}]\nadapter = \"canonical\"\nowner = \"growth\"\nscheme = {scheme}\npublic_url = \"https://h/v1/webhooks/s{n}\"\nsecrets = [{{ id = \"env\", env = \"S{n}\" }}, {{ id = \"file\", file = \"s{n}\" }}]\n"
        ));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `secret` is base64 of 24 bytes and more, so that every scheme takes it; `damage` makes some of the configurations wrong.
    #[test]
    fn neither_a_configuration_nor_its_problems_show_a_secret(
        secret in "[a-zA-Z0-9]{36}",
        damage in prop::sample::select(vec![
            "",
            "secrte = 5",
            "[source.s0.secret]\nvalue = 1",
            "allow_private = 7",
        ]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hookline.toml"), everything(&secret, damage)).unwrap();
        fs::write(folder.path().join("one"), &secret).unwrap();
        let mut variables = vec![("ONE".to_owned(), secret.clone()), ("HOOK".to_owned(), format!("whsec_{secret}"))];
        for (n, (_, form)) in SCHEMES.iter().enumerate() {
            fs::write(folder.path().join(format!("s{n}")), form.replace("SECRET", &secret)).unwrap();
            // The second secret is a little different, and for some schemes wrong.
            variables.push((format!("S{n}"), format!("{} ", form.replace("SECRET", &secret))));
        }
        let more: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let surroundings = environment(&more);
        let said = match load_file(folder.path(), &surroundings) {
            Ok(config) => format!("{config:?} {:?} {:?}", config.warnings, surroundings),
            Err(problems) => format!("{problems} {problems:?} {surroundings:?}"),
        };
        prop_assert!(!said.contains(&secret), "{said}");
    }
}
