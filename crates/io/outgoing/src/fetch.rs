//! Fetching a file from an address: only if it has changed, no more of it than is allowed, in no more time.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use runtime::with_causes;

use super::address::{PublicOnly, is_public, literal_address, refusal};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may say nothing.
const SILENCE: Duration = Duration::from_secs(15);
/// How often the server may send us elsewhere.
const HOPS: usize = 4;

/// How much a file may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most bytes.
    pub bytes: u64,
    /// The whole time.
    pub time: Duration,
}

/// What a server said to know a file by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

/// What became of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is as it was.
    Unchanged,
    /// All of it was written.
    New(Validators),
}

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address may not be asked, or is none.
    #[error("{0}")]
    Refused(String),
    /// No answer, or none to its end.
    #[error("no answer: {0}")]
    Silent(String),
    /// Another answer than a file.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// It is larger than allowed.
    #[error("it is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// It took too long.
    #[error("it was not there within {0:?}")]
    TooSlow(Duration),
    /// What came could not be written.
    #[error("it could not be written: {0}")]
    Write(#[from] std::io::Error),
}

/// What fetches the file of one address.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    url: Url,
    allow_private: bool,
    bounds: Bounds,
}

impl Fetcher {
    /// A client for one address. Unless `allow_private`, only public addresses are asked.
    ///
    /// # Errors
    /// When the address is none, or the system gives no client.
    pub fn new(url: &str, allow_private: bool, bounds: Bounds) -> Result<Self, FetchError> {
        // The one that is installed first stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let url = Url::parse(url).map_err(|error| FetchError::Refused(format!("its url cannot be read: {error}")))?;
        let client = Client::builder()
            .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none()) // each hop is checked as the first one is
            .no_proxy() // one that the environment names would connect for us, to addresses that are not checked
            .referer(false)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(bounds.time);
        let client = if allow_private { client } else { client.dns_resolver(Arc::new(PublicOnly)) };
        let client = client.build().map_err(|error| FetchError::Refused(with_causes(&error)))?;
        Ok(Self { client, url, allow_private, bounds })
    }

    /// Fetches the file, unless it is the one that `known` names, and writes it to `to`.
    ///
    /// # Errors
    /// When the address may not be asked, does not answer with a file, or the file is beyond its bounds. Then what was
    /// written is to be thrown away.
    pub async fn fetch(&self, known: &Validators, to: &mut impl Write) -> Result<Fetched, FetchError> {
        let whole = tokio::time::timeout(self.bounds.time, self.fetch_within(known, to));
        whole.await.map_err(|_| FetchError::TooSlow(self.bounds.time))?
    }

    async fn fetch_within(&self, known: &Validators, to: &mut impl Write) -> Result<Fetched, FetchError> {
        let mut url = self.url.clone();
        for _ in 0..=HOPS {
            let response = self.ask(&url, known).await?;
            match response.status() {
                StatusCode::OK => return self.write(response, to).await,
                StatusCode::NOT_MODIFIED => return Ok(Fetched::Unchanged),
                status if status.is_redirection() => url = next(&url, &response)?,
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Refused(format!("the server sends us elsewhere over {HOPS} times")))
    }

    async fn ask(&self, url: &Url, known: &Validators) -> Result<Response, FetchError> {
        if let Some(address) = literal_address(url)
            && !self.allow_private
            && !is_public(address)
        {
            return Err(FetchError::Refused(refusal(Some(address))));
        }
        let mut request = self.client.get(url.clone());
        if let Some(etag) = &known.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(modified) = &known.modified {
            request = request.header(IF_MODIFIED_SINCE, modified);
        }
        request.send().await.map_err(|error| FetchError::Silent(with_causes(&error.without_url())))
    }

    async fn write(&self, mut response: Response, to: &mut impl Write) -> Result<Fetched, FetchError> {
        let most = self.bounds.bytes;
        if response.content_length().is_some_and(|bytes| bytes > most) {
            return Err(FetchError::TooLarge(most));
        }
        let validators =
            Validators { etag: text(response.headers(), ETAG), modified: text(response.headers(), LAST_MODIFIED) };
        let mut written = 0_u64;
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| FetchError::Silent(with_causes(&error.without_url())))? else {
                break;
            };
            written += chunk.len() as u64;
            if written > most {
                return Err(FetchError::TooLarge(most));
            }
            to.write_all(&chunk)?;
        }
        Ok(Fetched::New(validators))
    }
}

