//! Twilio: base64 HMAC-SHA1 over the whole URL followed by the sorted form fields; a JSON body is covered by its SHA-256
//! in the URL's `bodySHA256` parameter.
//!
//! Source: twilio.com/docs/usage/security ("Validating requests") and `RequestValidator` of Twilio's own Python library,
//! which also tries the URL with and without its port.

use std::borrow::Cow;

use crate::claim::{Claim, Code, Content, Proof, Read, proofs};
use crate::key::digest;
use crate::request::{Refusal, Request};
use crate::scheme::Encoding;

pub(crate) const HEADER: &str = "x-twilio-signature";
pub(crate) const BODY_HASH: &str = "bodySHA256";

/// The scheme has no parameters.
pub(crate) struct Twilio;

impl Read for Twilio {
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        let code = Code::decode(request.header(HEADER)?.as_bytes(), Encoding::Base64).map(Proof::Mac);
        let proofs = proofs(code.into_iter())?;
        let content_type = request.headers.get("content-type").unwrap_or_default();
        let fields = if is_form(content_type) {
            fields(request.body)
        } else {
            check_body_hash(request)?;
            Vec::new()
        };
        Ok(Claim {
            content: content(Cow::Borrowed(request.url), &fields),
            alternatives: other_port(request.url).into_iter().map(|url| content(Cow::Owned(url), &fields)).collect(),
            proofs,
            delivery_id: None,
            delivery_id_signed: false,
            timestamp: None,
            tolerance: None,
        })
    }
}

/// Whether a body of this content type is signed by its fields.
pub(crate) fn is_form(content_type: &[u8]) -> bool {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    content_type.get(..FORM.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}

/// The form's fields as they are signed: name and value run together, sorted, repeats left out.
pub(crate) fn fields(body: &[u8]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
    fields.sort();
    fields.dedup();
    fields
}

/// What is signed.
pub(crate) fn content<'r>(url: Cow<'r, str>, fields: &[(Cow<'r, str>, Cow<'r, str>)]) -> Content<'r> {
    let fields = fields.iter().flat_map(|(name, value)| [name.clone(), value.clone()]);
    std::iter::once(url)
        .chain(fields)
        .map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
        .collect()
}

/// A body that is no form must be covered by the hash in the (signed) URL; only an empty one needs none.
fn check_body_hash(request: &Request<'_>) -> Result<(), Refusal> {
    match form_urlencoded::parse(request.query().as_bytes()).find(|(name, _)| name == BODY_HASH) {
        Some((_, hash)) => {
            let hash = Code::decode(hash.as_bytes(), Encoding::Hex).ok_or(Refusal::MalformedHeader)?;
            // Neither side is secret, so a plain comparison does.
            if hash.as_bytes() == digest(request.body) { Ok(()) } else { Err(Refusal::NoMatch) }
        }
        None if request.body.is_empty() => Ok(()),
        None => Err(Refusal::UnsignedBody),
    }
}

/// The URL with its default port added, or with its port taken away: which of the two is signed depends on the product.
fn other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A colon after the last `]` (of an IPv6 address) and after any `@` separates the port.
    let host_start = authority.rfind('@').map_or(0, |at| at + 1);
    let after_bracket = authority.rfind(']').map_or(host_start, |at| at + 1);
    match authority[after_bracket..].find(':') {
        Some(colon) => Some(format!("{scheme}://{}{path}", &authority[..after_bracket + colon])),
        None => {
            let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
            Some(format!("{scheme}://{authority}:{port}{path}"))
        }
    }
}
