//! Webhook authentication: verify what a sender signed, and sign what we send.
//!
//! A [`Verifier`] is made once per source from a [`Scheme`] and that source's [`Secret`]s, and answers each [`Request`]
//! with [`Authentic`] or a [`Refusal`]. A [`Signer`] does the reverse. Everything works on the raw bytes of the body.
//!
//! ```
//! use hookline_signature::{Request, Scheme, Secret, Verifier, sign};
//!
//! let secret = Secret::new("2026-09", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
//! let verifier = Verifier::new(Scheme::StandardWebhooks, vec![secret.clone()])?;
//!
//! let headers = sign(&Scheme::StandardWebhooks, &secret, "msg_1", 1_767_225_600, b"{}")?;
//! let headers = headers.as_slice();
//! let request = Request { method: "POST", url: "/v1/webhooks/shop", headers: &headers, body: b"{}" };
//! let authentic = verifier.verify(&request, 1_767_225_610)?;
//! assert_eq!((authentic.secret_id, authentic.delivery_id), ("2026-09", Some("msg_1")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What holds for every scheme:
//! - Codes are compared decoded and in constant time; static secrets as SHA-256 digests, so that length does not leak either.
//! - Every secret that is live at `now` is tried, and every signature the sender lists; one match is enough.
//! - Freshness is checked only where the timestamp is signed and made anew for each attempt (Standard Webhooks, Svix,
//!   Stripe, Calendly, Mux, Convoy, Slack, and generic HMAC with a timestamp). Others retry the same bytes for days.
//! - No secret appears in `Debug`, in an error or in a refusal.

mod claim;
mod diagnose;
mod key;
mod part;
mod recipe;
mod remark;
mod request;
mod scheme;
mod secret;
mod sign;
mod standard;
mod template;
mod token;
mod twilio;
mod verify;

pub use diagnose::{BodyChange, Captured, Finding, HmacChange, ParameterChange, SecretChange, diagnose};
pub use part::HeaderPart;
pub use remark::{Remark, remarks};
pub use request::{Authentic, Headers, Refusal, Request};
pub use scheme::{Algorithm, Encoding, HmacScheme, Scheme, SignedTime, TOLERANCE_SECONDS, UnknownScheme};
pub use secret::{ConfigError, Secret, UnixSeconds};
pub use sign::{Message, SignError, Signed, Signer, sign};
pub use verify::Verifier;
