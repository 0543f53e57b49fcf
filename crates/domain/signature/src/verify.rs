//! The verifier of one source.

use std::collections::HashSet;
use std::fmt;

use crate::claim::{Claim, Read};
use crate::key::{Key, MacKey};
use crate::recipe::{self, Recipe};
use crate::request::{Authentic, Refusal, Request};
use crate::scheme::{Algorithm, Scheme};
use crate::secret::{ConfigError, Secret, UnixSeconds};
use crate::standard::{self, Standard, StandardKey};
use crate::template::header_name;
use crate::token::Token;
use crate::twilio::Twilio;

/// Verifies the deliveries of one source: its scheme, and its secrets as prepared keys.
pub struct Verifier {
    method: Method,
    secrets: Vec<Keyed>,
}

/// The name and lifetime of a secret, and what checks it. The value itself is not kept.
struct Keyed {
    secret: Secret,
    key: Key,
}

impl Verifier {
    /// Reads the scheme and makes every secret ready.
    ///
    /// # Errors
    /// If there is no secret, one is empty, doubled, never live or not in the scheme's form, or the scheme's parameters
    /// make no sense. No error shows a secret.
    pub fn new(scheme: Scheme, secrets: Vec<Secret>) -> Result<Self, ConfigError> {
        let method = Method::new(&scheme)?;
        if secrets.is_empty() {
            return Err(ConfigError::NoSecret);
        }
        let mut ids = HashSet::new();
        let secrets = secrets.iter().map(|secret| {
            if !ids.insert(secret.id()) {
                return Err(ConfigError::DuplicateSecretId { id: secret.id().to_owned() });
            }
            if !secret.is_ever_live() {
                return Err(ConfigError::NeverLive { id: secret.id().to_owned() });
            }
            Ok(Keyed { key: method.key(secret)?, secret: secret.with_value(Vec::new()) })
        });
        Ok(Self { secrets: secrets.collect::<Result<_, _>>()?, method })
    }

    /// The names and lifetimes of its secrets. Their values are not in them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().map(|keyed| &keyed.secret)
    }

    /// Whether `request` comes from a holder of a secret that is live at `now` and, where the scheme can tell, was made
    /// within the tolerance of `now`.
    ///
    /// # Errors
    /// The reason of the refusal. [`Refusal::Stale`] and [`Refusal::Future`] mean that the signature itself is right.
    pub fn verify<'r>(&'r self, request: &Request<'r>, now: UnixSeconds) -> Result<Authentic<'r>, Refusal> {
        let mut live = self.secrets.iter().filter(|keyed| keyed.secret.is_live(now)).peekable();
        if live.peek().is_none() {
            return Err(Refusal::NoLiveSecret);
        }
        let claim = self.method.read(request)?;
        let matching = live.find(|keyed| proves(&keyed.key, &claim)).ok_or(Refusal::NoMatch)?;
        check_freshness(&claim, now)?;
        Ok(Authentic {
            secret_id: matching.secret.id(),
            delivery_id: claim.delivery_id,
            timestamp: claim.timestamp,
            delivery_id_signed: claim.delivery_id_signed && claim.delivery_id.is_some(),
        })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.secrets.iter().map(|keyed| &keyed.secret)).finish()
    }
}

fn proves(key: &Key, claim: &Claim<'_>) -> bool {
    std::iter::once(&claim.content).chain(&claim.alternatives).any(|content| key.proves(content, &claim.proofs))
}

fn check_freshness(claim: &Claim<'_>, now: UnixSeconds) -> Result<(), Refusal> {
    let (Some(timestamp), Some(tolerance)) = (claim.timestamp, claim.tolerance) else { return Ok(()) };
    // Saturating: `now` is the caller's, and a wrong clock must not wrap around into freshness.
    let age = now.saturating_sub(timestamp);
    if age > tolerance {
        Err(Refusal::Stale { seconds: age })
    } else if age < -tolerance {
        Err(Refusal::Future { seconds: age.saturating_neg() })
    } else {
        Ok(())
    }
}

/// A scheme made ready to read requests and secrets.
pub(crate) enum Method {
    Standard(&'static Standard),
    Recipe(Recipe),
    Twilio(Twilio),
    Token(Token),
}

impl Method {
    pub(crate) fn new(scheme: &Scheme) -> Result<Self, ConfigError> {
        let recipe = |scheme| Recipe::new(&scheme).map(Self::Recipe);
        match scheme {
            Scheme::StandardWebhooks => Ok(Self::Standard(&standard::UNBRANDED)),
            Scheme::Svix => Ok(Self::Standard(&standard::SVIX)),
            Scheme::Twilio => Ok(Self::Twilio(Twilio)),
            Scheme::Stripe => recipe(recipe::with_time(recipe::STRIPE, ".")),
            Scheme::Calendly => recipe(recipe::with_time(recipe::CALENDLY, ".")),
            Scheme::Mux => recipe(recipe::with_time(recipe::MUX, ".")),
            Scheme::Convoy => recipe(recipe::with_time(recipe::CONVOY, ",")),
            Scheme::GitHub => recipe(recipe::github()),
            Scheme::Shopify => recipe(recipe::shopify()),
            Scheme::Slack => recipe(recipe::slack()),
            Scheme::Dub => recipe(recipe::dub()),
            Scheme::Hookdeck => recipe(recipe::hookdeck()),
            Scheme::Outpost => recipe(recipe::outpost()),
            Scheme::Hmac(generic) => recipe(generic.clone()),
            Scheme::Header { name } => Ok(Self::Token(Token::Header(header_name(name)?))),
            Scheme::Basic => Ok(Self::Token(Token::Basic)),
            Scheme::Bearer => Ok(Self::Token(Token::Bearer)),
            Scheme::Query { key } if key.is_empty() => Err(ConfigError::QueryName),
            Scheme::Query { key } => Ok(Self::Token(Token::Query(key.clone()))),
        }
    }

    /// What checks `secret` in this scheme.
    fn key(&self, secret: &Secret) -> Result<Key, ConfigError> {
        if secret.value().is_empty() {
            return Err(ConfigError::EmptySecret { id: secret.id().to_owned() });
        }
        Ok(match self {
            Self::Standard(_) => {
                Key::any(StandardKey::all(secret)?.into_iter().map(StandardKey::into_verifying).collect())
            }
            Self::Recipe(recipe) => Key::Mac(MacKey::new(recipe.algorithm, secret.value())),
            Self::Twilio(_) => Key::Mac(MacKey::new(Algorithm::Sha1, secret.value())),
            Self::Token(token) => {
                token.check(secret)?;
                Key::token(secret.value())
            }
        })
    }

    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        match self {
            Self::Standard(standard) => standard.read(request),
            Self::Recipe(recipe) => recipe.read(request),
            Self::Twilio(twilio) => twilio.read(request),
            Self::Token(token) => token.read(request),
        }
    }
}
