//! One large file over HTTP, resumed where it broke off.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::progress::Progress;

/// A server that sends nothing for this long has gone away.
const SILENCE: Duration = Duration::from_secs(30);
/// Tries in a row that bring not one byte, before it is given up.
const BARREN_TRIES: u32 = 5;
/// The pause after the first barren try; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A client that goes through `HTTP(S)_PROXY` and trusts the system's certificates (or those of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`), and those of `NODE_EXTRA_CA_CERTS`, which npm trusts too.
pub(super) fn client() -> anyhow::Result<Client> {
    // An error means that a provider is installed already, which is all that is needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        .read_timeout(SILENCE);
    if let Some(path) = std::env::var_os("NODE_EXTRA_CA_CERTS").filter(|path| !path.is_empty()) {
        let pem = std::fs::read(&path)
            .with_context(|| format!("cannot read NODE_EXTRA_CA_CERTS={}", Path::new(&path).display()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("cannot read the certificates of {}", Path::new(&path).display()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().context("cannot set up an HTTP client")
}

/// Downloads `address` to `part`, from where an earlier run stopped. When this returns the file is as long as the
/// server says that it is; whether it is the right one is for the caller to check.
pub(super) async fn to_file(
    client: &Client,
    address: &str,
    part: &Path,
    what: &str,
    progress: Progress,
) -> anyhow::Result<()> {
    let mut barren = 0;
    loop {
        let before = length(part).await;
        let error = match attempt(client, address, part, what, progress).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.is::<Refused>() {
            return Err(error);
        }
        let have = length(part).await;
        barren = if have > before { 0 } else { barren + 1 };
        if barren == BARREN_TRIES {
            return Err(error).with_context(|| {
                format!("the download of {what} stopped after {} MB; start again to resume it", have / 1_000_000)
            });
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(barren)).await;
    }
}

/// An answer that will not change by asking again.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {0} for {1}")]
struct Refused(StatusCode, String);

async fn attempt(client: &Client, address: &str, part: &Path, what: &str, progress: Progress) -> anyhow::Result<()> {
    let have = length(part).await;
    let mut request = client.get(address);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let response = request.send().await.map_err(root_cause)?;
    let (start, total) = match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let (start, total) = content_range(&response)
                .with_context(|| format!("the server answered with a part of {what} and did not say which"))?;
            if start != have {
                bail!("the server answered with byte {start} of {what}, asked was {have}");
            }
            (start, total)
        }
        // It does not know ranges: all of it comes again.
        StatusCode::OK => (0, response.content_length()),
        StatusCode::RANGE_NOT_SATISFIABLE if content_range_total(&response) == Some(have) => return Ok(()),
        StatusCode::RANGE_NOT_SATISFIABLE => {
            tokio::fs::remove_file(part).await.context("cannot remove a download that does not fit")?;
            bail!("the file on the server is not the one that this download began with");
        }
        status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            bail!(Refused(status, address.to_owned()));
        }
        status => bail!("the server answered {status}"),
    };
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(start == 0)
        .append(start > 0)
        .open(part)
        .await
        .with_context(|| format!("cannot write {}", part.display()))?;
    let shown = progress.download(what, total.unwrap_or(0), start);
    let mut written = start;
    let mut body = response.bytes_stream();
    let outcome = loop {
        match body.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(root_cause(error)),
            Some(Ok(chunk)) => {
                file.write_all(&chunk).await.with_context(|| format!("cannot write {}", part.display()))?;
                written += chunk.len() as u64;
                shown.at(written);
            }
        }
    };
    file.flush().await.with_context(|| format!("cannot write {}", part.display()))?;
    shown.finish();
    outcome?;
    match total {
        Some(total) if written != total => bail!("the connection ended at byte {written} of {total}"),
        _ => Ok(()),
    }
}

