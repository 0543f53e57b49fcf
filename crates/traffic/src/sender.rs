//! A sender that behaves like a platform: it signs, and sends again until it has a 2xx.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use signature::{Message, Scheme, Secret, Signer};

use crate::load::{self, Pace, Tally};
use crate::stream::Delivery;

/// How long a sender tries one body before it gives up.
const GIVE_UP: Duration = Duration::from_secs(120);
/// The longest pause between two attempts that were not told how long to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a sender does when it has no 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// As platforms do: `Retry-After` is waited for, else pauses grow. An address at which nobody has ever answered is
    /// given up at once: it is the wrong one.
    Polite,
    /// For tests that break things on purpose: short pauses whatever was answered, through any outage.
    Stubborn,
}

/// Signs bodies for one source and posts them.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    signer: Arc<Signer>,
    /// Where it posts to, without a query.
    url: String,
    /// The URL that a signature covers, where it covers one.
    signed_url: String,
    content_type: String,
    retries: Retries,
    reached: Arc<AtomicBool>,
}

/// An answer to one attempt.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub text: String,
    /// From the first byte sent to the last byte read.
    pub took: Duration,
}

/// What became of a delivery in the end.
#[derive(Debug, Clone)]
pub enum Fate {
    /// A 2xx.
    Taken(Answer),
    /// An answer that no repeat can change.
    Refused(Answer),
    /// Nobody has ever answered at this address; why, in words.
    Unreachable(String),
    /// No 2xx for two minutes; the last thing that was heard.
    Lost(String),
}

/// What became of the bodies of one run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bodies that were answered 2xx in the end.
    pub accepted: u64,
    /// Attempts that were not, and were repeated.
    pub repeated: u64,
}

impl Sender {
    /// A sender to `<ingest>/v1/webhooks/<source>` that retries stubbornly.
    ///
    /// # Errors
    /// When the scheme cannot sign with this secret, or no HTTP client can be made.
    pub fn new(ingest: &str, source: &str, scheme: Scheme, secret: Secret) -> anyhow::Result<Self> {
        let client = crate::http::client(Duration::from_secs(10))?;
        let url = format!("{}/v1/webhooks/{source}", ingest.trim_end_matches('/'));
        Ok(Self {
            client,
            signer: Arc::new(Signer::new(&scheme, &secret)?),
            signed_url: url.clone(),
            url,
            content_type: "application/json".to_owned(),
            retries: Retries::Stubborn,
            reached: Arc::default(),
        })
    }

    /// A polite sender that signs as `source` does, with the newest of its secrets that is live.
    ///
    /// # Errors
    /// When the source has no live secret, or its scheme cannot sign.
    pub fn of_source(ingest: &str, source: &config::Source) -> anyhow::Result<Self> {
        let secret = Secret::newest_live(&source.secrets, jiff::Timestamp::now().as_second())
            .with_context(|| format!("source {:?} has no secret that is live now", source.name))?;
        let sender = Self::new(ingest, &source.name, source.scheme.clone(), secret.clone())
            .with_context(|| format!("cannot sign as source {:?} does ({})", source.name, source.scheme.name()))?
            .retrying(Retries::Polite);
        Ok(match &source.public_url {
            Some(url) => sender.signing_for(url),
            None => sender,
        })
    }

    /// Retries in another way.
    #[must_use]
    pub fn retrying(self, retries: Retries) -> Self {
        Self { retries, ..self }
    }

    /// Says that its bodies are of this type.
    #[must_use]
    pub fn content_type(self, content_type: &str) -> Self {
        Self { content_type: content_type.to_owned(), ..self }
    }

    /// Signs for this URL, where signatures cover one: the public address, when it is not the one that is posted to.
    #[must_use]
    pub fn signing_for(self, public_url: &str) -> Self {
        Self { signed_url: public_url.to_owned(), ..self }
    }

    /// Asks what would happen; nothing is stored.
    #[must_use]
    pub fn dry_run(self) -> Self {
        let mark = if self.signed_url.contains('?') { '&' } else { '?' };
        Self { signed_url: format!("{}{mark}dry_run=1", self.signed_url), ..self }
    }

