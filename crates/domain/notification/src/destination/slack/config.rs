//! The section of Slack: `url` of an incoming webhook, or `token` and `channel`.

use super::render::{Slack, Way};
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

const OTHERWISE: &str = "write url = { env = \"VARIABLE\" }, or token = { env = \"VARIABLE\" } and channel = \"C…\" for updates and threads";

pub(in crate::destination) const KIND: Kind = Kind {
    name: "slack",
    settings: &[
        Setting {
            key: "url",
            about: "The address of an incoming webhook: messages, neither updates nor threads. Either this, or `token` and `channel`.",
            left_out: "`token` and `channel`",
            form: Form::SecretOrText,
            required: None,
            example: "https://hooks.slack.com/services/T0/B0/x",
        },
        Setting {
            key: "token",
            about: "The token of a bot with the scope chat:write: what follows edits and answers the first message.",
            left_out: "`url`",
            form: Form::Secret,
            required: None,
            example: "xoxb-1",
        },
        Setting {
            key: "channel",
            about: "The id of the channel, with `token`.",
            left_out: "`url`",
            form: Form::Text,
            required: None,
            example: "C0123ABCD",
        },
        Setting {
            key: "api",
            about: "The address of the interface, with `token`.",
            left_out: "`https://slack.com/api`",
            form: Form::Text,
            required: None,
            example: "https://slack.com/api",
        },
    ],
    keyed: false,
    acknowledges: false,
    reach: Reach::Http,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let way = match (values.has("url"), values.has("token")) {
        (true, false) => Way::Webhook { url: values.address("url", "")? },
        (false, true) => {
            let channel = values.text("channel").to_owned();
            // chat.update takes ids only: a name would be found once and then never again.
            if channel.len() < 3 || !channel.chars().all(|one| one.is_ascii_uppercase() || one.is_ascii_digit()) {
                let hint =
                    "write the channel's id, such as \"C0123ABCD\" (in Slack: the channel's details, at the end)";
                return Err(Fault::new("channel", "the channel is not given by its id", hint));
            }
            Way::Token {
                api: values.address("api", "https://slack.com/api")?,
                token: values.text("token").to_owned(),
                channel,
            }
        }
        (true, true) => return Err(Fault::new("token", "there are both a url and a token", "keep one of them")),
        (false, false) => return Err(Fault::new("url", "there is neither a url nor a token", OTHERWISE)),
    };
    Ok(Box::new(Slack { way }))
}
