//! A sender that behaves like a platform: it signs, and sends again until it has a 2xx.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use reqwest::{Client, StatusCode};
use signature::{Scheme, Secret};
use tokio::task::JoinSet;

/// Signs bodies for one source and posts them.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    url: String,
    scheme: Scheme,
    secret: Secret,
}

/// What became of the bodies of one run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bodies that were answered 2xx in the end.
    pub accepted: u64,
    /// Attempts that were not, and were repeated.
    pub repeated: u64,
}

/// How long a sender tries one body before it gives up.
const GIVE_UP: Duration = Duration::from_secs(120);

impl Sender {
    /// A sender to `<ingest>/v1/webhooks/<source>`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(ingest: &str, source: &str, scheme: Scheme, secret: Secret) -> anyhow::Result<Self> {
        let client = crate::http::client(Duration::from_secs(10))?;
        Ok(Self { client, url: format!("{ingest}/v1/webhooks/{source}"), scheme, secret })
    }

    /// The signed headers of one attempt.
    ///
    /// # Errors
    /// When the scheme cannot sign without more knowledge.
    pub fn headers(&self, body: &[u8]) -> anyhow::Result<Vec<(String, String)>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        let id = format!("msg_{}", uuid::Uuid::now_v7().simple());
        Ok(signature::sign(&self.scheme, &self.secret, &id, now, body)?)
    }

    /// One attempt.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn once(&self, body: &[u8]) -> anyhow::Result<(StatusCode, String)> {
        self.post(body, &self.headers(body)?).await
    }

    /// One attempt with headers of the caller's.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, body: &[u8], headers: &[(String, String)]) -> anyhow::Result<(StatusCode, String)> {
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body.to_vec());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// Attempts until a 2xx, as platforms do, though without their long pauses. Returns how many attempts failed.
    ///
    /// # Errors
    /// When the answer is a refusal that no repeat can change, or for two minutes there was none.
    pub async fn deliver(&self, body: &[u8]) -> anyhow::Result<u64> {
        let begun = std::time::Instant::now();
        let mut failed = 0;
        loop {
            match self.once(body).await {
                Ok((status, _)) if status.is_success() => return Ok(failed),
                Ok((status, text)) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    bail!("{} answered {status}: {text}", self.url)
                }
                other if begun.elapsed() > GIVE_UP => {
                    bail!("{} gave no 2xx for {} s; the last answer was {other:?}", self.url, GIVE_UP.as_secs())
                }
                Ok(_) | Err(_) => {}
            }
            failed += 1;
            tokio::time::sleep(Duration::from_millis(50 * failed.min(10))).await;
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
        let repeated = Arc::new(AtomicU64::new(0));
        let mut sent = Sent::default();
        let mut under_way = JoinSet::new();
        for body in bodies {
            if under_way.len() >= parallel {
                under_way.join_next().await.context("nothing under way")???;
                sent.accepted += 1;
            }
            let (sender, repeated) = (self.clone(), Arc::clone(&repeated));
            under_way.spawn(async move {
                repeated.fetch_add(sender.deliver(&body).await?, Ordering::Relaxed);
                anyhow::Ok(())
            });
        }
        while let Some(done) = under_way.join_next().await {
            done??;
            sent.accepted += 1;
        }
        sent.repeated = repeated.load(Ordering::Relaxed);
        Ok(sent)
    }
}
