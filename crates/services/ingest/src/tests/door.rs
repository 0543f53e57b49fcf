//! An edge that listens, and a sender that signs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adapter::{Adapter, Dialect};
use config::{Ingest as Http, Quota};
use kafka::Cluster;
use reqwest::{Client, Method, Response};
use runtime::{Shutdown, Telemetry};
use signature::{Scheme, Secret, Verifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Edge, Ingest, LiveIngest, Settings, SourceSettings};

pub(super) const SECRET: &str = "dub-secret-that-nobody-may-see";

/// A click as Dub sends it, as far as the edge looks.
pub(super) fn click(id: &str) -> Vec<u8> {
    format!(
        r#"{{"id":"evt_{id}","event":"link.clicked","createdAt":"2026-11-23T10:00:00.000Z","data":{{"click":{{"id":"{id}"}},"link":{{"id":"l_1"}}}}}}"#
    )
    .into_bytes()
}

pub(crate) fn source(name: &str, scheme: Scheme, secret: &str) -> SourceSettings {
    SourceSettings {
        name: name.to_owned(),
        adapter: Adapter::Dub,
        dialect: Dialect::PLAIN,
        challenge: scheme.challenge(),
        verifier: Verifier::new(scheme, vec![Secret::new("first", secret)]).unwrap(),
        public_url: None,
        secret_parameter: None,
        events_in_query: false,
        max_body: 256 << 10,
        quota: None,
        in_flight: 2_048,
        refusals_allowed: Some(20),
        trusts_traces: false,
    }
}

/// Two sources that sign as Dub does.
pub(super) fn dubs() -> Vec<SourceSettings> {
    vec![source("dub", Scheme::Dub, SECRET), source("other", Scheme::Dub, SECRET)]
}

pub(super) fn with_quota(quota: Quota) -> Vec<SourceSettings> {
    vec![SourceSettings { quota: Some(quota), ..source("dub", Scheme::Dub, SECRET) }]
}

/// An edge that listens. No broker is there, so what is authentic is answered 503 unless it is a dry run.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) client: Client,
    pub(super) edge: Arc<Edge>,
    pub(super) live: LiveIngest,
    telemetry: Telemetry,
    shutdown: Shutdown,
}

impl Door {
    pub(super) async fn open(sources: Vec<SourceSettings>, http: Http) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (telemetry, shutdown) = (Telemetry::new("test").unwrap(), Shutdown::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            cluster: Cluster::new("127.0.0.1:1"),
            lanes: 4,
            http,
            sources,
            traces: traces::Traces::default(),
        };
        let ingest = Ingest::new(settings, &telemetry).unwrap();
        let (edge, live) = (Arc::clone(&ingest.edge), ingest.live());
        // Without Kafka nobody says how the sources are switched: nothing is.
        edge.sources.current().iter().for_each(|source| _ = source.switch.set(None));
        tokio::spawn(ingest.serve(listener, telemetry.clone(), shutdown.clone()));
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { address, client, edge, live, telemetry, shutdown }
    }

    pub(super) async fn with_defaults() -> Self {
        Self::open(dubs(), Http::default()).await
    }

    pub(super) async fn ask(&self, method: Method, path: &str) -> Response {
        self.client.request(method, format!("http://{}{path}", self.address)).send().await.unwrap()
    }

    /// Posts a signed body as a dry run.
    pub(super) async fn dry(&self, source: &str, body: &[u8]) -> Response {
        self.post(&format!("{source}?dry_run=1"), body, body, &[]).await
    }

    /// Posts `body` with the signature of `signed`.
    pub(super) async fn post(&self, target: &str, body: &[u8], signed: &[u8], more: &[(&str, &str)]) -> Response {
        let mut request = self.client.post(format!("http://{}/v1/webhooks/{target}", self.address)).body(body.to_vec());
        for (name, value) in
            signature(signed).iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(more.iter().copied())
        {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    /// The threads and tasks that are watched.
    pub(super) fn watched(&self) -> Vec<String> {
        self.telemetry.beats.names()
    }

    /// The value of a sample in the metrics.
    pub(super) fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.telemetry.metrics.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until a sample has a value.
    pub(super) async fn until(&self, sample: &str, holds: impl Fn(f64) -> bool) {
        for _ in 0..600 {
            if self.metric(sample).is_some_and(&holds) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sample} is {:?}", self.metric(sample));
    }

    /// A connection of its own, for bytes that no client would send.
    pub(super) async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

pub(super) fn signature(body: &[u8]) -> Vec<(String, String)> {
    signature::sign(&Scheme::Dub, &Secret::new("first", SECRET), "", 0, body).unwrap()
}

/// The head of a signed request for `source`, without its end.
pub(super) fn head(source: &str, body: &[u8]) -> String {
    let signature: String = signature(body).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("POST /v1/webhooks/{source} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{signature}")
}

/// Everything that comes until the other side closes.
pub(super) async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut text)).await;
    let _ = read.expect("the connection is closed in the end");
    String::from_utf8_lossy(&text).into_owned()
}
