//! How a source proves itself: the `scheme` and `secrets` of a source.

use jiff::{SignedDuration, Timestamp};
use signature::{Algorithm, Encoding, HeaderPart, HmacScheme, Scheme, Secret, SignedTime};

use crate::document::{Node, Value};
use crate::form::{Choice, Instant, Span, TEXT, Text};
use crate::option::{Group, Opt};
use crate::problem::{Place, did_you_mean};
use crate::schema::{Json, any_of, object, one_of, text};
use crate::secret::Resolved;
use crate::section::Section;
use crate::table::{Own, TableList};

/// `scheme` of a source.
pub(crate) const SCHEME: Opt<Own> = Opt::new(
    "scheme",
    Own::new(scheme_schema, "a name, or a table in one of the forms below").with(&SCHEMES),
    "How its deliveries are authenticated: `standard-webhooks`, `svix`, `stripe`, `calendly`, `mux`, `convoy`, `github`, `shopify`, \
     `slack`, `twilio`, `dub`, `hookdeck`, `outpost`, `basic`, `bearer`, or a table. docs/senders.md says which sender signs how.",
    "{ header = \"X-Secret\" }",
)
.otherwise("the one of its platform, where there is one: dub, twilio, canonical (standard-webhooks), rebrandly (its header)");

const SECRETS_FORM: &str = "write secrets = [{ id = \"2026-09\", env = \"VARIABLE\" }]";

/// `secrets` of a source.
pub(crate) const SECRETS: Opt<TableList> = Opt::new(
    "secrets",
    TableList(&SECRET_GROUP, with_a_place),
    "What its deliveries are authenticated with. Several may be live at once, so that one can take over from another.",
    "[{ id = \"2026-09\", env = \"DUB_SECRET\" }]",
)
.required(SECRETS_FORM);

const ID: Opt<Text> = Opt::new("id", TEXT, "Its name, in metrics and answers of a dry run.", "\"2026-09\"")
    .required("name it, for instance by the month it was made in");
const ENV: Opt<Text> = Opt::new("env", TEXT, "The environment variable that has it.", "\"DUB_SECRET\"");
const FILE: Opt<Text> = Opt::new("file", Text("a path"), "The file that has it; instead of `env`.", "\"secrets/dub\"");
const FROM: Opt<Instant> = Opt::new("from", Instant, "From when it is live.", "2026-09-01").otherwise("always");
const UNTIL: Opt<Instant> =
    Opt::new("until", Instant, "Until when it is live, not included.", "2027-06-01").otherwise("for ever");

static SECRET_GROUP: Group = Group {
    title: "one of the secrets",
    about: "A secret, and when it is live. It is in the environment or in a file.",
    read_by: "ingest",
    options: &[&ID, &ENV, &FILE, &FROM, &UNTIL],
    others: &[],
};

/// A secret is in one place.
fn with_a_place(schema: Json) -> Json {
    let place = |key: &str| object([("required", Json::List(vec![text(key)]))]);
    schema.with_all(object([("oneOf", Json::List(vec![place("env"), place("file")]))]))
}

const QUERY: Opt<Text> =
    Opt::new("query", TEXT, "The parameter of the query that carries the secret.", "\"key\"").required("");
static QUERY_GROUP: Group = Group {
    title: "scheme with a query",
    about: "The secret itself travels in the query.",
    read_by: "",
    options: &[&QUERY],
    others: &[],
};

const HEADER: Opt<Text> = Opt::new("header", TEXT, "The header that carries the secret.", "\"X-Secret\"").required("");
static HEADER_GROUP: Group = Group {
    title: "scheme with a header",
    about: "The secret itself travels in a header.",
    read_by: "",
    options: &[&HEADER],
    others: &[],
};

