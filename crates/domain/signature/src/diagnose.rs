//! Why a delivery was refused, found by trying what usually goes wrong. For an operator with a captured request and the
//! configured secrets at hand; never for the request path, and never told to a sender.

mod changes;
mod json;
mod words;

use crate::request::{Refusal, Request};
use crate::scheme::{Algorithm, Encoding, Scheme};
use crate::secret::{ConfigError, Secret, UnixSeconds};
use crate::token;
use crate::verify::Verifier;

/// One thing found out about a captured delivery. `Display` says what it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Nothing is wrong: it would be accepted now.
    Authentic {
        /// The secret that matched.
        secret_id: String,
    },
    /// What the request path answers.
    Refused(Refusal),
    /// A header (or `?parameter`) that the scheme needs is not in the request.
    HeaderMissing {
        /// Its name.
        header: String,
    },
    /// A configured secret matches but is not live.
    SecretNotLive {
        /// The secret.
        secret_id: String,
        /// Whether its lifetime is over (else it has not begun).
        over: bool,
    },
    /// It matches once the secret is changed: it was entered or is used in the wrong form.
    SecretDiffers {
        /// The secret.
        secret_id: String,
        /// What to change.
        change: SecretChange,
    },
    /// It matches once the body is changed: something on the way, or the capture, altered it.
    BodyDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// What was changed back.
        change: BodyChange,
    },
    /// It matches once the query parameter is written differently in the address that the sender was given.
    ParameterDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// The parameter that carries it.
        parameter: String,
        /// What happened to it.
        change: ParameterChange,
    },
    /// It matches under another URL than the one given.
    UrlDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// The URL the sender signed, without its query, which may hold a secret.
        signed: String,
    },
    /// It matches once a parameter of the scheme by template is another.
    HmacDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// What must be changed.
        change: HmacChange,
    },
    /// The same secret proves it under another scheme.
    SchemeDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// That scheme, as a configuration writes it.
        scheme: String,
    },
    /// It has the form of another scheme, though no secret here proves it.
    LooksLike {
        /// The name of that scheme.
        scheme: &'static str,
    },
    /// Nothing that was tried explains it.
    Unexplained,
}

/// What must be done to a secret for it to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretChange {
    /// Cut off white space at its ends, such as the line break at the end of a file.
    Trim,
    /// Take off the `whsec_` prefix.
    TakeOffPrefix,
    /// Put the `whsec_` prefix before it.
    AddPrefix,
    /// Use the bytes its base64 stands for; the scheme as configured uses the text.
    Decode,
    /// Use the bytes its hexadecimal digits stand for; the scheme as configured uses the text.
    DecodeHex,
    /// Use its text as the key; the scheme as configured decodes it.
    UseAsText,
    /// Use its text without the `whsec_` prefix as the key; the scheme as configured decodes it.
    UseAsTextWithoutPrefix,
}

/// What happened to a secret in a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterChange {
    /// It ends before this character, which ends a parameter or the query.
    CutAt(char),
    /// It was percent-encoded twice.
    EncodedTwice,
}

/// What must be done to a body for it to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyChange {
    /// Take the line break off its end.
    TakeOffLineBreak,
    /// Put a line break at its end.
    AddLineBreak,
    /// Put CR LF at its end.
    AddCrLf,
    /// Cut off the white space at its ends.
    Trim,
    /// Take the byte order mark off its start.
    TakeOffByteOrderMark,
    /// Put a byte order mark at its start.
    AddByteOrderMark,
    /// Turn CR LF into LF.
    LfLineBreaks,
    /// Turn LF into CR LF.
    CrLfLineBreaks,
    /// Take the white space out of its JSON.
    CompactJson,
    /// Turn each of its characters into one byte: it was read as Latin-1 and written as UTF-8.
    Latin1Bytes,
    /// Turn each of its bytes into a character of UTF-8: it was turned into Latin-1.
    Utf8OfLatin1,
    /// Write its JSON as JavaScript does.
    JavaScriptJson,
    /// Write its JSON as Python does.
    PythonJson,
    /// Write its JSON as PHP does.
    PhpJson,
    /// Write its JSON as Go does.
    GoJson,
    /// Indent its JSON by two or four spaces, or a tab.
    IndentedJson,
}

