//! The section of Jira.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::render::Jira;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "jira",
    settings: &[
        Setting {
            key: "site",
            about: "The site, at Jira Cloud.",
            left_out: "",
            form: Form::Text,
            required: Some("name the site: site = \"https://acme.atlassian.net\""),
            example: "https://acme.atlassian.net",
        },
        Setting {
            key: "project",
            about: "The key of the project.",
            left_out: "",
            form: Form::Text,
            required: Some("name the project by its key, such as \"WEB\""),
            example: "WEB",
        },
        Setting {
            key: "issue_type",
            about: "The type of the issues that are opened.",
            left_out: "`Task`",
            form: Form::Text,
            required: None,
            example: "Bug",
        },
        Setting {
            key: "user",
            about: "The mail address of the account that the token belongs to.",
            left_out: "",
            form: Form::Text,
            required: Some("name the mail address of the account that the token belongs to"),
            example: "hookline@example.com",
        },
        Setting {
            key: "token",
            about: "An API token of that account.",
            left_out: "",
            form: Form::Secret,
            required: Some("name an API token: token = { env = \"VARIABLE\" }"),
            example: "ATATT3x",
        },
    ],
    keyed: true,
    acknowledges: false,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let project = values.text("project");
    let mut letters = project.chars();
    let begins = letters.next().is_some_and(|one| one.is_ascii_uppercase());
    if !begins || !letters.all(|one| one.is_ascii_uppercase() || one.is_ascii_digit() || one == '_') {
        let hint = "write the key that its issues begin with: \"WEB\" where there is WEB-12";
        return Err(Fault::new("project", format!("{project:?} is not the key of a project"), hint));
    }
    if values.text("user").contains(':') {
        return Err(Fault::new("user", "a user has no colon", "write the mail address of the account"));
    }
    let issue_type = if values.has("issue_type") { values.text("issue_type") } else { "Task" };
    let login = STANDARD.encode(format!("{}:{}", values.text("user"), values.text("token")));
    Ok(Box::new(Jira {
        api: format!("{}/rest/api/3", values.address("site", "")?),
        project: project.to_owned(),
        issue_type: issue_type.to_owned(),
        login: format!("Basic {login}"),
    }))
}
