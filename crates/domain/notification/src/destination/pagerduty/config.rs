//! The section of PagerDuty.

use super::render::PagerDuty;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "pagerduty",
    settings: &[
        Setting {
            key: "key",
            about: "The integration key of a service (Events API v2).",
            left_out: "",
            form: Form::Secret,
            required: Some("name the integration key: key = { env = \"VARIABLE\" }"),
            example: "0123456789abcdef0123456789abcdef",
        },
        Setting {
            key: "severity",
            about: "The severity of its incidents.",
            left_out: "`error`",
            form: Form::Choice(&["critical", "error", "warning", "info"]),
            required: None,
            example: "error",
        },
        Setting {
            key: "api",
            about: "The address of the interface, such as that of the EU.",
            left_out: "`https://events.pagerduty.com`",
            form: Form::Text,
            required: None,
            example: "https://events.eu.pagerduty.com",
        },
    ],
    keyed: true,
    acknowledges: true,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let severity = if values.has("severity") { values.text("severity") } else { "error" };
    Ok(Box::new(PagerDuty {
        api: values.address("api", "https://events.pagerduty.com")?,
        key: values.text("key").to_owned(),
        severity: severity.to_owned(),
    }))
}