/// What must be changed about a scheme by template for the code to match.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HmacChange {
    /// Read the code from this header.
    Header(String),
    /// Use this hash.
    Algorithm(Algorithm),
    /// Read the code written so.
    Encoding(Encoding),
    /// Expect this before the code.
    Prefix(&'static str),
    /// This is what is signed.
    Signed(String),
    /// The time is in this field of the signature's header, and this is what is signed.
    Field {
        /// The name of the field.
        field: String,
        /// The template with it.
        signed: String,
        /// What stands before the code.
        prefix: String,
    },
}

/// A request as it was captured, with what else is known about it.
#[derive(Clone, Copy)]
pub struct Captured<'r> {
    /// The request, as ingest would see it.
    pub request: Request<'r>,
    /// The names of all its headers.
    pub header_names: &'r [&'r str],
    /// Other URLs that the sender may have been given, such as the one in the request itself.
    pub other_urls: &'r [String],
}

/// Finds out why a captured request is refused at `now`, or that it is not.
///
/// The first finding is the verdict of the request path; the others explain it.
///
/// # Errors
/// As [`Verifier::new`]: scheme and secrets must be usable.
pub fn diagnose(
    scheme: &Scheme,
    secrets: &[Secret],
    captured: &Captured<'_>,
    now: UnixSeconds,
) -> Result<Vec<Finding>, ConfigError> {
    let verifier = Verifier::new(scheme.clone(), secrets.to_vec())?;
    let request = &captured.request;
    let lookup = |name: &str| request.headers.get(name);
    let Request { method, url, body, .. } = *request;
    let refusal = match verifier.verify(&Request { method, url, headers: &lookup, body }, now) {
        Ok(authentic) => return Ok(vec![Finding::Authentic { secret_id: authentic.secret_id.to_owned() }]),
        Err(refusal) => refusal,
    };
    let mut findings = vec![Finding::Refused(refusal)];
    // These two say that the signature is right: time is all there is to explain.
    if !matches!(refusal, Refusal::Stale { .. } | Refusal::Future { .. }) {
        let attempt = Attempt { scheme, captured };
        findings.extend(attempt.missing_headers());
        let verdicts = findings.len();
        findings.extend(secrets.iter().flat_map(|secret| attempt.with_secret(secret, now)));
        if findings.len() == verdicts {
            findings.extend(attempt.other_forms());
        }
        if findings.len() == 1 {
            findings.push(Finding::Unexplained);
        }
    }
    Ok(findings)
}

/// The captured request and the scheme it should satisfy.
struct Attempt<'a, 'r> {
    scheme: &'a Scheme,
    captured: &'a Captured<'r>,
}

impl Attempt<'_, '_> {
    /// What the scheme needs and the request does not have.
    fn missing_headers(&self) -> Vec<Finding> {
        let Captured { request, .. } = self.captured;
        let missing = |name: &String| match name.strip_prefix('?') {
            None => request.headers.get(name).is_none(),
            Some(key) => token::parameter(request.query(), key).next().is_none(),
        };
        self.scheme.needs().into_iter().filter(missing).map(|header| Finding::HeaderMissing { header }).collect()
    }

