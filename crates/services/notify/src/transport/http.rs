//! Signed webhooks (Standard Webhooks): one POST a message, the same id and bytes on every attempt.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use runtime::with_causes;
use signature::{Message, Scheme, Secret, Signer};

use super::address::{PublicOnly, is_public, refusal};
use crate::outbox::PendingDelivery;
use crate::worker::Answer;

/// How long a destination may take to connect, and for the whole attempt.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, so that the connection can be used again. A longer answer costs its connection.
const MAX_ANSWER: usize = 16 * 1024;
const JSON: &str = "application/json";

/// A webhook destination.
pub(crate) struct Webhook(Result<Ready, String>);

/// Everything that can be made before the first message.
struct Ready {
    client: Client,
    url: Url,
    signer: Signer,
    allow_private: bool,
}

impl Webhook {
    /// A destination whose address or secret cannot be used refuses every message, in words.
    pub(crate) fn new(url: &str, secret: &Secret, allow_private: bool) -> Self {
        Self(Ready::new(url, secret, allow_private))
    }

    pub(crate) async fn send(&self, owed: &PendingDelivery, now_ms: i64) -> Answer {
        match &self.0 {
            Ok(ready) => ready.send(owed, now_ms).await,
            Err(error) => Answer::Refused { status: 0, error: error.clone() },
        }
    }
}

impl Ready {
    fn new(url: &str, secret: &Secret, allow_private: bool) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("its url cannot be read: {error}"))?;
        let signer = Signer::new(&Scheme::StandardWebhooks, secret).map_err(|error| error.to_string())?;
        let client = Client::builder()
            .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy() // a proxy would connect for us, to addresses that nobody has checked
            .referer(false)
            .connect_timeout(CONNECT)
            .timeout(WHOLE);
        let client = if allow_private { client } else { client.dns_resolver(Arc::new(PublicOnly)) };
        let client =
            client.build().map_err(|error| format!("no HTTP client could be made: {}", with_causes(&error)))?;
        Ok(Self { client, url, signer, allow_private })
    }

    async fn send(&self, owed: &PendingDelivery, now_ms: i64) -> Answer {
        if let Some(address) = self.literal_address()
            && !self.allow_private
            && !is_public(address)
        {
            return Answer::Refused { status: 0, error: refusal(Some(address)) };
        }
        let message = Message {
            method: "POST",
            url: self.url.as_str(),
            content_type: JSON,
            id: &owed.bundle_id,
            timestamp: now_ms.div_euclid(1_000),
            body: owed.body.as_bytes(),
        };
        let signed = match self.signer.sign(&message) {
            Ok(signed) => signed,
            Err(error) => return Answer::Refused { status: 0, error: error.to_string() },
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        for (name, value) in &signed.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
                _ => return Answer::Refused { status: 0, error: format!("the header {name} cannot be sent") },
            }
        }
        let request = self.client.post(self.url.clone()).headers(headers).body(owed.body.clone());
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => Answer::Again { status: 0, error: with_causes(&error.without_url()), after: None },
        }
    }

    /// The address, where the URL names it itself: no resolver sees it then.
    fn literal_address(&self) -> Option<IpAddr> {
        self.url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

async fn judge(mut response: reqwest::Response) -> Answer {
    let status = response.status();
    let after =
        response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
    // The answer is the status. Its body is read as far as it is short, and looked at by nobody.
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > MAX_ANSWER {
            break;
        }
    }
    let code = status.as_u16();
    match status {
        status if status.is_success() => Answer::Taken { status: code },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Answer::Refused { status: code, error: format!("it answers {status}: its secret is not the receiver's") }
        }
        StatusCode::GONE => {
            Answer::Refused { status: code, error: format!("it answers {status}: it wants no messages") }
        }
        status if status.is_redirection() => {
            let error = format!("it answers {status}: redirects are not followed, its url has to be the final one");
            Answer::Again { status: code, error, after }
        }
        status => Answer::Again { status: code, error: format!("it answers {status}"), after },
    }
}

/// Seconds, or a date.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::parse(value.trim()).ok()?.timestamp();
    // A date that has passed is no wait.
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = Timestamp::from_second(784_111_777).unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:40:07 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
