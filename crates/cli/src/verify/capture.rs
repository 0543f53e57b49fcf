//! A request as somebody has captured it: raw HTTP, a HAR file, or in pieces on the command line.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use serde::Deserialize;

/// More headers than any webhook has.
const MOST_HEADERS: usize = 256;

/// The request: nothing of it is trusted or decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Capture {
    pub(crate) method: String,
    /// As it stands in the request line or the HAR file: path and query, or the whole URL.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Capture {
    /// Reads a file (`-`: standard input): a raw HTTP request, or a HAR file, of which `entry` is taken (from 1).
    pub(crate) fn read(path: &Path, entry: Option<usize>) -> anyhow::Result<Self> {
        let bytes = bytes_of(path)?;
        let read = match bytes.trim_ascii_start().first() {
            Some(b'{') => Self::from_har(&bytes, entry),
            _ if entry.is_some() => bail!("--entry is for HAR files, and {} is none", path.display()),
            _ => Self::from_http(&bytes),
        };
        read.with_context(|| format!("{} is not a captured request", path.display()))
    }

    /// Reads a raw request: request line, headers, an empty line, and everything after it as the body.
    pub(crate) fn from_http(bytes: &[u8]) -> anyhow::Result<Self> {
        let bytes = in_version_1(bytes);
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let head = match request
            .parse(&bytes)
            .context("expected a line such as POST /v1/webhooks/dub HTTP/1.1, headers, an empty line, the body")?
        {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => bail!("the empty line between headers and body is missing"),
        };
        let headers: Vec<_> =
            request.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
        let this = Self {
            method: request.method.unwrap_or_default().to_ascii_uppercase(),
            target: request.path.unwrap_or_default().to_owned(),
            headers,
            body: Vec::new(),
        };
        let rest = &bytes[head..];
        let is_chunked = this.text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let body = if is_chunked { unchunked(rest).unwrap_or_else(|| rest.to_vec()) } else { rest.to_vec() };
        Ok(Self { body, ..this })
    }

    fn from_har(bytes: &[u8], entry: Option<usize>) -> anyhow::Result<Self> {
        let har: Har = serde_json::from_slice(bytes).context("it begins as JSON and is no HAR file")?;
        let count = har.log.entries.len();
        let place = match entry {
            Some(entry) => entry,
            None if count == 1 => 1,
            None => bail!("the HAR file has {count} entries: choose one with --entry N, from 1"),
        };
        ensure!((1..=count).contains(&place), "the HAR file has {count} entries, none is number {place}");
        let Some(Entry { request }) = har.log.entries.into_iter().nth(place - 1) else { bail!("no entry {place}") };
        let body = match request.post_data {
            None => Vec::new(),
            Some(PostData { text, encoding: Some(encoding) }) if encoding == "base64" => {
                base64::engine::general_purpose::STANDARD.decode(text).context("its body is no base64")?
            }
            Some(PostData { text, .. }) => text.into_bytes(),
        };
        Ok(Self {
            method: request.method.to_ascii_uppercase(),
            target: request.url,
            headers: request.headers.into_iter().map(|header| (header.name, header.value.into_bytes())).collect(),
            body,
        })
    }

    /// A header's value, if it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body without its compression, at most `limit` bytes of it; `None` if it is not compressed, as when the tool has
    /// undone it already.
    pub(crate) fn decompressed(&self, limit: u64) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let read = match self.text("content-encoding")?.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => {
                flate2::read::MultiGzDecoder::new(self.body.as_slice()).take(limit).read_to_end(&mut content)
            }
            "zstd" => {
                zstd::stream::read::Decoder::new(self.body.as_slice()).ok()?.take(limit).read_to_end(&mut content)
            }
            _ => return None,
        };
        read.ok().map(|_| content)
    }

    /// Path and query, as ingest sees them.
    pub(crate) fn path_and_query(&self) -> &str {
        let Some((_, rest)) = self.target.split_once("://") else { return &self.target };
        rest.find(['/', '?']).map_or("/", |at| &rest[at..])
    }

    /// The whole URLs under which it may have been sent, as far as the request itself tells.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut urls = Vec::new();
        if self.target.contains("://") {
            urls.push(self.target.clone());
        }
        let hosts = ["x-forwarded-host", "host", ":authority"].into_iter().filter_map(|name| self.text(name));
        for host in hosts {
            for scheme in ["https", "http"] {
                urls.push(format!("{scheme}://{host}{}", self.path_and_query()));
            }
        }
        urls
    }

    /// The source that it was sent to, by its path.
    pub(crate) fn source(&self) -> Option<&str> {
        let path = self.path_and_query().split(['?', '#']).next()?;
        path.strip_prefix("/v1/webhooks/").filter(|name| !name.is_empty() && !name.contains('/'))
    }
}