/// Where an answer sends us. From `https` only to `https`.
fn next(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let place = text(response.headers(), LOCATION).unwrap_or_default();
    let to = from.join(&place).map_err(|error| FetchError::Refused(format!("it sends us to no address: {error}")))?;
    if to.scheme() != "https" && (from.scheme() == "https" || to.scheme() != "http") {
        return Err(FetchError::Refused(format!("it sends us from https to {}", to.scheme())));
    }
    Ok(to)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;
    use axum::routing::get;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1_000, time: Duration::from_secs(2) };

    /// A server with a file, and with what may be wrong with one.
    async fn server() -> String {
        let file = |headers: HeaderMap| async move {
            let known = headers.get(IF_NONE_MATCH).is_some_and(|etag| etag == "\"7\"")
                || headers.get(IF_MODIFIED_SINCE).is_some_and(|at| at == "Sun, 29 Nov 2026 10:00:00 GMT");
            if known {
                return StatusCode::NOT_MODIFIED.into_response();
            }
            let mut response = "link,kind\n".into_response();
            response.headers_mut().insert(ETAG, HeaderValue::from_static("\"7\""));
            let modified = HeaderValue::from_static("Sun, 29 Nov 2026 10:00:00 GMT");
            response.headers_mut().insert(LAST_MODIFIED, modified);
            response
        };
        let moved = |to: &'static str| async move { (StatusCode::FOUND, [(LOCATION, to)]) };
        let endless = || async {
            let chunk = || std::future::ready(Some((Ok::<_, std::io::Error>(vec![b'x'; 400]), ())));
            Body::from_stream(futures_of(chunk))
        };
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            "late"
        };
        let app = Router::new()
            .route("/file", get(file))
            .route("/moved", get(move || moved("/file")))
            .route("/inside", get(move || moved("http://10.0.0.1/x")))
            .route("/around", get(move || moved("/around")))
            .route("/large", get(|| async { "x".repeat(1_001) }))
            .route("/endless", get(endless))
            .route("/slow", get(slow));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    /// A body without an end and without a length.
    fn futures_of<F, R>(chunk: F) -> impl futures::Stream<Item = Result<Vec<u8>, std::io::Error>>
    where
        F: Fn() -> R,
        R: Future<Output = Option<(Result<Vec<u8>, std::io::Error>, ())>>,
    {
        futures::stream::unfold((), move |()| chunk())
    }

    async fn fetch(url: &str, known: &Validators) -> (Result<Fetched, FetchError>, Vec<u8>) {
        let mut written = Vec::new();
        let fetched = Fetcher::new(url, true, BOUNDS).unwrap().fetch(known, &mut written).await;
        (fetched, written)
    }

    #[tokio::test]
    async fn a_file_comes_once_and_then_only_when_it_has_changed() {
        let server = server().await;
        for place in ["/file", "/moved"] {
            let url = format!("{server}{place}");
            let (fetched, written) = fetch(&url, &Validators::default()).await;
            let Ok(Fetched::New(validators)) = fetched else { panic!("{fetched:?}") };
            assert_eq!((written.as_slice(), validators.etag.as_deref()), (b"link,kind\n".as_slice(), Some("\"7\"")));
            let by_date = Validators { etag: None, ..validators.clone() };
            for known in [validators, by_date] {
                let (fetched, written) = fetch(&url, &known).await;
                assert_eq!((fetched.unwrap(), written.len()), (Fetched::Unchanged, 0));
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_large_too_slow_or_not_there_is_given_up() {
        let server = server().await;
        for (place, why) in [
            ("/large", "it is larger than 0 MiB"),
            ("/endless", "it is larger than 0 MiB"),
            ("/slow", "no answer"),
            ("/none", "the server answered 404 Not Found"),
            ("/around", "the server sends us elsewhere over 4 times"),
        ] {
            let (fetched, written) = fetch(&format!("{server}{place}"), &Validators::default()).await;
            let said = fetched.unwrap_err().to_string();
            assert!(said.starts_with(why) || said.starts_with("it was not there within"), "{place}: {said}");
            assert!(written.len() <= 1_000, "{place}");
        }
    }

    #[tokio::test]
    async fn addresses_inside_are_not_asked_unless_that_is_allowed() {
        let server = server().await;
        let inside = Fetcher::new(&format!("{server}/file"), false, BOUNDS).unwrap();
        let said = inside.fetch(&Validators::default(), &mut Vec::new()).await.unwrap_err().to_string();
        assert!(said.contains("is not a public address; allow_private = true beside its url"), "{said}");
        let named = server.replace("127.0.0.1", "localhost");
        let inside = Fetcher::new(&format!("{named}/file"), false, BOUNDS).unwrap();
        let said = inside.fetch(&Validators::default(), &mut Vec::new()).await.unwrap_err().to_string();
        assert!(said.contains("is not a public address"), "a name that leads inside: {said}");
        // A hop is checked as the first address is: where only the first one is public, it would lead inside.
        let hops = Url::parse("https://lists.example/a").unwrap();
        let response = |to: &str| {
            let answer = axum::http::Response::builder().status(302).header(LOCATION, to).body("").unwrap();
            Response::from(answer)
        };
        assert_eq!(next(&hops, &response("/b")).unwrap().as_str(), "https://lists.example/b");
        assert!(
            next(&hops, &response("http://lists.example/b")).unwrap_err().to_string().contains("from https to http")
        );
        assert!(next(&hops, &response("file:///etc/passwd")).is_err());
    }
}
