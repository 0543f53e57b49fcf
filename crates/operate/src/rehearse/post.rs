//! Sending made-up events, signed as the source's platform signs.

use std::time::Duration;

use config::Source;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};
use serde_json::Value;
use signature::{Message, Secret, Signer};

use super::made_up::MadeUp;
use crate::error::refuse;
use crate::{Result, clock};

const JSON: &str = "application/json";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
/// Attempts of one request.
const ATTEMPTS: u32 = 6;
/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_secs(5);
/// Events in one request.
const TOGETHER: usize = 50;

/// Posts to one source.
pub(crate) struct Poster {
    client: Client,
    signer: Signer,
    /// The address that is posted to, and the one that a signature covers.
    url: String,
    signed_url: String,
    max_body: usize,
    /// Tells its requests from each other.
    sent: u32,
    /// Attempts after a first one that had no answer, or none that says it was taken.
    repeated: u64,
    run: String,
}

impl Poster {
    pub(crate) fn new(source: &Source, ingest: &str, run: &str) -> Result<Self> {
        let Some(secret) = Secret::newest_live(&source.secrets, clock::now().0.div_euclid(1_000)) else {
            refuse!(
                "source {:?} has no secret here that is live now: made-up events are signed as its platform signs, so the secrets \
                 that the configuration names have to be readable where they are sent from",
                source.name
            );
        };
        let signer = match Signer::new(&source.scheme, secret) {
            Ok(signer) => signer,
            Err(why) => {
                refuse!("nothing can be signed as source {:?} does ({}): {why}", source.name, source.scheme.name())
            }
        };
        // An error means that a provider is installed already, which is all that is needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER)
            .build();
        let client = match client {
            Ok(client) => client,
            Err(why) => refuse!("no HTTP client can be made: {why}"),
        };
        let url = format!("{}/v1/webhooks/{}", ingest.trim_end_matches('/'), source.name);
        Ok(Self {
            client,
            signer,
            signed_url: source.public_url.clone().unwrap_or_else(|| url.clone()),
            url,
            max_body: usize::try_from(source.max_body).unwrap_or(usize::MAX),
            sent: 0,
            repeated: 0,
            run: run.to_owned(),
        })
    }

    /// Posts events, each as often as it is to be delivered; those of a burst many at a time. The receipts.
    pub(super) async fn post_all(&mut self, events: &[MadeUp]) -> Result<Vec<String>> {
        let (mut receipts, mut waiting) = (Vec::new(), Vec::new());
        for event in events {
            if event.deliveries == 1 {
                waiting.push(event.body.clone());
                if waiting.len() == TOGETHER {
                    self.post_together(std::mem::take(&mut waiting), &mut receipts).await?;
                }
                continue;
            }
            for _ in 0..event.deliveries {
                receipts.push(self.post(&event.body).await?);
            }
        }
        self.post_together(waiting, &mut receipts).await?;
        Ok(receipts)
    }

    async fn post_together(&mut self, mut events: Vec<Value>, receipts: &mut Vec<String>) -> Result<()> {
        while !events.is_empty() {
            let mut count = events.len();
            while count > 1
                && events[..count].iter().map(|one| one.to_string().len() + 1).sum::<usize>() > self.max_body / 2
            {
                count = count.div_ceil(2);
            }
            let rest = events.split_off(count);
            receipts.push(self.post(&Value::Array(std::mem::replace(&mut events, rest))).await?);
        }
        Ok(())
    }

    /// How often a request was repeated. Ingest may have taken it before as well: then its events are duplicates.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Posts a body. The receipt.
    pub(super) async fn post(&mut self, body: &Value) -> Result<String> {
        self.sent += 1;
        let id = format!("msg_rehearse_{}_{}", self.run, self.sent);
        let mut said = String::new();
        for attempt in 0..ATTEMPTS {
            self.repeated += u64::from(attempt > 0);
            let mut pause = Duration::from_millis(250 << attempt);
            match self.post_once(&id, body).await? {
                Answered::Taken(receipt) => return Ok(receipt),
                Answered::Unreachable(why) => said = why,
                Answered::Refused { status, said: answer, after } => {
                    said = answer;
                    pause = after.unwrap_or(pause);
                    // An answer without a receipt is not from a Hookline.
                    if status.is_success() || (status.is_client_error() && status.as_u16() != 429) {
                        break;
                    }
                }
            }
            tokio::time::sleep(pause.min(PAUSE)).await;
        }
        refuse!("{} {said}", self.url)
    }

    /// Posts a body once, under an id that a second attempt would keep.
    pub(crate) async fn post_once(&self, id: &str, body: &Value) -> Result<Answered> {
        let body = body.to_string();
        let timestamp = clock::now().0.div_euclid(1_000);
        let (url, body) = (self.signed_url.as_str(), body.as_bytes());
        let signed = match self.signer.sign(&Message { method: "POST", url, content_type: JSON, id, timestamp, body }) {
            Ok(signed) => signed,
            Err(why) => refuse!("the request cannot be signed: {why}"),
        };
        let target = match signed.url.split_once('?') {
            Some((_, query)) => format!("{}?{query}", self.url),
            None => self.url.clone(),
        };
        let mut request = self.client.post(target).header(CONTENT_TYPE, JSON).body(body.to_vec());
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(why) => return Ok(Answered::Unreachable(format!("cannot be reached: {}", without_url(why)))),
        };
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let after = after.map(Duration::from_secs);
        let text = answer.text().await.unwrap_or_default();
        if status.is_success() {
            let receipt = serde_json::from_str::<Value>(&text).ok();
            if let Some(receipt) = receipt.as_ref().and_then(|answer| answer["receipt"].as_str()) {
                return Ok(Answered::Taken(receipt.to_owned()));
            }
        }
        let without = if status.is_success() { ", which names no receipt" } else { "" };
        let said = format!("answers {status}: {}{without}", text.chars().take(300).collect::<String>());
        Ok(Answered::Refused { status, said, after })
    }
}

/// What became of one request.
pub(crate) enum Answered {
    /// It was taken, under this receipt.
    Taken(String),
    /// Another answer, in words, with how long to wait if it says so.
    Refused { status: StatusCode, said: String, after: Option<Duration> },
    /// No answer, and why.
    Unreachable(String),
}

/// Why, without the address, which may carry a secret.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
