//! Why a delivery was refused, found by trying what usually goes wrong. For an operator with a captured request and the
//! configured secrets at hand; never for the request path, and never told to a sender.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;

use crate::claim::BASE64;
use crate::request::{Refusal, Request};
use crate::scheme::Scheme;
use crate::secret::{ConfigError, Secret, UnixSeconds};
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
    /// It matches under another URL than the one given.
    UrlDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// The URL the sender signed.
        signed: String,
    },
    /// The same secret proves it under another scheme.
    SchemeDiffers {
        /// The secret that then matches.
        secret_id: String,
        /// The name of that scheme.
        scheme: &'static str,
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
    /// Use its text as the key; the scheme as configured decodes it.
    UseAsText,
}

/// What must be done to a body for it to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyChange {
    /// Take the line break off its end.
    TakeOffLineBreak,
    /// Put a line break at its end.
    AddLineBreak,
    /// Turn CR LF into LF.
    LfLineBreaks,
    /// Turn LF into CR LF.
    CrLfLineBreaks,
    /// Take the white space out of its JSON.
    CompactJson,
}

/// Finds out why `request` is refused at `now`, or that it is not.
///
/// The first finding is the verdict of the request path; the others explain it.
///
/// # Errors
/// As [`Verifier::new`]: scheme and secrets must be usable.
pub fn diagnose(
    scheme: &Scheme,
    secrets: &[Secret],
    request: &Request<'_>,
    now: UnixSeconds,
) -> Result<Vec<Finding>, ConfigError> {
    let verifier = Verifier::new(scheme.clone(), secrets.to_vec())?;
    let lookup = |name: &str| request.headers.get(name);
    let Request { method, url, body, .. } = *request;
    let refusal = match verifier.verify(&Request { method, url, headers: &lookup, body }, now) {
        Ok(authentic) => return Ok(vec![Finding::Authentic { secret_id: authentic.secret_id.to_owned() }]),
        Err(refusal) => refusal,
    };
    let mut findings = vec![Finding::Refused(refusal)];
    // These two say that the signature is right: time is all there is to explain.
    if !matches!(refusal, Refusal::Stale { .. } | Refusal::Future { .. }) {
        let attempt = Attempt { scheme, request };
        findings.extend(secrets.iter().flat_map(|secret| attempt.with_secret(secret, now)));
        if findings.len() == 1 {
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
    request: &'a Request<'r>,
}

impl Attempt<'_, '_> {
    /// Everything that makes this one secret match.
    fn with_secret(&self, secret: &Secret, now: UnixSeconds) -> Vec<Finding> {
        let secret_id = || secret.id().to_owned();
        let Request { url, body, .. } = *self.request;
        if self.matches(self.scheme, secret, url, body) {
            // It was refused all the same, so time is what it fails by.
            return vec![Finding::SecretNotLive { secret_id: secret_id(), over: secret.is_over(now) }];
        }
        let mut findings = Vec::new();
        for (change, value) in secret_changes(self.scheme, secret.value()) {
            if self.matches(self.scheme, &secret.with_value(value), url, body) {
                findings.push(Finding::SecretDiffers { secret_id: secret_id(), change });
            }
        }
        // The smallest change that explains it, since a larger one often includes it.
        let altered = body_changes(body);
        if let Some((change, _)) = altered.iter().find(|(_, body)| self.matches(self.scheme, secret, url, body)) {
            findings.push(Finding::BodyDiffers { secret_id: secret_id(), change: *change });
        }
        // A proxy that ends TLS hides which of the two the sender called.
        let swapped = match url.split_once("://") {
            Some(("https", rest)) => Some(format!("http://{rest}")),
            Some(("http", rest)) => Some(format!("https://{rest}")),
            _ => None,
        };
        if let Some(signed) =
            swapped.filter(|url| self.scheme.signs_url() && self.matches(self.scheme, secret, url, body))
        {
            findings.push(Finding::UrlDiffers { secret_id: secret_id(), signed });
        }
        for other in Scheme::PLAIN.iter().filter(|other| *other != self.scheme) {
            if self.matches(other, secret, url, body) {
                findings.push(Finding::SchemeDiffers { secret_id: secret_id(), scheme: other.name() });
            }
        }
        findings
    }

    /// Other schemes whose headers are all there and readable.
    fn other_forms(&self) -> Vec<Finding> {
        // Any key will do: only the reading of the request is of interest. This one suits every scheme.
        let any = Secret::new("any", "any:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let standard = any.with_value(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_vec());
        let Request { url, body, .. } = *self.request;
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
        let lookup = |name: &str| self.request.headers.get(name);
        let request = Request { method: self.request.method, url, headers: &lookup, body };
        Some(verifier.verify(&request, 0).map(drop))
    }
}

/// The forms a secret is confused with, without those that change nothing.
fn secret_changes(scheme: &Scheme, value: &[u8]) -> Vec<(SecretChange, Vec<u8>)> {
    const PREFIX: &[u8] = b"whsec_";
    let mut changes = vec![(SecretChange::Trim, value.trim_ascii().to_vec())];
    if matches!(scheme, Scheme::StandardWebhooks | Scheme::Svix) {
        // The scheme decodes: what decodes to the text is the text as key.
        changes.push((SecretChange::UseAsText, BASE64.encode(value).into_bytes()));
    } else {
        let bare = value.strip_prefix(PREFIX);
        match bare {
            Some(bare) => changes.push((SecretChange::TakeOffPrefix, bare.to_vec())),
            None => changes.push((SecretChange::AddPrefix, [PREFIX, value].concat())),
        }
        if let Ok(decoded) = BASE64.decode(bare.unwrap_or(value)) {
            changes.push((SecretChange::Decode, decoded));
        }
    }
    changes.retain(|(_, changed)| changed != value && !changed.is_empty());
    changes
}

/// What a capture or a proxy does to a body, undone; without what changes nothing.
fn body_changes(body: &[u8]) -> Vec<(BodyChange, Cow<'_, [u8]>)> {
    let without = body.strip_suffix(b"\n").map(|body| body.strip_suffix(b"\r").unwrap_or(body)).unwrap_or(body);
    let lf = replace(body, b"\r\n", b"\n");
    let mut changes = vec![
        (BodyChange::TakeOffLineBreak, Cow::Borrowed(without)),
        (BodyChange::AddLineBreak, Cow::Owned([body, b"\n"].concat())),
        (BodyChange::CrLfLineBreaks, Cow::Owned(replace(&lf, b"\n", b"\r\n"))),
        (BodyChange::LfLineBreaks, Cow::Owned(lf)),
        (BodyChange::CompactJson, Cow::Owned(compact_json(body))),
    ];
    changes.retain(|(_, changed)| changed.as_ref() != body);
    changes
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// JSON without the white space between its tokens. Other text comes out as something no one signed.
fn compact_json(body: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            true
        } else {
            in_string = *byte == b'"';
            !byte.is_ascii_whitespace()
        }
    };
    body.iter().copied().filter(keep).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentic { secret_id } => write!(f, "authentic: secret {secret_id:?} matches"),
            Self::Refused(refusal) => write!(f, "refused ({}): {refusal}", refusal.label()),
            Self::SecretNotLive { secret_id, over: true } => {
                write!(f, "the sender still uses secret {secret_id:?}, whose not-after has passed: move it, or switch the sender to a live one")
            }
            Self::SecretNotLive { secret_id, over: false } => {
                write!(f, "the sender already uses secret {secret_id:?}, whose not-before has not come: move it forward")
            }
            Self::SecretDiffers { secret_id, change } => write!(f, "secret {secret_id:?} matches once you {change}"),
            Self::BodyDiffers { secret_id, change } => {
                write!(f, "secret {secret_id:?} matches once you {change}: a proxy or the capture altered the body")
            }
            Self::UrlDiffers { secret_id, signed } => {
                write!(f, "secret {secret_id:?} matches for the URL {signed}: set the public address to it")
            }
            Self::SchemeDiffers { secret_id, scheme } => {
                write!(f, "secret {secret_id:?} matches under the scheme {scheme}: configure that one")
            }
            Self::LooksLike { scheme } => {
                write!(f, "it has the form of the scheme {scheme}, which is not the one configured")
            }
            Self::Unexplained => f.write_str(
                "nothing that was tried explains it: the secret is another one, or the body was altered beyond recognition; \
                 compare the secret with the sender's page and capture the raw bytes",
            ),
        }
    }
}

impl fmt::Display for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trim => "cut off the white space at its ends",
            Self::TakeOffPrefix => "take off its `whsec_` prefix",
            Self::AddPrefix => "put `whsec_` before it",
            Self::Decode => "decode its base64 (the configured scheme uses the text as the key)",
            Self::UseAsText => "use its text as the key (the configured scheme decodes it from base64)",
        })
    }
}

impl fmt::Display for BodyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakeOffLineBreak => "take the line break off the end of the body",
            Self::AddLineBreak => "put a line break at the end of the body",
            Self::LfLineBreaks => "turn the body's CR LF into LF",
            Self::CrLfLineBreaks => "turn the body's LF into CR LF",
            Self::CompactJson => "take the white space out of the body's JSON",
        })
    }
}