const HMAC: Opt<Choice<Algorithm>> = Opt::new(
    "hmac",
    Choice(&[("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)]),
    "The hash.",
    "\"sha256\"",
)
.required("");
const CODE_HEADER: Opt<Text> = Opt::new("header", TEXT, "The header that carries the signature.", "\"X-Signature\"")
    .required("name the header that carries the signature");
const HEX: (&str, Encoding) = ("hex", Encoding::Hex);
const ENCODING: Opt<Choice<Encoding>> = Opt::new(
    "encoding",
    Choice(&[HEX, ("base64", Encoding::Base64), ("base64url", Encoding::Base64Url)]),
    "How the signature is written.",
    "\"base64\"",
)
.or(HEX);
const PREFIX: Opt<Text> =
    Opt::new("prefix", TEXT, "What stands before the signature in its header.", "\"v1=\"").otherwise("nothing");
const SIGNED: Opt<Text> = Opt::new(
    "signed",
    Text("a text with `{body}`, `{timestamp}`, `{method}`, `{url}`, `{header:NAME}`, `{header:NAME:FIELD}`, `{field:NAME}`"),
    "What is signed.",
    "\"{timestamp}.{body}\"",
)
.or("{body}");
const TIMESTAMP: Opt<Text> = Opt::new(
    "timestamp",
    Text("`header:NAME`, or `field:NAME` in the header of the signature"),
    "Where the time of the signature is. An old one is refused.",
    "\"header:X-Timestamp\"",
)
.otherwise("there is none");
const TOLERANCE: Opt<Span> = Opt::new(
    "tolerance",
    Span::within(std::time::Duration::from_secs(1), std::time::Duration::from_secs(86_400)),
    "How old, or how far ahead, the time of a signature may be.",
    "\"5m\"",
)
.or(std::time::Duration::from_secs(signature::TOLERANCE_SECONDS.unsigned_abs()));
const DELIVERY_ID: Opt<Text> = Opt::new(
    "delivery_id",
    Text("a header, `header:NAME`, or `field:NAME`"),
    "Where the id of the delivery is, for log lines and records.",
    "\"X-Delivery\"",
)
.otherwise("there is none");
static HMAC_GROUP: Group = Group {
    title: "scheme with an HMAC",
    about: "A keyed hash over the body and more, in a header.",
    read_by: "",
    options: &[&HMAC, &CODE_HEADER, &ENCODING, &PREFIX, &SIGNED, &TIMESTAMP, &TOLERANCE, &DELIVERY_ID],
    others: &[],
};

static SCHEMES: [&Group; 3] = [&HEADER_GROUP, &QUERY_GROUP, &HMAC_GROUP];

fn scheme_schema() -> Json {
    let named = one_of(PLAIN.iter().map(|(name, _)| *name));
    any_of(std::iter::once(named).chain(SCHEMES.iter().map(|group| group.schema(true))))
}

/// The schemes that are a name alone.
const PLAIN: [(&str, Scheme); 15] = [
    ("standard-webhooks", Scheme::StandardWebhooks),
    ("svix", Scheme::Svix),
    ("stripe", Scheme::Stripe),
    ("calendly", Scheme::Calendly),
    ("mux", Scheme::Mux),
    ("convoy", Scheme::Convoy),
    ("github", Scheme::GitHub),
    ("shopify", Scheme::Shopify),
    ("slack", Scheme::Slack),
    ("twilio", Scheme::Twilio),
    ("dub", Scheme::Dub),
    ("hookdeck", Scheme::Hookdeck),
    ("outpost", Scheme::Outpost),
    ("basic", Scheme::Basic),
    ("bearer", Scheme::Bearer),
];

/// The scheme of a source, or the one way of its adapter's platform.
pub(crate) fn read_scheme(source: &Section<'_>, adapter: Option<&str>) -> Option<Scheme> {
    let Some(node) = source.node(&SCHEME) else {
        return match adapter? {
            "dub" => Some(Scheme::Dub),
            "twilio" => Some(Scheme::Twilio),
            "canonical" => Some(Scheme::StandardWebhooks),
            "rebrandly" => Some(Scheme::Header { name: "X-Rebrandly-Secret".to_owned() }),
            other => {
                source.missing("scheme", &format!("{other} senders sign in more than one way: say which"));
                None
            }
        };
    };
    match &node.value {
        Value::Text(name) => named(source, node, name),
        _ => with_parameters(source.section_of(node, "scheme")?),
    }
}

fn named(source: &Section<'_>, node: &Node, name: &str) -> Option<Scheme> {
    let found = PLAIN.iter().find(|(known, _)| *known == name).map(|(_, scheme)| scheme.clone());
    if found.is_none() {
        let (message, hint) = match name {
            "header" => ("scheme \"header\" needs the header's name", "write { header = \"X-Secret\" }".to_owned()),
            "query" => ("scheme \"query\" needs the parameter's name", "write { query = \"key\" }".to_owned()),
            "hmac" => {
                ("scheme \"hmac\" needs its parts", "write { hmac = \"sha256\", header = \"X-Signature\" }".to_owned())
            }
            _ => ("", did_you_mean(name, PLAIN.iter().map(|(known, _)| *known).chain(["header", "query", "hmac"]))),
        };
        let message = if message.is_empty() { format!("unknown scheme {name:?}") } else { message.to_owned() };
        source.error(&node.at, message, hint);
    }
    found
}

/// `{ query = … }`, `{ header = … }` or `{ hmac = …, header = …, … }`.
fn with_parameters(table: Section<'_>) -> Option<Scheme> {
    // What is asked for first decides which keys are known.
    let (table, scheme) = if table.has(&HMAC) {
        let table = table.declared_as(&HMAC_GROUP);
        let scheme = hmac(&table).map(Scheme::Hmac);
        (table, scheme)
    } else if let Some(key) = table.text(&QUERY) {
        (table.declared_as(&QUERY_GROUP), Some(Scheme::Query { key }))
    } else if let Some(name) = table.text(&HEADER) {
        (table.declared_as(&HEADER_GROUP), Some(Scheme::Header { name }))
    } else {
        table.error(table.at, format!("{} says neither hmac nor header nor query", table.title), "");
        (table, None)
    };
    table.finish();
    scheme
}

fn hmac(table: &Section<'_>) -> Option<HmacScheme> {
    let algorithm = table.choice(&HMAC);
    let header = table.required(&CODE_HEADER);
    let encoding = table.choice(&ENCODING).unwrap_or(HEX.1);
    let prefix = table.text(&PREFIX).unwrap_or_default();
    let signed = table.text(&SIGNED).unwrap_or_else(|| SIGNED.usual().to_owned());
    let tolerance = table.duration(&TOLERANCE);
    let code_header = header.as_ref().map_or("", |(name, _)| name.as_str());
    let timestamp = table.placed(&TIMESTAMP).and_then(|(text, at)| {
        let Some(part) = header_part(&text, code_header) else {
            let hint = "write \"header:X-Timestamp\", or \"field:t\" for t=… in the header of the signature";
            table.error(&at, format!("timestamp {text:?} names neither a header nor a field"), hint);
            return None;
        };
        let seconds = tolerance.and_then(|tolerance| i64::try_from(tolerance.as_secs()).ok());
        Some(SignedTime { part, tolerance_seconds: seconds.unwrap_or(signature::TOLERANCE_SECONDS) })
    });
    if tolerance.is_some() && !table.has(&TIMESTAMP) {
        table.error(table.place(&TOLERANCE), "tolerance without a timestamp", "add timestamp = \"header:…\"");
    }
    let delivery_id = table.text(&DELIVERY_ID);
    let delivery_id =
        delivery_id.map(|text| header_part(&text, code_header).unwrap_or_else(|| HeaderPart::whole(text)));
    Some(HmacScheme { algorithm: algorithm?, header: header?.0, encoding, prefix, signed, timestamp, delivery_id })
}

/// `header:Name`, `header:Name:field`, or `field:name` for a field of the signature's own header.
fn header_part(text: &str, code_header: &str) -> Option<HeaderPart> {
    if let Some(field) = text.strip_prefix("field:") {
        return Some(HeaderPart::field(code_header, field));
    }
    let header = text.strip_prefix("header:")?;
    Some(match header.split_once(':') {
        Some((header, field)) => HeaderPart::field(header, field),
        None => HeaderPart::whole(header),
    })
}

/// The secrets of a source. Those that could not be looked up are left out; why is recorded, unless it was asked for.
pub(crate) fn read_secrets(source: &Section<'_>, scheme: Option<&Scheme>) -> Vec<Secret> {
    let hint = SECRETS_FORM;
    let Some(node) = source.node(&SECRETS) else {
        source.missing(SECRETS.key, hint);
        return Vec::new();
    };
    let Value::List(items) = &node.value else {
        source.error(&node.at, format!("secrets in {} is {}, not a list", source.title, node.value.kind()), hint);
        return Vec::new();
    };
    let before = items.len();
    let (mut secrets, mut ids, mut live) = (Vec::new(), Vec::<String>::new(), 0);
    let mut lifetimes = Vec::new();
    for item in items {
        let Some(table) = source.section_of(item, "a secret") else { continue };
        let table = table.declared_as(&SECRET_GROUP);
        let id = table.required(&ID);
        let (from, until) = (table.instant(&FROM), table.instant(&UNTIL));
        let resolved = table.referenced();
        let now = source.reading.environment.now();
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            table.error(table.place(&UNTIL), "until is before from", "the secret would never be live");
        }
        if let Some((id, at)) = &id {
            if ids.contains(id) {
                table.error(at, format!("secret {id:?} stands twice in {}", source.title), "give each its own id");
            }
            ids.push(id.clone());
            if until.is_some_and(|until| until <= now) {
                let message = format!("secret {id:?} of {} has expired and is refused", source.title);
                source.reading.sink.warn(table.place(&UNTIL), message, "remove it");
            } else {
                live += 1;
            }
            lifetimes.push((id.clone(), from, until, table.place(&UNTIL)));
        }
        if let (Some((id, _)), Resolved::Value(text)) = (id, resolved) {
            let mut secret = Secret::new(id, text.reveal());
            if let Some(from) = from {
                secret = secret.not_before(seconds(from));
            }
            if let Some(until) = until {
                secret = secret.not_after(seconds(until));
            }
            if let Some(scheme) = scheme {
                check(&table, scheme, &secret);
            }
            secrets.push(secret);
        }
        table.finish();
    }
    warn_of_ends(source, &lifetimes);
    if before == 0 || (live == 0 && !ids.is_empty()) {
        source.error(&node.at, format!("{} has no secret that is live", source.title), hint);
    }
    secrets
}

/// So long before a secret ends somebody is told.
const END_IS_NEAR: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Says which secrets end soon, and whether another one is live then.
fn warn_of_ends(source: &Section<'_>, lifetimes: &[(String, Option<Timestamp>, Option<Timestamp>, &Place)]) {
    let now = source.reading.environment.now();
    for (id, _, until, at) in lifetimes {
        let Some(until) = until.filter(|until| *until > now && until.duration_since(now) <= END_IS_NEAR) else {
            continue;
        };
        let takes_over = lifetimes.iter().any(|(other, from, end, _)| {
            other != id && from.is_none_or(|from| from <= until) && end.is_none_or(|end| end > until)
        });
        let message = format!(
            "secret {id:?} of {} ends in {} days, at {until}{}",
            source.title,
            until.duration_since(now).as_hours() / 24,
            if takes_over { "" } else { ", and no other secret is live then: everything will be refused" }
        );
        let hint = match takes_over {
            true => "see that hookline_secret_uses_total no longer counts it; then it can go",
            false => "put its successor beside it, and give the sender that one",
        };
        source.reading.sink.warn(at, message, hint);
    }
}

/// Whether the scheme can use the secret: the wrong kind of secret must not be found out by refused deliveries.
fn check(table: &Section<'_>, scheme: &Scheme, secret: &Secret) {
    let alone = vec![secret.clone()];
    if let Err(why) = signature::Verifier::new(scheme.clone(), alone) {
        table.error(table.at, format!("{} does not fit scheme {:?}: {why}", table.title, scheme.name()), "");
        return;
    }
    for remark in signature::remarks(scheme, secret) {
        table.reading.sink.warn(table.at, remark.to_string(), remark.hint());
    }
}

fn seconds(at: Timestamp) -> signature::UnixSeconds {
    at.as_second()
}