/// The bytes of a file, or of standard input.
pub(crate) fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Tools write the request line of HTTP/2 as if there were one; its headers read alike.
fn in_version_1(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    for version in ["HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/3"] {
        if let Some(before) = line.trim_ascii_end().strip_suffix(version.as_bytes()) {
            return [before, b"HTTP/1.1", rest].concat();
        }
    }
    bytes.to_vec()
}

/// A chunked body put together; `None` if it is not whole, as when the tool has done so already.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((length, size))) = httparse::parse_chunk_size(rest) else { return None };
        rest = rest.get(length..)?;
        if size == 0 {
            return Some(body);
        }
        let size = usize::try_from(size).ok()?;
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?;
        rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
    }
}

/// The part of a HAR file that a request is in (HTTP Archive 1.2).
#[derive(Deserialize)]
struct Har {
    log: HarLog,
}

#[derive(Deserialize)]
struct HarLog {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: HarRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HarRequest {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<HarHeader>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct HarHeader {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: String,
    encoding: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_request_is_read_to_its_last_byte() {
        let whole =
            b"POST /v1/webhooks/dub?x=1 HTTP/1.1\r\nHost: hooks.example.com\r\nDub-Signature: ab\r\n\r\n{\"a\":1}\n";
        let capture = Capture::from_http(whole).unwrap();
        assert_eq!((capture.method.as_str(), capture.body.as_slice()), ("POST", &b"{\"a\":1}\n"[..]));
        assert_eq!(capture.text("dub-signature"), Some("ab"));
        assert_eq!((capture.source(), capture.path_and_query()), (Some("dub"), "/v1/webhooks/dub?x=1"));
        assert_eq!(capture.urls()[0], "https://hooks.example.com/v1/webhooks/dub?x=1");
        // Line breaks as editors write them, and the version as tools write it.
        for version in ["HTTP/1.1", "HTTP/2", "HTTP/1.0"] {
            let edited = format!("POST https://a.example/v1/webhooks/dub {version}\nDub-Signature: ab\n\n{{}}");
            let capture = Capture::from_http(edited.as_bytes()).unwrap();
            assert_eq!((capture.body.as_slice(), capture.source()), (&b"{}"[..], Some("dub")), "{version}");
        }
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunked = format!("{head}2\r\n{{\"\r\n5;x=1\r\na\":1}}\r\n0\r\n\r\n");
        assert_eq!(Capture::from_http(chunked.as_bytes()).unwrap().body, b"{\"a\":1}");
        // The tool has put it together already.
        assert_eq!(Capture::from_http(format!("{head}{{}}").as_bytes()).unwrap().body, b"{}");
    }

    #[test]
    fn a_compressed_body_is_undone_if_it_still_is_one() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, b"{}").unwrap();
        let capture = |coding: &str, body: Vec<u8>| Capture {
            headers: vec![("Content-Encoding".into(), coding.as_bytes().to_vec())],
            body,
            ..Capture::default()
        };
        assert_eq!(capture("gzip", gzip.finish().unwrap()).decompressed(10).as_deref(), Some(&b"{}"[..]));
        let zstd = zstd::encode_all(&b"{}"[..], 0).unwrap();
        assert_eq!(capture("zstd", zstd).decompressed(10).as_deref(), Some(&b"{}"[..]));
        assert_eq!(capture("gzip", b"{}".to_vec()).decompressed(10), None);
        assert_eq!(capture("br", b"{}".to_vec()).decompressed(10), None);
    }

    #[test]
    fn an_entry_of_a_har_file_is_read() {
        let entry = |body: &str| {
            format!(
                r#"{{"request":{{"method":"post","url":"https://a.example/v1/webhooks/dub","headers":[{{"name":"Dub-Signature","value":"ab"}}],"postData":{body}}}}}"#
            )
        };
        let har = |entries: &[String]| format!(r#"{{"log":{{"version":"1.2","entries":[{}]}}}}"#, entries.join(","));
        let (plain, coded) = (entry(r#"{"text":"{}"}"#), entry(r#"{"text":"e30K","encoding":"base64"}"#));
        let one = Capture::from_har(har(std::slice::from_ref(&plain)).as_bytes(), None).unwrap();
        assert_eq!((one.method.as_str(), one.body.as_slice(), one.source()), ("POST", &b"{}"[..], Some("dub")));
        let two = har(&[plain, coded]);
        assert_eq!(Capture::from_har(two.as_bytes(), Some(2)).unwrap().body, b"{}\n");
        for (entry, says) in [(None, "2 entries"), (Some(0), "number 0"), (Some(3), "number 3")] {
            assert!(Capture::from_har(two.as_bytes(), entry).unwrap_err().to_string().contains(says));
        }
        assert!(Capture::from_har(b"{}", None).is_err());
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        for text in ["", "hello", "POST / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nbad header\r\n\r\n"] {
            assert!(Capture::from_http(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