    /// Everything that makes this one secret match.
    fn with_secret(&self, secret: &Secret, now: UnixSeconds) -> Vec<Finding> {
        let secret_id = || secret.id().to_owned();
        let Request { url, body, .. } = self.captured.request;
        if self.matches(self.scheme, secret, url, body) {
            // It was refused all the same, so time is what it fails by.
            return vec![Finding::SecretNotLive { secret_id: secret_id(), over: secret.is_over(now) }];
        }
        let mut findings = Vec::new();
        for (change, value) in changes::of_secret(self.scheme, secret.value()) {
            if self.matches(self.scheme, &secret.with_value(value), url, body) {
                findings.push(Finding::SecretDiffers { secret_id: secret_id(), change });
            }
        }
        // The smallest change that explains it, since a larger one often includes it.
        let altered = changes::of_body(body);
        if let Some((change, _)) = altered.iter().find(|(_, body)| self.matches(self.scheme, secret, url, body)) {
            findings.push(Finding::BodyDiffers { secret_id: secret_id(), change: *change });
        }
        if let Scheme::Query { key } = self.scheme {
            let values = token::parameter(self.captured.request.query(), key);
            if let Some(change) = values.into_iter().find_map(|value| changes::of_parameter(value, secret.value())) {
                findings.push(Finding::ParameterDiffers { secret_id: secret_id(), parameter: key.clone(), change });
            }
        }
        if self.scheme.signs_url() {
            let urls = self.captured.other_urls.iter().cloned().chain(changes::of_url(url));
            if let Some(signed) = urls.into_iter().find(|url| self.matches(self.scheme, secret, url, body)) {
                let signed = signed.split('?').next().unwrap_or_default().to_owned();
                findings.push(Finding::UrlDiffers { secret_id: secret_id(), signed });
            }
        }
        if let Scheme::Hmac(configured) = self.scheme {
            let value = self.captured.request.header(&configured.header.to_ascii_lowercase()).unwrap_or_default();
            let near = changes::of_hmac(configured, self.captured.header_names, value).into_iter();
            let mut matching = near.filter(|(_, other)| self.matches(&Scheme::Hmac(other.clone()), secret, url, body));
            findings.extend(matching.next().map(|(change, _)| Finding::HmacDiffers { secret_id: secret_id(), change }));
        }
        for other in self.other_schemes() {
            if self.matches(&other, secret, url, body) {
                findings.push(Finding::SchemeDiffers { secret_id: secret_id(), scheme: in_configuration(&other) });
            }
        }
        findings
    }

    /// Every scheme but the configured one: those without parameters, and a secret that travels in any header or parameter that
    /// is there.
    fn other_schemes(&self) -> Vec<Scheme> {
        let Captured { request, header_names, .. } = self.captured;
        let headers = header_names.iter().map(|name| Scheme::Header { name: name.to_ascii_lowercase() });
        let keys =
            form_urlencoded::parse(request.query().as_bytes()).map(|(key, _)| Scheme::Query { key: key.into_owned() });
        let all = Scheme::PLAIN.into_iter().chain(headers).chain(keys);
        all.filter(|other| !is_same(other, self.scheme)).collect()
    }

    /// Other schemes whose headers are all there and readable.
    fn other_forms(&self) -> Vec<Finding> {
        // Any key will do: only the reading of the request is of interest. This one suits every scheme.
        let any = Secret::new("any", "any:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let standard = any.with_value(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_vec());
        let Request { url, body, .. } = self.captured.request;
        let others = Scheme::PLAIN.iter().filter(|other| *other != self.scheme);
        others
            .filter(|other| {
                let secret = match other {
                    Scheme::StandardWebhooks | Scheme::Svix => &standard,
                    _ => &any,
                };
                matches!(self.outcome(other, secret, url, body), Some(Err(Refusal::NoMatch)))
            })
            .map(|other| Finding::LooksLike { scheme: other.name() })
            .collect()
    }

    /// Whether this secret proves this content, at whatever time.
    fn matches(&self, scheme: &Scheme, secret: &Secret, url: &str, body: &[u8]) -> bool {
        matches!(
            self.outcome(scheme, secret, url, body),
            Some(Ok(()) | Err(Refusal::Stale { .. } | Refusal::Future { .. }))
        )
    }

    /// The verdict under other circumstances; `None` if the secret does not suit the scheme.
    fn outcome(&self, scheme: &Scheme, secret: &Secret, url: &str, body: &[u8]) -> Option<Result<(), Refusal>> {
        let verifier = Verifier::new(scheme.clone(), vec![secret.without_lifetime()]).ok()?;
        let given = &self.captured.request;
        let lookup = |name: &str| given.headers.get(name);
        let request = Request { method: given.method, url, headers: &lookup, body };
        Some(verifier.verify(&request, 0).map(drop))
    }
}

/// Whether two schemes read the same; names of headers know no case.
fn is_same(one: &Scheme, other: &Scheme) -> bool {
    match (one, other) {
        (Scheme::Header { name: one }, Scheme::Header { name: other }) => one.eq_ignore_ascii_case(other),
        _ => one == other,
    }
}

/// A scheme as a configuration writes it.
fn in_configuration(scheme: &Scheme) -> String {
    match scheme {
        Scheme::Header { name } => format!("{{ header = {name:?} }}"),
        Scheme::Query { key } => format!("{{ query = {key:?} }}"),
        plain => plain.name().to_owned(),
    }
}