/// `Content-Range: bytes 100-199/200` → (100, Some(200)).
fn content_range(response: &Response) -> Option<(u64, Option<u64>)> {
    let (range, total) = content_range_text(response)?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// `Content-Range: bytes */200` → 200.
fn content_range_total(response: &Response) -> Option<u64> {
    content_range_text(response)?.split_once('/')?.1.parse().ok()
}

fn content_range_text(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")
}

/// The innermost cause: "dns error" and "connection refused" say more than "error sending request".
fn root_cause(error: reqwest::Error) -> anyhow::Error {
    let address = error.url().map(|url| url.host_str().unwrap_or_default().to_owned()).unwrap_or_default();
    let root = anyhow::Error::new(error.without_url());
    let cause = root.root_cause().to_string();
    anyhow::anyhow!("{address}: {cause}")
}

async fn length(part: &Path) -> u64 {
    // A file that cannot be looked at cannot be written either, and that is an error with a name.
    tokio::fs::metadata(part).await.map_or(0, |meta| meta.len())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const SIZE: usize = 300_000;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|i| (i * i % 251) as u8).collect()
    }

    #[derive(Clone, Copy)]
    enum Manner {
        /// Honours ranges, and closes every connection after a third of the file.
        BreaksOff,
        /// Answers 200 with all of it whatever was asked.
        IgnoresRange,
        Missing,
    }

    /// A server with one file. Spoken by hand, since a proper one does not break off in the middle of a body.
    async fn serve(manner: Manner) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let asked = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
                let from = asked.map_or(0, |range| range.trim_end_matches('-').parse::<usize>().unwrap());
                let (status, from, to) = match manner {
                    Manner::Missing => ("404 Not Found\r\ncontent-length: 0".to_owned(), SIZE, SIZE),
                    Manner::IgnoresRange => (format!("200 OK\r\ncontent-length: {SIZE}"), 0, SIZE),
                    Manner::BreaksOff if from == 0 => (format!("200 OK\r\ncontent-length: {SIZE}"), 0, SIZE / 3),
                    Manner::BreaksOff if from == SIZE => (
                        format!("416 Range Not Satisfiable\r\ncontent-range: bytes */{SIZE}\r\ncontent-length: 0"),
                        SIZE,
                        SIZE,
                    ),
                    Manner::BreaksOff => (
                        format!(
                            "206 Partial Content\r\ncontent-range: bytes {from}-{}/{SIZE}\r\ncontent-length: {}",
                            SIZE - 1,
                            SIZE - from
                        ),
                        from,
                        (from + SIZE / 3).min(SIZE),
                    ),
                };
                stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
                stream.write_all(&content()[from..to]).await.unwrap();
            }
        });
        (address, requests)
    }

    async fn fetch(address: SocketAddr, part: &Path) -> anyhow::Result<()> {
        let client = Client::builder().no_proxy().build().unwrap();
        to_file(&client, &format!("http://{address}/file"), part, "the file", Progress::Silent).await
    }

    fn install_provider() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_is_resumed_where_it_broke() {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("file.part");
        let (address, requests) = serve(Manner::BreaksOff).await;
        fetch(address, &part).await.unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content());
        assert_eq!(requests.load(Ordering::SeqCst), 3, "each third was asked for once");
    }

    #[tokio::test]
    async fn a_part_of_an_earlier_run_is_kept() {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("file.part");
        std::fs::write(&part, &content()[..SIZE - 10]).unwrap();
        let (address, requests) = serve(Manner::BreaksOff).await;
        fetch(address, &part).await.unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content());
        assert_eq!(requests.load(Ordering::SeqCst), 1);
        fetch(address, &part).await.unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content(), "a complete part is left as it is");
    }

    #[tokio::test]
    async fn a_server_that_ignores_ranges_is_taken_from_the_start() {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("file.part");
        std::fs::write(&part, b"something else").unwrap();
        let (address, _) = serve(Manner::IgnoresRange).await;
        fetch(address, &part).await.unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), content());
    }

    #[tokio::test]
    async fn a_refusal_is_not_asked_for_again() {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let (address, requests) = serve(Manner::Missing).await;
        let error = fetch(address, &folder.path().join("file.part")).await.unwrap_err().to_string();
        assert!(error.contains("404"), "{error}");
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }
}
