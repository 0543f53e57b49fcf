//! Webhook authentication: verify what a sender signed, and sign what we send.
//!
//! A [`Verifier`] is made once per source from a [`Scheme`] and that source's [`Secret`]s, and answers each [`Request`]
//! with [`Authentic`] or a [`Refusal`]. A [`Signer`] does the reverse. Everything works on the raw bytes of the body.
//!
//! What holds for every scheme:
//! - Codes are compared decoded and in constant time; static secrets as SHA-256 digests, so that length does not leak either.
//! - Every secret that is live at `now` is tried, and every signature the sender lists; one match is enough.
//! - Freshness is checked only where the timestamp is signed and made anew for each attempt (Standard Webhooks, Svix,
//!   Stripe, Slack, and generic HMAC with a timestamp). Others retry the same bytes for days.
//! - No secret appears in `Debug`, in an error or in a refusal.

mod claim;
mod key;
mod recipe;
mod request;
mod scheme;
mod secret;
mod sign;
mod standard;
mod stripe;
mod template;
mod token;
mod twilio;
mod verify;

pub use request::{Authentic, Headers, Refusal, Request};
pub use scheme::{Algorithm, Encoding, HmacScheme, Scheme, TOLERANCE_SECONDS, TimestampHeader, UnknownScheme};
pub use secret::{ConfigError, Secret, UnixSeconds};
pub use sign::{Message, SignError, Signed, Signer, sign};
pub use verify::Verifier;
