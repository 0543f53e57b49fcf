//! `[console]`.

use super::{listen, listens};
use crate::form::{Secret, Text};
use crate::option::{Group, Opt};
use crate::secret::{Resolved, SecretText};
use crate::section::Section;

const LISTEN: Opt<Text> = listens("Where its pages are.", "127.0.0.1:8088");
const TOKEN: Opt<Secret> =
    Opt::new("token", Secret, "The word that a change needs.", "{ env = \"HOOKLINE_CONSOLE_TOKEN\" }")
        .otherwise("the console only reads");

pub(crate) static GROUP: Group = Group {
    title: "[console]",
    about: "The pages for a browser.",
    read_by: "console",
    options: &[&LISTEN, &TOKEN],
    others: &[],
};

/// `[console]`.
#[derive(Debug, Clone)]
pub struct Console {
    /// `host:port` to listen on.
    pub listen: String,
    /// What changes need; without it the console only reads.
    pub token: Option<SecretText>,
}

pub(crate) fn read_console(section: Option<Section<'_>>) -> Console {
    let Some(section) = section else {
        return Console { listen: LISTEN.usual().to_owned(), token: None };
    };
    let console =
        Console { listen: listen(&section, &LISTEN), token: section.secret(&TOKEN).and_then(Resolved::value) };
    section.finish();
    console
}
