//! What usually goes wrong, undone: the forms a secret, a body, a URL and a scheme by template are confused with.

use std::borrow::Cow;

use base64::Engine as _;

use super::json::{Style, rewrite};
use super::{BodyChange, HmacChange, ParameterChange, SecretChange};
use crate::claim::BASE64;
use crate::part::{HeaderPart, fields};
use crate::scheme::{Algorithm, Encoding, HmacScheme, Scheme, SignedTime, TOLERANCE_SECONDS};
use crate::token;

const PREFIX: &[u8] = b"whsec_";

/// The forms a secret is confused with, without those that change nothing.
pub(super) fn of_secret(scheme: &Scheme, value: &[u8]) -> Vec<(SecretChange, Vec<u8>)> {
    let mut changes = vec![(SecretChange::Trim, value.trim_ascii().to_vec())];
    if matches!(scheme, Scheme::StandardWebhooks | Scheme::Svix) {
        // The scheme decodes: what decodes to the text is the text as key.
        changes.push((SecretChange::UseAsText, BASE64.encode(value).into_bytes()));
        if let Some(bare) = value.strip_prefix(PREFIX) {
            changes.push((SecretChange::UseAsTextWithoutPrefix, BASE64.encode(bare).into_bytes()));
        }
    } else {
        let bare = value.strip_prefix(PREFIX);
        match bare {
            Some(bare) => changes.push((SecretChange::TakeOffPrefix, bare.to_vec())),
            None => changes.push((SecretChange::AddPrefix, [PREFIX, value].concat())),
        }
        if let Ok(decoded) = BASE64.decode(bare.unwrap_or(value)) {
            changes.push((SecretChange::Decode, decoded));
        }
        if let Ok(decoded) = const_hex::decode(value) {
            changes.push((SecretChange::DecodeHex, decoded));
        }
    }
    changes.retain(|(_, changed)| changed != value && !changed.is_empty());
    changes
}

/// What a capture, a proxy or a framework does to a body, undone; without what changes nothing. The smallest changes come
/// first, since a larger one often includes them.
pub(super) fn of_body(body: &[u8]) -> Vec<(BodyChange, Cow<'_, [u8]>)> {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    let without = body.strip_suffix(b"\n").map(|body| body.strip_suffix(b"\r").unwrap_or(body)).unwrap_or(body);
    let lf = replace(body, b"\r\n", b"\n");
    let mut changes = vec![
        (BodyChange::TakeOffLineBreak, Cow::Borrowed(without)),
        (BodyChange::AddLineBreak, Cow::Owned([body, b"\n"].concat())),
        (BodyChange::AddCrLf, Cow::Owned([body, b"\r\n"].concat())),
        (BodyChange::Trim, Cow::Borrowed(body.trim_ascii())),
        (BodyChange::TakeOffByteOrderMark, Cow::Borrowed(body.strip_prefix(BOM).unwrap_or(body))),
        (BodyChange::AddByteOrderMark, Cow::Owned([BOM, body].concat())),
        (BodyChange::CrLfLineBreaks, Cow::Owned(replace(&lf, b"\n", b"\r\n"))),
        (BodyChange::LfLineBreaks, Cow::Owned(lf)),
        (BodyChange::CompactJson, Cow::Owned(compact_json(body))),
    ];
    let narrowed = std::str::from_utf8(body).ok().and_then(|text| {
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c as u32).ok()).collect();
        bytes
    });
    changes.extend(narrowed.map(|bytes| (BodyChange::Latin1Bytes, Cow::Owned(bytes))));
    let widened: String = body.iter().map(|byte| char::from(*byte)).collect();
    changes.push((BodyChange::Utf8OfLatin1, Cow::Owned(widened.into_bytes())));
    let styles = [
        (BodyChange::JavaScriptJson, Style::JAVASCRIPT),
        (BodyChange::PythonJson, Style::PYTHON),
        (BodyChange::PhpJson, Style::PHP),
        (BodyChange::GoJson, Style::GO),
        (BodyChange::IndentedJson, Style::indented("  ")),
        (BodyChange::IndentedJson, Style::indented("    ")),
        (BodyChange::IndentedJson, Style::indented("\t")),
    ];
    for (change, style) in styles {
        changes.extend(rewrite(body, style).map(|text| (change, Cow::Owned(text))));
    }
    changes.retain(|(_, changed)| changed.as_ref() != body);
    changes
}

