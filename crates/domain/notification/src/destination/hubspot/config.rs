//! The section of HubSpot.

use super::render::HubSpot;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "hubspot",
    settings: &[
        Setting {
            key: "token",
            about: "The token of a private app.",
            left_out: "",
            form: Form::Secret,
            required: Some("name the token of a private app: token = { env = \"VARIABLE\" }"),
            example: "pat-eu1-x",
        },
        Setting {
            key: "id_property",
            about: "The property of notes, with unique values, that holds our id.",
            left_out: "`hookline_id`",
            form: Form::Text,
            required: None,
            example: "hookline_id",
        },
        Setting {
            key: "api",
            about: "The address of the interface.",
            left_out: "`https://api.hubapi.com`",
            form: Form::Text,
            required: None,
            example: "https://api.hubapi.com",
        },
    ],
    keyed: false,
    acknowledges: false,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let property = if values.has("id_property") { values.text("id_property") } else { "hookline_id" };
    if !property.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_') {
        let hint = "use small letters, digits and _, such as \"hookline_id\"";
        return Err(Fault::new("id_property", format!("{property:?} does not name a property"), hint));
    }
    Ok(Box::new(HubSpot {
        api: values.address("api", "https://api.hubapi.com")?,
        token: values.text("token").to_owned(),
        property: property.to_owned(),
    }))
}
