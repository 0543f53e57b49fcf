//! Signing: what a sender of each scheme would send.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;

use crate::claim::BASE64;
use crate::key::{MacKey, digest};
use crate::part::HeaderPart;
use crate::recipe::Recipe;
use crate::request::Request;
use crate::scheme::{Algorithm, Encoding, Scheme};
use crate::secret::{ConfigError, Secret, UnixSeconds};
use crate::standard::{self, Standard, StandardKey};
use crate::token::Token;
use crate::twilio;
use crate::verify::Method;

/// A delivery about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'m> {
    /// The method in upper case.
    pub method: &'m str,
    /// The whole URL it is sent to.
    pub url: &'m str,
    /// The value of its `content-type` header.
    pub content_type: &'m str,
    /// The delivery id, the same on every retry.
    pub id: &'m str,
    /// The time of this attempt.
    pub timestamp: UnixSeconds,
    /// The body exactly as it is sent.
    pub body: &'m [u8],
}

/// What to add to the delivery. `Debug` shows header names only, since a value or the URL may hold the secret itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The URL to send to: the message's, with a parameter added where the scheme wants one (`query`, Twilio's body hash).
    pub url: String,
    /// Headers to set, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.headers.iter().map(|(name, _)| name)).finish()
    }
}

/// Why a message cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The scheme or the secret is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The id is empty or contains the dot that separates it from the timestamp.
    #[error("delivery id {id:?} cannot be signed: it must not be empty nor contain a dot")]
    BadId {
        /// The id.
        id: String,
    },
    /// The scheme puts something into the URL, and no URL was given.
    #[error("scheme {scheme} signs or extends the URL: use a Signer and give it the message's URL")]
    NeedsUrl {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// A `whpk_` key can only verify.
    #[error("secret {id:?} is a public key (whpk_), which verifies only: sign with its whsk_ half")]
    PublicKey {
        /// The secret's id.
        id: String,
    },
    /// The template reads a header that is neither the timestamp nor the delivery id, so nobody knows its value here.
    #[error(
        "the signed template reads the header {header:?}, which is neither the timestamp nor the delivery id: it cannot be signed here"
    )]
    UnknownHeader {
        /// The header's name, in lower case.
        header: String,
    },
    /// A time before 1970 cannot be written in the scheme.
    #[error("timestamp {timestamp} lies before 1970")]
    Timestamp {
        /// The timestamp in unix seconds.
        timestamp: UnixSeconds,
    },
}

/// Signs messages with one secret.
pub struct Signer {
    how: How,
}

