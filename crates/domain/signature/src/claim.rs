//! What a request claims: the content it says is signed and the proofs it brings.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::request::{Refusal, Request};
use crate::scheme::Encoding;
use crate::secret::UnixSeconds;

/// A sender that rotates lists two or three signatures. More than this is not a rotation but an attack on our time.
const MOST_PROOFS: usize = 16;

/// Standard alphabet; a sender that leaves the padding out is understood. Stray trailing bits are refused.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// URL-safe alphabet, as above.
pub(crate) const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signed content in pieces, in order, so that the body is never copied.
pub(crate) type Content<'r> = Vec<Cow<'r, [u8]>>;

/// A request, read by the rules of its scheme. Nothing in it is proven yet.
pub(crate) struct Claim<'r> {
    pub(crate) content: Content<'r>,
    /// Other spellings of the content that the sender may have signed instead.
    pub(crate) alternatives: Vec<Content<'r>>,
    pub(crate) proofs: Vec<Proof>,
    pub(crate) delivery_id: Option<&'r str>,
    pub(crate) delivery_id_signed: bool,
    pub(crate) timestamp: Option<UnixSeconds>,
    /// Seconds the timestamp may lie from now; none where freshness means nothing.
    pub(crate) tolerance: Option<i64>,
}

/// Something only a holder of the secret could have made.
pub(crate) enum Proof {
    /// A message authentication code.
    Mac(Code),
    /// An ed25519 signature.
    Ed25519([u8; 64]),
    /// SHA-256 of the secret itself, as it came.
    Token([u8; 32]),
}

/// A decoded code: `bytes[..len]`.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Code {
    /// The longest code is 64 bytes; 88 base64 characters are estimated as 66.
    const ROOM: usize = 72;

    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut code = Self { bytes: [0; Self::ROOM], len: bytes.len() };
        code.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(code)
    }

    /// Reads a written code; `None` if it is not one.
    pub(crate) fn decode(text: &[u8], encoding: Encoding) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let mut bytes = [0; Self::ROOM];
        let len = match encoding {
            Encoding::Hex => {
                // An `0x` would be skipped silently: no sender writes one.
                let len = text.len() / 2;
                if text.starts_with(b"0x") {
                    return None;
                }
                const_hex::decode_to_slice(text, bytes.get_mut(..len)?).ok()?;
                len
            }
            Encoding::Base64 => BASE64.decode_slice(text, &mut bytes).ok()?,
            Encoding::Base64Url => BASE64_URL.decode_slice(text, &mut bytes).ok()?,
        };
        Some(Self { bytes, len })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn encode(&self, encoding: Encoding) -> String {
        match encoding {
            Encoding::Hex => const_hex::encode(self.as_bytes()),
            Encoding::Base64 => BASE64.encode(self.as_bytes()),
            Encoding::Base64Url => BASE64_URL.encode(self.as_bytes()),
        }
    }
}

/// Collects proofs: at least one must be readable, and not more than a rotation needs.
pub(crate) fn proofs(found: impl Iterator<Item = Proof>) -> Result<Vec<Proof>, Refusal> {
    let proofs: Vec<Proof> = found.take(MOST_PROOFS + 1).collect();
    if proofs.is_empty() || proofs.len() > MOST_PROOFS {
        return Err(Refusal::MalformedHeader);
    }
    Ok(proofs)
}

/// Reads unix seconds: digits only, so that there is one way to write a time.
pub(crate) fn unix_seconds(text: &str) -> Result<UnixSeconds, Refusal> {
    if text.is_empty() || text.len() > 15 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::MalformedHeader);
    }
    text.parse().map_err(|_| Refusal::MalformedHeader)
}

/// A way to read requests; one per scheme.
pub(crate) trait Read {
    /// Reads what the request claims.
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal>;
}
