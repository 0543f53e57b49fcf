//! Keys made ready once, so that a delivery costs only its own bytes.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit};
use ring::signature::UnparsedPublicKey;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::claim::{Code, Proof};
use crate::scheme::Algorithm;

/// What checks proofs for one secret.
pub(crate) enum Key {
    Mac(MacKey),
    Ed25519(UnparsedPublicKey<[u8; 32]>),
    /// SHA-256 of the secret: comparing digests hides the length too.
    Token([u8; 32]),
    /// Several keys that were given as one secret.
    Any(Vec<Key>),
}

impl Key {
    /// One key of several; alone, itself.
    pub(crate) fn any(mut keys: Vec<Self>) -> Self {
        if keys.len() == 1 { keys.remove(0) } else { Self::Any(keys) }
    }

    pub(crate) fn token(secret: &[u8]) -> Self {
        Self::Token(digest(secret))
    }

    /// Whether any proof was made over `content` by a holder of this key.
    pub(crate) fn proves(&self, content: &[Cow<'_, [u8]>], proofs: &[Proof]) -> bool {
        match self {
            Self::Mac(key) => {
                let expected = key.code(content);
                let expected = expected.as_bytes();
                proofs.iter().any(|proof| matches!(proof, Proof::Mac(code) if code.as_bytes().ct_eq(expected).into()))
            }
            Self::Ed25519(key) => {
                let mut signatures = proofs.iter().filter_map(|proof| match proof {
                    Proof::Ed25519(signature) => Some(signature),
                    _ => None,
                });
                let Some(first) = signatures.next() else { return false };
                let content = content.concat();
                std::iter::once(first).chain(signatures).any(|signature| key.verify(&content, signature).is_ok())
            }
            Self::Any(keys) => keys.iter().any(|key| key.proves(content, proofs)),
            Self::Token(expected) => {
                proofs.iter().any(|proof| matches!(proof, Proof::Token(token) if token.ct_eq(expected).into()))
            }
        }
    }
}

/// HMAC with the key already absorbed (two compressions saved a delivery); cloned for each use.
#[derive(Clone)]
pub(crate) enum MacKey {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    /// Boxed, since it is twice the size of the others and rare.
    Sha512(Box<Hmac<Sha512>>),
}

impl MacKey {
    #[allow(clippy::expect_used, reason = "HMAC is defined for keys of every length, so this cannot fail")]
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        const ANY_LENGTH: &str = "HMAC takes keys of any length";
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
            Algorithm::Sha256 => Self::Sha256(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
            Algorithm::Sha512 => Self::Sha512(Box::new(Hmac::new_from_slice(key).expect(ANY_LENGTH))),
        }
    }

    /// The code of `content`.
    pub(crate) fn code(&self, content: &[Cow<'_, [u8]>]) -> Code {
        match self {
            Self::Sha1(mac) => finish(mac.clone(), content),
            Self::Sha256(mac) => finish(mac.clone(), content),
            Self::Sha512(mac) => finish(Hmac::clone(mac), content),
        }
    }
}

#[allow(clippy::expect_used, reason = "the longest of the three codes has 64 bytes, and a Code has room for more")]
fn finish<M: hmac::Mac>(mut mac: M, content: &[Cow<'_, [u8]>]) -> Code {
    for piece in content {
        mac.update(piece);
    }
    Code::new(&mac.finalize().into_bytes()).expect("a code has at most 64 bytes")
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
