//! The section of Microsoft Teams.

use super::render::Teams;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "teams",
    settings: &[Setting {
        key: "url",
        about: "The address of a workflow that posts to a channel.",
        left_out: "",
        form: Form::SecretOrText,
        required: Some("name the address of the workflow: url = { env = \"VARIABLE\" }"),
        example: "https://prod-1.westeurope.logic.azure.com/workflows/x",
    }],
    keyed: false,
    acknowledges: false,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let url = values.address("url", "")?;
    if url.contains("webhook.office.com") {
        let hint =
            "make a workflow in Teams (\"Post to a channel when a webhook request is received\") and name its address";
        return Err(Fault::new(
            "url",
            "it is the address of an Office 365 connector, which Microsoft has switched off",
            hint,
        ));
    }
    Ok(Box::new(Teams { url }))
}