/// The URLs a sender may have been given instead.
pub(super) fn of_url(url: &str) -> Vec<String> {
    let mut urls = Vec::new();
    // A proxy that ends TLS hides which of the two the sender called.
    match url.split_once("://") {
        Some(("https", rest)) => urls.push(format!("http://{rest}")),
        Some(("http", rest)) => urls.push(format!("https://{rest}")),
        _ => {}
    }
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let with_query = |path: &str| query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    urls.push(match path.strip_suffix('/') {
        Some(path) => with_query(path),
        None => with_query(&format!("{path}/")),
    });
    if query.is_some() {
        urls.push(path.to_owned());
    }
    urls
}

/// What happened to a secret on its way into a query parameter that holds `value`.
pub(super) fn of_parameter(value: &str, secret: &[u8]) -> Option<ParameterChange> {
    let secret = std::str::from_utf8(secret).ok()?;
    if token::readings(value).iter().any(|once| token::readings(once).iter().any(|twice| twice == secret)) {
        return Some(ParameterChange::EncodedTwice);
    }
    let ends = secret.char_indices().filter(|(_, c)| matches!(c, '&' | '#'));
    let mut cut = ends.filter(|(at, _)| token::readings(value).iter().any(|reading| reading == &secret[..*at]));
    cut.next().map(|(_, c)| ParameterChange::CutAt(c))
}

/// The schemes by template that are near: another hash, another way to write the code, another header. `value` is that of the
/// signature's header.
pub(super) fn of_hmac(scheme: &HmacScheme, header_names: &[&str], value: &str) -> Vec<(HmacChange, HmacScheme)> {
    let mut near = Vec::new();
    for name in header_names.iter().filter(|name| !name.eq_ignore_ascii_case(&scheme.header)) {
        near.push((
            HmacChange::Header((*name).to_owned()),
            HmacScheme { header: (*name).to_owned(), ..scheme.clone() },
        ));
    }
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
        near.push((HmacChange::Algorithm(algorithm), HmacScheme { algorithm, ..scheme.clone() }));
    }
    for encoding in [Encoding::Hex, Encoding::Base64, Encoding::Base64Url] {
        near.push((HmacChange::Encoding(encoding), HmacScheme { encoding, ..scheme.clone() }));
    }
    for prefix in ["", "sha256=", "sha1=", "sha512=", "v0=", "v1=", "v1,"] {
        near.push((HmacChange::Prefix(prefix), HmacScheme { prefix: prefix.to_owned(), ..scheme.clone() }));
    }
    let body_alone = HmacScheme { signed: "{body}".to_owned(), timestamp: None, ..scheme.clone() };
    near.push((HmacChange::Signed("{body}".to_owned()), body_alone));
    if let Some(timestamp) = &scheme.timestamp {
        for between in [".", ":", ""] {
            let signed = match timestamp.part.field {
                None => format!("{{header:{}}}{between}{{body}}", timestamp.part.header),
                Some(_) => format!("{{timestamp}}{between}{{body}}"),
            };
            near.push((HmacChange::Signed(signed.clone()), HmacScheme { signed, ..scheme.clone() }));
        }
    }
    near.extend(with_time_field(scheme, value));
    near.retain(|(_, other)| other != scheme);
    near
}

/// The schemes whose time is a field of the signature's header, where that has such a field.
fn with_time_field(scheme: &HmacScheme, value: &str) -> Vec<(HmacChange, HmacScheme)> {
    let is_time = |text: &str| (10..=13).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut near = Vec::new();
    let Some((field, _)) = fields(value).find(|(_, text)| is_time(text)) else { return near };
    for (code, _) in fields(value).filter(|(_, text)| !is_time(text)) {
        for between in [".", ",", ":", ""] {
            let (signed, prefix) = (format!("{{timestamp}}{between}{{body}}"), format!("{code}="));
            let part = HeaderPart::field(scheme.header.as_str(), field);
            let timestamp = Some(SignedTime { part, tolerance_seconds: TOLERANCE_SECONDS });
            let other = HmacScheme { signed: signed.clone(), prefix: prefix.clone(), timestamp, ..scheme.clone() };
            near.push((HmacChange::Field { field: field.to_owned(), signed, prefix }, other));
        }
    }
    near
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
