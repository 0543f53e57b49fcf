//! `[registry]`: the schema registry.

use super::http_address;
use crate::form::{Flag, Secret, TEXT, Text};
use crate::option::{Group, Opt};
use crate::secret::{Resolved, SecretText};
use crate::section::Section;

const URL: Opt<Text> = Opt::new(
    "url",
    Text("an http address, without a user in it"),
    "Its HTTP address, with the path of the interface that is like Confluent's.",
    "\"http://host:8081\"",
)
.required("write \"http://host:8081\", or leave [registry] out: Hookline needs no registry");
const USER: Opt<Text> = Opt::new("user", TEXT, "The user, if it wants one.", "\"hookline\"").otherwise("none");
const PASSWORD: Opt<Secret> =
    Opt::new("password", Secret, "That user's password.", "{ env = \"REGISTRY_PASSWORD\" }").otherwise("none");
const REGISTER: Opt<Flag> = Opt::new(
    "register",
    Flag,
    "Whether schemas that it does not have are registered; otherwise they are only looked up.",
    "false",
)
.or(true);

pub(crate) static GROUP: Group = Group {
    title: "[registry]",
    about: "A schema registry, for others who read the topics. Without it schemas have the ids of `schemas/index.json`.",
    read_by: "process and the tools that write to topics",
    options: &[&URL, &USER, &PASSWORD, &REGISTER],
    others: &[],
};

/// `[registry]`: the schema registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Its HTTP address, with the path of the interface that is like Confluent's.
    pub url: String,
    /// The user, if it wants one.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<SecretText>,
    /// Whether schemas that it does not have are registered; else they are only looked up.
    pub register: bool,
}

/// None where the section is missing: the schemas have the ids of `schemas/index.json` then.
pub(crate) fn read_registry(section: Option<Section<'_>>) -> Option<Registry> {
    let section = section?;
    section.demand(&URL);
    let url = http_address(&section, &URL);
    let (user, password) = (section.text(&USER), section.secret(&PASSWORD).and_then(Resolved::value));
    if section.has(&PASSWORD) && !section.has(&USER) {
        section.error(section.place(&PASSWORD), "password of [registry] has no user", "add user");
    }
    let register = section.flag(&REGISTER).unwrap_or(REGISTER.usual());
    section.finish();
    Some(Registry { url: url?, user, password, register })
}
