//! Findings in words: what it is, and what to do about it.

use std::fmt;

use super::{BodyChange, Finding, HmacChange, ParameterChange, SecretChange};
use crate::scheme::{Algorithm, Encoding};

impl Finding {
    /// The fixed label of this kind of finding.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Authentic { .. } => "authentic",
            Self::Refused(refusal) => refusal.label(),
            Self::HeaderMissing { .. } => "header_missing",
            Self::SecretNotLive { .. } => "secret_not_live",
            Self::SecretDiffers { .. } => "secret_differs",
            Self::BodyDiffers { .. } => "body_differs",
            Self::ParameterDiffers { .. } => "parameter_differs",
            Self::UrlDiffers { .. } => "url_differs",
            Self::HmacDiffers { .. } => "parameters_differ",
            Self::SchemeDiffers { .. } => "scheme_differs",
            Self::LooksLike { .. } => "looks_like",
            Self::Unexplained => "unexplained",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentic { secret_id } => write!(f, "authentic: secret {secret_id:?} matches"),
            Self::Refused(refusal) => write!(f, "refused ({}): {refusal}", refusal.label()),
            Self::HeaderMissing { header } if header.starts_with('?') => {
                let parameter = header.trim_start_matches('?');
                write!(f, "the query has no parameter {parameter}: the address that the sender was given ends in ?{parameter}=SECRET")
            }
            Self::HeaderMissing { header } => {
                write!(f, "the header {header} is missing: either the capture has lost it, or the sender uses another scheme")
            }
            Self::SecretNotLive { secret_id, over: true } => {
                write!(f, "the sender still uses secret {secret_id:?}, whose end has passed: move its `until`, or switch the sender to a live one")
            }
            Self::SecretNotLive { secret_id, over: false } => {
                write!(f, "the sender already uses secret {secret_id:?}, whose beginning has not come: move its `from` forward")
            }
            Self::SecretDiffers { secret_id, change } => write!(f, "secret {secret_id:?} matches once you {change}"),
            Self::BodyDiffers { secret_id, change } => {
                write!(f, "secret {secret_id:?} matches once you {change}: a proxy, a framework or the capture altered the body")
            }
            Self::ParameterDiffers { secret_id, parameter, change: ParameterChange::CutAt(c) } => write!(
                f,
                "the parameter {parameter} holds secret {secret_id:?} only up to its first {c}, which ends it: in the address that the \
                 sender was given, write %{:02X} for {c}",
                u32::from(*c)
            ),
            Self::ParameterDiffers { secret_id, parameter, change: ParameterChange::EncodedTwice } => write!(
                f,
                "the parameter {parameter} holds secret {secret_id:?} percent-encoded twice: give the sender the address with the secret \
                 as it is, since the sender encodes it"
            ),
            Self::UrlDiffers { secret_id, signed } => {
                write!(f, "secret {secret_id:?} matches for the URL {signed}: set public_url so")
            }
            Self::HmacDiffers { secret_id, change } => write!(f, "secret {secret_id:?} matches once {change}"),
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
            Self::DecodeHex => "decode its hexadecimal (the configured scheme uses the text as the key)",
            Self::UseAsText => "use its text as the key (the configured scheme decodes it from base64)",
            Self::UseAsTextWithoutPrefix => {
                "use its text without `whsec_` as the key (the configured scheme decodes it from base64)"
            }
        })
    }
}

impl fmt::Display for BodyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakeOffLineBreak => "take the line break off the end of the body",
            Self::AddLineBreak => "put a line break at the end of the body",
            Self::AddCrLf => "put CR LF at the end of the body",
            Self::Trim => "cut off the white space at the ends of the body",
            Self::TakeOffByteOrderMark => "take the byte order mark off the start of the body",
            Self::AddByteOrderMark => "put a byte order mark at the start of the body",
            Self::LfLineBreaks => "turn the body's CR LF into LF",
            Self::CrLfLineBreaks => "turn the body's LF into CR LF",
            Self::CompactJson => "take the white space out of the body's JSON",
            Self::Latin1Bytes => "write the body in Latin-1 (its UTF-8 was made from Latin-1, or twice)",
            Self::Utf8OfLatin1 => "write the body in UTF-8 (it was turned into Latin-1)",
            Self::JavaScriptJson => {
                "write the body's JSON as JavaScript does, without needless escapes and white space"
            }
            Self::PythonJson => "write the body's JSON as Python does, with spaces and \\u escapes",
            Self::PhpJson => "write the body's JSON as PHP does, with \\/ and \\u escapes",
            Self::GoJson => "write the body's JSON as Go does, with <, > and & escaped",
            Self::IndentedJson => "indent the body's JSON",
        })
    }
}

impl fmt::Display for HmacChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the code is read from the header {name}: header = {name:?}"),
            Self::Algorithm(algorithm) => {
                let name = match algorithm {
                    Algorithm::Sha1 => "sha1",
                    Algorithm::Sha256 => "sha256",
                    Algorithm::Sha512 => "sha512",
                };
                write!(f, "the hash is {name}: hmac = {name:?}")
            }
            Self::Encoding(encoding) => {
                let name = match encoding {
                    Encoding::Hex => "hex",
                    Encoding::Base64 => "base64",
                    Encoding::Base64Url => "base64url",
                };
                write!(f, "the code is read as {name}: encoding = {name:?}")
            }
            Self::Prefix("") => f.write_str("no prefix is expected before the code: leave prefix out"),
            Self::Prefix(prefix) => write!(f, "{prefix} is expected before the code: prefix = {prefix:?}"),
            Self::Field { field, signed, prefix } => write!(
                f,
                "the time is taken from the field {field} of the same header: prefix = {prefix:?}, timestamp = \"field:{field}\", \
                 signed = {signed:?}"
            ),
            Self::Signed(template) => write!(f, "another content is signed: signed = {template:?}"),
        }
    }
}
