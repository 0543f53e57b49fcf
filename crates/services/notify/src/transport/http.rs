//! One HTTP request: bounded in time and size, to public addresses only, redirects not followed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use notification::destination::{Answer, Request, Verdict};
use outgoing::{PublicOnly, is_public, literal_address, refusal};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Proxy, Url, redirect};
use runtime::with_causes;

/// How long a destination may take to connect, and for the whole attempt.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read. A longer answer costs its connection.
const MAX_ANSWER: usize = 1024 * 1024;

/// What makes the requests of one destination.
pub(crate) struct Http {
    client: Client,
    allow_private: bool,
}

impl Http {
    /// A client. Through a proxy, the proxy connects: names are not resolved here, and their addresses not checked.
    pub(crate) fn new(allow_private: bool, proxy: Option<&str>) -> Result<Self, String> {
        let client = Client::builder()
            .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy() // one that the environment names would connect for us, to addresses that are not checked
            .referer(false)
            .connect_timeout(CONNECT)
            .timeout(WHOLE);
        let client = match proxy {
            Some(proxy) => {
                let proxy = Proxy::all(proxy)
                    .map_err(|error| format!("its proxy cannot be used: {}", with_causes(&error.without_url())))?;
                client.proxy(proxy)
            }
            None if allow_private => client,
            None => client.dns_resolver(Arc::new(PublicOnly)),
        };
        let client =
            client.build().map_err(|error| format!("no HTTP client could be made: {}", with_causes(&error)))?;
        Ok(Self { client, allow_private })
    }

    /// Makes a request. Without an answer, the attempt ends with a verdict.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Verdict> {
        let refused = |error: String| Verdict::Refused { status: 0, error };
        let url = Url::parse(&request.url).map_err(|error| refused(format!("its url cannot be read: {error}")))?;
        if let Some(address) = literal_address(&url)
            && !self.allow_private
            && !is_public(address)
        {
            return Err(refused(refusal(Some(address))));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(name.as_str() == "authorization");
                    headers.insert(name, value);
                }
                _ => return Err(refused(format!("the header {name} cannot be sent"))),
            }
        }
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| refused(error.to_string()))?;
        let sent = self.client.request(method, url).headers(headers).body(request.body).send().await;
        match sent {
            Ok(response) => Ok(read(response).await),
            Err(error) => Err(Verdict::Retry { status: 0, error: with_causes(&error.without_url()), after: None }),
        }
    }
}

/// The answer, its body as far as it is short.
async fn read(mut response: reqwest::Response) -> Answer {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers = response.headers().iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            body.truncate(MAX_ANSWER);
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Answer { status: response.status().as_u16(), headers, retry_after, body }
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
