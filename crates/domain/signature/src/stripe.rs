//! Stripe: `stripe-signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]` over `{t}.{body}`.
//!
//! Source: docs.stripe.com/webhooks, "Verify webhook signatures manually". Other keys (`v0`) are for test mode and are ignored.

use std::borrow::Cow;

use crate::claim::{Claim, Code, Content, Proof, Read, proofs, unix_seconds};
use crate::request::{Refusal, Request};
use crate::scheme::{Encoding, TOLERANCE_SECONDS};

pub(crate) const HEADER: &str = "stripe-signature";

/// The scheme has no parameters.
pub(crate) struct Stripe;

impl Read for Stripe {
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        let entries = || request.header(HEADER).map(|value| value.split(',').filter_map(|e| e.trim().split_once('=')));
        // The first `t` counts, and only it is signed.
        let (_, timestamp) = entries()?.find(|(key, _)| *key == "t").ok_or(Refusal::MalformedHeader)?;
        let codes = entries()?.filter(|(key, _)| *key == "v1");
        let decoded = codes.filter_map(|(_, code)| Code::decode(code.as_bytes(), Encoding::Hex).map(Proof::Mac));
        Ok(Claim {
            content: content(timestamp, request.body),
            alternatives: Vec::new(),
            proofs: proofs(decoded)?,
            delivery_id: None,
            delivery_id_signed: false,
            timestamp: Some(unix_seconds(timestamp)?),
            tolerance: Some(TOLERANCE_SECONDS),
        })
    }
}

/// What is signed.
pub(crate) fn content<'r>(timestamp: &'r str, body: &'r [u8]) -> Content<'r> {
    [timestamp.as_bytes(), b".", body].map(Cow::Borrowed).into()
}