/// A scheme together with its key.
enum How {
    StandardMac(&'static Standard, MacKey),
    StandardEd25519(&'static Standard, Box<ring::signature::Ed25519KeyPair>),
    Recipe(Box<Recipe>, MacKey),
    Twilio(MacKey),
    Header(String, String),
    Query(String, Vec<u8>),
}

impl Signer {
    /// Makes scheme and secret ready.
    ///
    /// # Errors
    /// As [`Verifier::new`](crate::Verifier::new), and if the key cannot sign.
    pub fn new(scheme: &Scheme, secret: &Secret) -> Result<Self, SignError> {
        let value = secret.value();
        if value.is_empty() {
            return Err(ConfigError::EmptySecret { id: secret.id().to_owned() }.into());
        }
        let how = match Method::new(scheme)? {
            Method::Standard(headers) => match StandardKey::first(secret)? {
                StandardKey::Symmetric(key) => How::StandardMac(headers, key),
                StandardKey::Private(pair) => How::StandardEd25519(headers, pair),
                StandardKey::Public(_) => return Err(SignError::PublicKey { id: secret.id().to_owned() }),
            },
            Method::Recipe(recipe) => {
                let time = recipe.timestamp.as_ref().map(|timestamp| &timestamp.part);
                let known = |part: &HeaderPart| Some(part) == time || Some(part) == recipe.delivery_id.as_ref();
                if let Some(unknown) = recipe.signed.parts().find(|part| !known(part)) {
                    return Err(SignError::UnknownHeader { header: unknown.header.clone() });
                }
                let key = MacKey::new(recipe.algorithm, value);
                How::Recipe(Box::new(recipe), key)
            }
            Method::Twilio(_) => How::Twilio(MacKey::new(Algorithm::Sha1, value)),
            Method::Token(token) => {
                token.check(secret)?;
                let text = || {
                    let not_text = |_| ConfigError::NotHeaderText { id: secret.id().to_owned() };
                    String::from_utf8(value.to_vec()).map_err(not_text)
                };
                match token {
                    Token::Header(name) => How::Header(name, text()?),
                    Token::Basic => How::Header("authorization".to_owned(), format!("Basic {}", BASE64.encode(value))),
                    Token::Bearer => How::Header("authorization".to_owned(), format!("Bearer {}", text()?)),
                    Token::Query(key) => How::Query(key, value.to_vec()),
                }
            }
        };
        Ok(Self { how })
    }

    /// Signs one message.
    ///
    /// # Errors
    /// If id or timestamp cannot be written in the scheme.
    pub fn sign(&self, message: &Message<'_>) -> Result<Signed, SignError> {
        if message.timestamp < 0 {
            return Err(SignError::Timestamp { timestamp: message.timestamp });
        }
        let timestamp = message.timestamp.to_string();
        let mut url = message.url.to_owned();
        let headers = match &self.how {
            How::StandardMac(headers, key) => {
                let code = key.code(&standard::content(standard_id(message)?, &timestamp, message.body));
                standard_headers(headers, message, timestamp, format!("v1,{}", code.encode(Encoding::Base64)))
            }
            How::StandardEd25519(headers, pair) => {
                let content = standard::content(standard_id(message)?, &timestamp, message.body).concat();
                let signature = format!("v1a,{}", BASE64.encode(pair.sign(&content)));
                standard_headers(headers, message, timestamp, signature)
            }
            How::Recipe(recipe, key) => sign_recipe(recipe, key, message, &timestamp)?,
            How::Twilio(key) => {
                let is_form = twilio::is_form(message.content_type.as_bytes());
                let fields = if is_form { twilio::fields(message.body) } else { Vec::new() };
                if !is_form {
                    add_parameter(&mut url, twilio::BODY_HASH, const_hex::encode(digest(message.body)).as_bytes());
                }
                let code = key.code(&twilio::content(Cow::Borrowed(&url), &fields));
                vec![(twilio::HEADER.to_owned(), code.encode(Encoding::Base64))]
            }
            How::Header(name, value) => vec![(name.clone(), value.clone())],
            How::Query(key, value) => {
                add_parameter(&mut url, key, value);
                Vec::new()
            }
        };
        Ok(Signed { url, headers })
    }
}

/// Signs a JSON `POST` whose URL the scheme does not touch, and gives the headers to set.
///
/// # Errors
/// As [`Signer`], and [`SignError::NeedsUrl`] where the scheme signs or extends the URL.
pub fn sign(
    scheme: &Scheme,
    secret: &Secret,
    id: &str,
    timestamp: UnixSeconds,
    body: &[u8],
) -> Result<Vec<(String, String)>, SignError> {
    if scheme.signs_url() || matches!(scheme, Scheme::Query { .. }) {
        return Err(SignError::NeedsUrl { scheme: scheme.name() });
    }
    let message = Message { method: "POST", url: "", content_type: "application/json", id, timestamp, body };
    Ok(Signer::new(scheme, secret)?.sign(&message)?.headers)
}

fn standard_id<'m>(message: &Message<'m>) -> Result<&'m str, SignError> {
    if standard::is_unambiguous(message.id) {
        Ok(message.id)
    } else {
        Err(SignError::BadId { id: message.id.to_owned() })
    }
}

fn standard_headers(
    names: &Standard,
    message: &Message<'_>,
    timestamp: String,
    signature: String,
) -> Vec<(String, String)> {
    vec![
        (names.id.to_owned(), message.id.to_owned()),
        (names.timestamp.to_owned(), timestamp),
        (names.signature.to_owned(), signature),
    ]
}

/// Sets the headers the template reads, then signs the request they make.
fn sign_recipe(
    recipe: &Recipe,
    key: &MacKey,
    message: &Message<'_>,
    timestamp: &str,
) -> Result<Vec<(String, String)>, SignError> {
    let mut headers = Vec::new();
    if let Some(with_time) = &recipe.timestamp {
        with_time.part.write(&mut headers, timestamp);
    }
    if let Some(part) = &recipe.delivery_id {
        part.write(&mut headers, message.id);
    }
    let lookup = headers.as_slice();
    let request = Request { method: message.method, url: message.url, headers: &lookup, body: message.body };
    // An id that reads differently out of its field is not the id.
    if recipe.delivery_id.as_ref().is_some_and(|part| part.value(&request) != Ok(message.id)) {
        return Err(SignError::BadId { id: message.id.to_owned() });
    }
    // All its headers are set above, so only an id that the template cannot hold is left to be refused.
    let content = recipe.signed.content(&request).map_err(|_| SignError::BadId { id: message.id.to_owned() })?;
    let code = key.code(&content).encode(recipe.encoding);
    drop(content);
    // After the fields that are in the same header.
    HeaderPart::whole(recipe.header.as_str()).write(&mut headers, &format!("{}{code}", recipe.prefix));
    Ok(headers)
}

/// Adds a query parameter before the fragment, if there is one.
fn add_parameter(url: &mut String, name: &str, value: &[u8]) {
    let fragment = url.find('#').map(|at| url.split_off(at));
    url.push(if url.contains('?') { '&' } else { '?' });
    url.extend(form_urlencoded::byte_serialize(name.as_bytes()));
    url.push('=');
    url.extend(form_urlencoded::byte_serialize(value));
    url.extend(fragment);
}
