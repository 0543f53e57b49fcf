//! The section of a signed webhook.

use signature::{Scheme, Secret, Signer};

use super::render::Webhook;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "webhook",
    settings: &[
        Setting {
            key: "url",
            about: "Where messages are posted.",
            left_out: "",
            form: Form::SecretOrText,
            required: Some("say where to post"),
            example: "https://hooks.example.com/hookline",
        },
        Setting {
            key: "secret",
            about: "The secret that they are signed with, as Standard Webhooks.",
            left_out: "",
            form: Form::Secret,
            required: Some("messages are signed: write secret = { env = \"VARIABLE\" }"),
            example: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
    ],
    keyed: false,
    acknowledges: false,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    values.address("url", "")?;
    let secret = Secret::new("destination", values.text("secret"));
    let signer = Signer::new(&Scheme::StandardWebhooks, &secret).map_err(|why| {
        Fault::new("secret", format!("its secret cannot sign: {why}"), "Standard Webhooks secrets look like whsec_…")
    })?;
    // The address as it was written: a slash at its end counts.
    Ok(Box::new(Webhook { url: values.text("url").to_owned(), signer }))
}
