//! The section of GitHub issues.

use super::render::GitHub;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "github-issues",
    settings: &[
        Setting {
            key: "repo.name",
            about: "The repository.",
            left_out: "",
            form: Form::Text,
            required: Some("write repo = { name = \"example/web\", token = … }"),
            example: "example/web",
        },
        Setting {
            key: "repo.token",
            about: "A token that may write issues.",
            left_out: "",
            form: Form::Secret,
            required: Some("write repo = { name = …, token = { env = \"VARIABLE\" } }"),
            example: "github_pat_x",
        },
        Setting {
            key: "api",
            about: "The address of the interface, for GitHub Enterprise.",
            left_out: "`https://api.github.com`",
            form: Form::Text,
            required: None,
            example: "https://github.example.com/api/v3",
        },
    ],
    keyed: true,
    acknowledges: false,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let repo = values.text("repo.name");
    let part =
        |part: &str| !part.is_empty() && part.chars().all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one));
    if !repo.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name)) {
        return Err(Fault::new(
            "repo.name",
            format!("{repo:?} is not a repository"),
            "write OWNER/NAME, such as \"example/web\"",
        ));
    }
    let api = values.address("api", "https://api.github.com")?;
    Ok(Box::new(GitHub { issues: format!("{api}/repos/{repo}/issues"), token: values.text("repo.token").to_owned() }))
}