    /// Where it posts to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The HTTP client that it posts with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The signed headers of one attempt.
    ///
    /// # Errors
    /// When the message cannot be signed.
    pub fn headers(&self, body: &[u8]) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.sign(&new_id(), body)?.headers)
    }

    /// One attempt.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn once(&self, body: &[u8]) -> anyhow::Result<(StatusCode, String)> {
        let answer = self.attempt(&new_id(), body).await?;
        Ok((answer.status, answer.text))
    }

    /// One attempt, with all that its answer says.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn attempt_once(&self, body: &[u8]) -> anyhow::Result<Answer> {
        self.attempt(&new_id(), body).await
    }

    /// One attempt with headers of the caller's.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, body: &[u8], headers: &[(String, String)]) -> anyhow::Result<(StatusCode, String)> {
        let answer = self.request(&self.url, body, headers).await?;
        Ok((answer.status, answer.text))
    }

    /// Attempts until the delivery's fate is known, under one id; `seen` is told of each attempt: its answer, or why
    /// there is none.
    ///
    /// # Errors
    /// When the message cannot be signed.
    pub async fn send(&self, body: &[u8], seen: impl Fn(Result<&Answer, &str>)) -> anyhow::Result<Fate> {
        let (begun, id) = (Instant::now(), new_id());
        let mut failed = 0;
        loop {
            let signed = self.sign(&id, body)?;
            let attempted = self.request(&self.target(&signed.url), body, &signed.headers).await;
            let (asked, heard) = match attempted {
                Ok(answer) => {
                    seen(Ok(&answer));
                    match answer.status {
                        status if status.is_success() => return Ok(Fate::Taken(answer)),
                        StatusCode::TOO_MANY_REQUESTS => {}
                        status if status.is_client_error() => return Ok(Fate::Refused(answer)),
                        _ => {}
                    }
                    (answer.retry_after, format!("{} {}", answer.status, answer.text))
                }
                Err(error) => {
                    let why = anyhow::Error::new(error).root_cause().to_string();
                    seen(Err(&why));
                    if self.retries == Retries::Polite && !self.reached.load(Ordering::Relaxed) {
                        return Ok(Fate::Unreachable(why));
                    }
                    (None, why)
                }
            };
            if begun.elapsed() > GIVE_UP {
                return Ok(Fate::Lost(heard));
            }
            tokio::time::sleep(self.pause(failed, asked)).await;
            failed += 1;
        }
    }

    /// Attempts until a 2xx. Returns how many attempts failed.
    ///
    /// # Errors
    /// When the answer is a refusal that no repeat can change, or for two minutes there was none.
    pub async fn deliver(&self, body: &[u8]) -> anyhow::Result<u64> {
        let attempts = Mutex::new(0_u64);
        let fate = self.send(body, |_| *load::locked(&attempts) += 1).await?;
        let failed = (*load::locked(&attempts)).saturating_sub(1);
        match fate {
            Fate::Taken(_) => Ok(failed),
            Fate::Refused(answer) => bail!("{} answered {}: {}", self.url, answer.status, answer.text),
            Fate::Unreachable(why) => bail!("{} cannot be reached: {why}", self.url),
            Fate::Lost(heard) => bail!("{} gave no 2xx for {} s; the last was {heard}", self.url, GIVE_UP.as_secs()),
        }
    }

    /// Delivers every body, `parallel` at a time.
    ///
    /// # Errors
    /// When one of them is refused or never taken.
    pub async fn deliver_all(
        &self,
        bodies: impl IntoIterator<Item = Vec<u8>>,
        parallel: usize,
    ) -> anyhow::Result<Sent> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let deliveries = bodies.into_iter().map(|body| Delivery { body, again: false });
        load::run(self, deliveries, Pace { per_second: None, parallel }, &tally).await?;
        let tally = load::locked(&tally);
        if tally.refused > 0 {
            bail!("{} refused {} bodies: {}", self.url, tally.refused, tally.complaint.as_deref().unwrap_or_default());
        }
        Ok(Sent { accepted: tally.accepted + tally.quarantined, repeated: tally.repeated() })
    }

    async fn attempt(&self, id: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let signed = self.sign(id, body)?;
        Ok(self.request(&self.target(&signed.url), body, &signed.headers).await?)
    }

    fn sign(&self, id: &str, body: &[u8]) -> anyhow::Result<signature::Signed> {
        let timestamp = jiff::Timestamp::now().as_second();
        let (url, content_type) = (self.signed_url.as_str(), self.content_type.as_str());
        Ok(self.signer.sign(&Message { method: "POST", url, content_type, id, timestamp, body })?)
    }

    /// The address posted to, with what stands in the query of the signed one.
    fn target(&self, signed_url: &str) -> String {
        match signed_url.split_once('?') {
            Some((_, query)) => format!("{}?{query}", self.url),
            None => self.url.clone(),
        }
    }

    async fn request(&self, url: &str, body: &[u8], headers: &[(String, String)]) -> reqwest::Result<Answer> {
        let begun = Instant::now();
        let mut request = self.client.post(url).header(CONTENT_TYPE, &self.content_type).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        self.reached.store(true, Ordering::Relaxed);
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let (status, retry_after) = (answer.status(), seconds.map(Duration::from_secs));
        Ok(Answer { status, retry_after, text: answer.text().await?, took: begun.elapsed() })
    }

    /// How long to wait after `failed` further failures, if the last one asked for `asked`.
    fn pause(&self, failed: u32, asked: Option<Duration>) -> Duration {
        match self.retries {
            Retries::Stubborn => Duration::from_millis(50) * (failed + 1).min(10),
            Retries::Polite => {
                asked.unwrap_or(Duration::from_millis(250) * 2_u32.pow(failed.min(5))).min(LONGEST_PAUSE)
            }
        }
    }
}

/// The id of a delivery, the same in each of its attempts.
fn new_id() -> String {
    format!("msg_{}", uuid::Uuid::now_v7().simple())
}
