//! Destinations: where messages go.

use std::path::PathBuf;

use jiff::civil::{Time, Weekday};
use signature::{Scheme, Secret};

use crate::availability::{self, DESTINATIONS, Part};
use crate::owners::Declared;
use crate::secret::{Resolved, SecretText};
use crate::section::Section;
use crate::source::is_name;
use crate::values::{self, Rate};

/// The id under which a webhook destination's secret is named.
const SECRET_ID: &str = "destination";

/// A place that messages go to.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Who owns it (an owner's id).
    pub owner: String,
    /// What it is and what it needs.
    pub kind: DestinationKind,
    /// The noise budget: above it, messages become a digest. None: it is refused in this version.
    pub max: Option<Rate>,
    /// When it may be disturbed; always when left out. None: it is refused in this version.
    pub open: Option<OpenHours>,
    /// The only fields that leave; every field of a message when left out.
    pub fields: Option<Vec<String>>,
}

/// What a destination is and what it needs.
#[derive(Debug, Clone)]
pub enum DestinationKind {
    /// A POST of JSON, signed as Standard Webhooks.
    Webhook {
        /// Where to; none only when secrets were not looked up. Hidden, since addresses may carry a token.
        url: Option<SecretText>,
        /// What it is signed with; none only when secrets were not looked up.
        secret: Option<Secret>,
        /// Whether the address may be a private one.
        allow_private: bool,
    },
    /// Lines of a CSV file.
    Csv {
        /// The file.
        path: PathBuf,
    },
}

impl DestinationKind {
    /// Its name in configuration and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Csv { .. } => "csv",
        }
    }
}

/// When a destination may be disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHours {
    /// On these days, from Monday on.
    pub days: Vec<Weekday>,
    /// From this time of day, in the configuration's time zone.
    pub from: Time,
    /// Until this time of day.
    pub until: Time,
    /// What happens to messages outside.
    pub otherwise: Outside,
}

/// What happens to messages outside the open hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// They wait and go as one digest at opening.
    Digest,
    /// They are dropped, and counted.
    Drop,
}

pub(crate) fn read(sections: &Section<'_>, owners: &Declared) -> Vec<Destination> {
    let mut destinations = Vec::new();
    for entry in sections.entries() {
        if !is_name(&entry.key) {
            sections.error(
                &entry.at,
                format!("{:?} cannot name a destination", entry.key),
                "use letters, digits, - and _",
            );
        }
        // What is planned for it counts as delivered, so a destination of this name would be sent nothing.
        if entry.key == notification::CAPTURE {
            let message =
                format!("{:?} is where messages about test data are recorded: nothing would be sent", entry.key);
            sections.error(&entry.at, message, "choose another name");
        }
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[destination.{}]", entry.key);
        destinations.extend(read_one(entry.key.clone(), section, owners));
    }
    destinations
}

fn read_one(name: String, section: Section<'_>, owners: &Declared) -> Option<Destination> {
    let sink = section.reading.sink;
    let kind_name = section.required("kind", "such as \"webhook\" or \"csv\"");
    let available = kind_name.as_ref().is_some_and(|(kind, at)| availability::destination(kind, at, sink));
    let owner = section.owner("owner", owners);
    let max = section.parsed("max", values::rate);
    let open = section.section("open").and_then(read_open);
    for (key, part) in [("max", Part::DestinationMax), ("open", Part::DestinationOpen)] {
        if section.has(key) {
            availability::check(part, section.place(key), sink);
        }
    }
    let fields = section.has("fields").then(|| section.names("fields"));
    let kind = match kind_name.as_ref().map(|(kind, _)| kind.as_str()) {
        Some("webhook") => webhook(&section),
        Some("csv") => {
            if !section.has("path") {
                section.missing("path", "name the file to append to");
            }
            section.path("path").map(|path| DestinationKind::Csv { path })
        }
        Some(unavailable) => {
            check_unavailable(&section, unavailable);
            None
        }
        None => None,
    };
    // Of a kind that is unknown, every key would look wrong.
    if kind_name.is_some_and(|(kind, _)| DESTINATIONS.contains(&kind.as_str())) {
        section.finish();
    }
    if !available {
        return None;
    }
    Some(Destination { name, owner: owner?, kind: kind?, max, open, fields })
}

fn webhook(section: &Section<'_>) -> Option<DestinationKind> {
    if !section.has("url") {
        section.missing("url", "say where to post");
    }
    if !section.has("secret") {
        section.missing("secret", "messages are signed: write secret = { env = \"VARIABLE\" }");
    }
    let (url, secret) = (section.secret_or_text("url"), section.secret("secret"));
    let allow_private = section.flag("allow_private").unwrap_or(false);
    if let Some(Resolved::Value(url)) = &url
        && !["https://", "http://"].iter().any(|scheme| url.reveal().starts_with(scheme))
    {
        section.error(section.place("url"), format!("url in {} is no http address", section.title), "");
    }
    let secret = match secret? {
        Resolved::Value(text) => {
            let secret = Secret::new(SECRET_ID, text.reveal());
            if let Err(why) = signature::Signer::new(&Scheme::StandardWebhooks, &secret) {
                let message = format!("the secret of {} cannot sign: {why}", section.title);
                section.error(section.place("secret"), message, "Standard Webhooks secrets look like whsec_…");
            }
            Some(secret)
        }
        Resolved::NotLookedUp => None,
        Resolved::Failed => return None,
    };
    let url = match url? {
        Resolved::Value(url) => Some(url),
        Resolved::NotLookedUp => None,
        Resolved::Failed => return None,
    };
    Some(DestinationKind::Webhook { url, secret, allow_private })
}

/// Type-checks what the kinds need that this version does not have.
fn check_unavailable(section: &Section<'_>, kind: &str) {
    match kind {
        "slack" | "teams" => _ = section.secret_or_text("url"),
        "hubspot" | "pagerduty" => _ = section.secret("token"),
        "github-issues" => {
            if let Some(repo) = section.section("repo") {
                repo.required("name", "such as \"example/web\"");
                repo.secret("token");
                repo.finish();
            }
        }
        "smtp" => {
            for key in ["host", "from", "user"] {
                section.text(key);
            }
            section.texts("to");
            section.integer("port", 1..=65_535);
            section.secret("password");
        }
        "jira" => {
            for key in ["url", "project", "user"] {
                section.text(key);
            }
            section.secret("token");
        }
        _ => {}
    }
}

fn read_open(section: Section<'_>) -> Option<OpenHours> {
    for key in ["days", "hours"] {
        if !section.entries().iter().any(|entry| entry.key == key) {
            section.missing(key, "write { days = \"mon-fri\", hours = \"08:00-19:00\", else = \"digest\" }");
        }
    }
    let (days, hours) = (section.parsed("days", values::days), section.parsed("hours", values::hours));
    let otherwise = section.choice("else", &[("digest", Outside::Digest), ("drop", Outside::Drop)]);
    section.finish();
    let (from, until) = hours?;
    Some(OpenHours { days: days?, from, until, otherwise: otherwise.unwrap_or(Outside::Digest) })
}
