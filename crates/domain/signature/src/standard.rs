//! Standard Webhooks and Svix: `{id}.{timestamp}.{body}`, HMAC-SHA256 or ed25519.
//!
//! Source: the specification at github.com/standard-webhooks/standard-webhooks (spec/standard-webhooks.md).

use std::borrow::Cow;

use base64::Engine as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::claim::{BASE64, BASE64_URL, Claim, Code, Content, Proof, Read, proofs, unix_seconds};
use crate::key::{Key, MacKey};
use crate::request::{Refusal, Request};
use crate::scheme::{Algorithm, Encoding, TOLERANCE_SECONDS};
use crate::secret::{ConfigError, Secret};

/// The header names; the two senders differ in nothing else.
pub(crate) struct Standard {
    pub(crate) id: &'static str,
    pub(crate) timestamp: &'static str,
    pub(crate) signature: &'static str,
}

pub(crate) const UNBRANDED: Standard =
    Standard { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };
pub(crate) const SVIX: Standard = Standard { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

impl Read for Standard {
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        let id_bytes = request.headers.get(self.id).ok_or(Refusal::MissingHeader)?;
        let id = std::str::from_utf8(id_bytes).map_err(|_| Refusal::BadId)?;
        if !is_unambiguous(id) {
            return Err(Refusal::BadId);
        }
        let timestamp = request.header(self.timestamp)?;
        let signatures = request.header(self.signature)?;
        Ok(Claim {
            content: content(id, timestamp, request.body),
            alternatives: Vec::new(),
            proofs: proofs(signatures.split(' ').filter_map(proof))?,
            delivery_id: Some(id),
            delivery_id_signed: true,
            timestamp: Some(unix_seconds(timestamp)?),
            tolerance: Some(TOLERANCE_SECONDS),
        })
    }
}

/// With a dot in the id, `a.b` + `.` + `1` and `a` + `.` + `b.1` would be signed alike.
pub(crate) fn is_unambiguous(id: &str) -> bool {
    !id.is_empty() && !id.contains('.')
}

/// What is signed.
pub(crate) fn content<'r>(id: &'r str, timestamp: &'r str, body: &'r [u8]) -> Content<'r> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].map(Cow::Borrowed).into()
}

/// Reads one entry of the list. Entries of unknown versions are passed over, as the specification asks.
fn proof(entry: &str) -> Option<Proof> {
    let (version, text) = entry.split_once(',')?;
    let code = Code::decode(text.as_bytes(), Encoding::Base64)?;
    match version {
        "v1" => Some(Proof::Mac(code)),
        "v1a" => Some(Proof::Ed25519(code.as_bytes().try_into().ok()?)),
        _ => None,
    }
}

/// A Standard Webhooks secret in its three kinds.
pub(crate) enum StandardKey {
    /// `whsec_`, or base64 without prefix.
    Symmetric(MacKey),
    /// `whpk_`: verifies only.
    Public([u8; 32]),
    /// `whsk_`: signs, and verifies by its public half.
    Private(Box<Ed25519KeyPair>),
}

impl StandardKey {
    /// Every key of a secret as its platform shows it.
    pub(crate) fn all(secret: &Secret) -> Result<Vec<Self>, ConfigError> {
        let text = std::str::from_utf8(secret.value()).map_err(|_| not_base64(secret, "whsec_"))?;
        let keys = shown_keys(text);
        if keys.is_empty() {
            return Err(ConfigError::EmptySecret { id: secret.id().to_owned() });
        }
        keys.iter().map(|key| Self::new(secret, key)).collect()
    }

    /// The key to sign with: the first that is shown.
    pub(crate) fn first(secret: &Secret) -> Result<Self, ConfigError> {
        let empty = || ConfigError::EmptySecret { id: secret.id().to_owned() };
        Self::all(secret)?.into_iter().next().ok_or_else(empty)
    }

    fn new(secret: &Secret, value: &str) -> Result<Self, ConfigError> {
        if let Some(text) = value.strip_prefix("whpk_") {
            let key = decode(secret, text, "whpk_")?;
            let key = key.as_slice().try_into().map_err(|_| wrong_length(secret, "whpk_", "32", key.len()))?;
            Ok(Self::Public(key))
        } else if let Some(text) = value.strip_prefix("whsk_") {
            let key = decode(secret, text, "whsk_")?;
            let not_a_pair = |_| ConfigError::KeyPair { id: secret.id().to_owned() };
            let pair = match key.split_at_checked(32) {
                Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
                Some((seed, public)) if public.len() == 32 => Ed25519KeyPair::from_seed_and_public_key(seed, public),
                _ => return Err(wrong_length(secret, "whsk_", "32 (seed) or 64 (seed and public key)", key.len())),
            };
            Ok(Self::Private(Box::new(pair.map_err(not_a_pair)?)))
        } else {
            let key = match value.strip_prefix("whsec_") {
                Some(text) => decode(secret, text, "whsec_")?,
                // Without a prefix it may be a text that the sender uses as it is, in which `_` and `-` are letters.
                None => BASE64.decode(value).map_err(|_| not_base64(secret, "whsec_"))?,
            };
            if !(24..=64).contains(&key.len()) {
                return Err(wrong_length(secret, "whsec_", "24 to 64", key.len()));
            }
            Ok(Self::Symmetric(MacKey::new(Algorithm::Sha256, &key)))
        }
    }

    /// The half that verifies.
    pub(crate) fn into_verifying(self) -> Key {
        let ed25519 = |public| Key::Ed25519(UnparsedPublicKey::new(&ED25519, public));
        match self {
            Self::Symmetric(key) => Key::Mac(key),
            Self::Public(key) => ed25519(key),
            Self::Private(pair) => {
                let mut public = [0; 32];
                public.copy_from_slice(pair.public_key().as_ref());
                ed25519(public)
            }
        }
    }
}

/// The keys in a text as platforms show it: `whsec_…`, `v1,whsec_…`, several with `|`, a comma or a blank between them, in
/// quotes, with blanks or a byte order mark around it, with a line break within.
pub(crate) fn shown_keys(text: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for list in text.trim_matches(is_around).split(['|', ',', ';']) {
        let mut first_of_list = true;
        for piece in list.split_whitespace().map(|piece| piece.trim_matches(is_around)) {
            let is_version = ["v1", "v1a"].contains(&piece);
            if piece.is_empty() || is_version {
                continue;
            }
            let begins = first_of_list || PREFIXES.iter().any(|prefix| piece.starts_with(prefix));
            first_of_list = false;
            match keys.last_mut() {
                // The rest of a key that was broken over two lines.
                Some(key) if !begins => key.push_str(piece),
                _ => keys.push(piece.to_owned()),
            }
        }
    }
    keys
}

const PREFIXES: [&str; 3] = ["whsec_", "whpk_", "whsk_"];

/// What may be around a key without being part of it.
pub(crate) fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '\u{2018}'..='\u{201f}' | '\u{feff}' | '\u{200b}')
}

/// Decodes what follows a prefix. Some platforms write it in the alphabet for URLs.
fn decode(secret: &Secret, text: &str, prefix: &'static str) -> Result<Vec<u8>, ConfigError> {
    BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).map_err(|_| not_base64(secret, prefix))
}

fn not_base64(secret: &Secret, prefix: &'static str) -> ConfigError {
    ConfigError::NotBase64 { id: secret.id().to_owned(), prefix }
}

fn wrong_length(secret: &Secret, prefix: &'static str, expected: &'static str, found: usize) -> ConfigError {
    ConfigError::KeyLength { id: secret.id().to_owned(), prefix, expected, found }
}
