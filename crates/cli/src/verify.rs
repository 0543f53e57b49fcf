//! `hookline verify`: why a delivery's signature fails, from a captured request.

pub(crate) mod capture;

use std::path::PathBuf;

use anyhow::{Context, bail};
use config::{Config, Environment, Source};
use jiff::Timestamp;
use serde_json::json;
use signature::{Captured, Finding, Refusal, Request, Verifier, diagnose};

use crate::commands::send::choose;
use crate::exit::{Outcome, Verdict};
use capture::{Capture, bytes_of};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration: it names the sources, and where their secrets are
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Which source it was sent to [default: by its path /v1/webhooks/NAME, or the only one]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The request as it was captured: raw HTTP (request line, headers, empty line, body) or a HAR file; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["headers", "body", "method"], required_unless_present_any = ["headers", "url"])]
    request: Option<PathBuf>,
    /// Which entry of a HAR file, from 1
    #[arg(long, value_name = "N", requires = "request")]
    entry: Option<usize>,
    /// A header of the request; may be given many times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The raw body of the request; - reads standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The URL that the sender was given, if it is not in the request; enough by itself where the secret is in the query
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Its method
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    method: String,
    /// Judge it as of this time: 2026-11-25T18:00:00Z, or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write it as 'Name: value'".to_owned()),
    }
}

pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.or_else(|| text.parse().ok()).ok_or_else(|| "write 2026-11-25T18:00:00Z, or seconds since 1970".to_owned())
}

pub(crate) fn run(args: &Args) -> Outcome {
    let config = Config::load(&args.config, &Environment::of_process())?;
    let capture = capture(args)?;
    let by_path = capture.source().filter(|name| config.source(name).is_some());
    let source = choose(&config, &args.config, args.source.as_deref().or(by_path))?;
    let at = args.at.unwrap_or_else(Timestamp::now);
    let findings = examine(source, &capture, at)?;
    let elsewhere = elsewhere(&config, source, &capture, at);
    let coding = capture.text("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    let examined = Examined { args, source, at, findings, elsewhere, coding };
    if args.json {
        examined.print_json()
    } else {
        examined.print()
    }
    Ok(if examined.is_authentic() { Verdict::Fine } else { Verdict::NeedsAttention })
}

fn capture(args: &Args) -> anyhow::Result<Capture> {
    let mut capture = match &args.request {
        Some(path) => Capture::read(path, args.entry)?,
        None => Capture {
            method: args.method.to_ascii_uppercase(),
            target: args.url.clone().unwrap_or_default(),
            headers: args.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect(),
            body: args.body.as_deref().map(bytes_of).transpose()?.unwrap_or_default(),
        },
    };
    if let Some(url) = &args.url {
        if !url.contains("://") {
            bail!("--url {url:?} is not a whole URL such as https://hooks.example.com/v1/webhooks/dub");
        }
        capture.target.clone_from(url);
    }
    Ok(capture)
}

/// As [`findings`], of the bytes on the wire and then, as ingest does, of what they decompress to.
fn examine(source: &Source, capture: &Capture, at: Timestamp) -> anyhow::Result<Vec<Finding>> {
    let on_the_wire = findings(source, capture, at)?;
    let is_explained = !matches!(on_the_wire.last(), Some(Finding::Unexplained));
    match capture.decompressed(source.max_body) {
        Some(body) if !is_explained => findings(source, &Capture { body, ..capture.clone() }, at),
        _ => Ok(on_the_wire),
    }
}

/// Asks the request path, and then what would make it say otherwise.
fn findings(source: &Source, capture: &Capture, at: Timestamp) -> anyhow::Result<Vec<Finding>> {
    let names: Vec<&str> = capture.headers.iter().map(|(name, _)| name.as_str()).collect();
    let headers = capture.headers.as_slice();
    let url = url_of(source, capture);
    let request = Request { method: &capture.method, url: &url, headers: &headers, body: &capture.body };
    let captured = Captured { request, header_names: &names, other_urls: &capture.urls() };
    diagnose(&source.scheme, &source.secrets, &captured, at.as_second())
        .with_context(|| format!("source {:?}", source.name))
}

/// The URL as ingest puts it together: the public one where the signature covers it, with the query that came.
pub(crate) fn url_of(source: &Source, capture: &Capture) -> String {
    let came = capture.path_and_query();
    match &source.public_url {
        Some(public) if source.scheme.signs_url() => match came.split_once('?') {
            Some((_, query)) => format!("{public}?{query}"),
            None => public.clone(),
        },
        _ if source.scheme.signs_url() => capture.urls().into_iter().next().unwrap_or_else(|| came.to_owned()),
        _ => came.to_owned(),
    }
}

/// Another source as whose it would be authentic: it was sent to the wrong address.
fn elsewhere<'c>(config: &'c Config, source: &Source, capture: &Capture, at: Timestamp) -> Option<&'c str> {
    let others = config.sources.iter().filter(|other| other.name != source.name);
    let authentic = |other: &&Source| {
        let Ok(verifier) = Verifier::new(other.scheme.clone(), other.secrets.clone()) else { return false };
        let headers = capture.headers.as_slice();
        let url = url_of(other, capture);
        let request = Request { method: &capture.method, url: &url, headers: &headers, body: &capture.body };
        matches!(verifier.verify(&request, at.as_second()), Ok(_) | Err(Refusal::Stale { .. } | Refusal::Future { .. }))
    };
    others.into_iter().find(authentic).map(|other| other.name.as_str())
}

/// What was found.
struct Examined<'a> {
    args: &'a Args,
    source: &'a Source,
    at: Timestamp,
    findings: Vec<Finding>,
    elsewhere: Option<&'a str>,
    /// How the body says it is compressed.
    coding: Option<&'a str>,
}

impl Examined<'_> {
    fn is_authentic(&self) -> bool {
        matches!(self.findings.first(), Some(Finding::Authentic { .. }))
    }

    /// When it was signed, if its age is all that is wrong with it.
    fn signed_at(&self) -> Option<Timestamp> {
        let seconds = match self.findings.first()? {
            Finding::Refused(Refusal::Stale { seconds }) => seconds.checked_neg()?,
            Finding::Refused(Refusal::Future { seconds }) => *seconds,
            _ => return None,
        };
        Timestamp::from_second(self.at.as_second().checked_add(seconds)?).ok()
    }

    fn next(&self) -> String {
        let config = self.args.config.display();
        match (self.signed_at(), self.elsewhere, self.findings.last()) {
            _ if self.is_authentic() => {
                "if ingest refuses it all the same, it reads another configuration, or the request is changed before it"
                    .to_owned()
            }
            (Some(at), ..) => {
                format!(
                    "only its time fails. A capture grows old: judge it as of when it was made with --at {at}. If deliveries are refused as they come, a clock is wrong or a proxy holds them"
                )
            }
            (None, None, Some(Finding::Unexplained)) if self.coding.is_some() => format!(
                "the body says Content-Encoding: {}: a signature may cover the bytes on the wire, so capture them compressed",
                self.coding.unwrap_or_default()
            ),
            (_, Some(other), _) => {
                format!("let the sender post to /v1/webhooks/{other}, or verify it with --source {other}")
            }
            (_, _, Some(Finding::Unexplained | Finding::LooksLike { .. } | Finding::HeaderMissing { .. })) => {
                format!(
                    "compare the secrets of [source.{}] with the sender's page, and capture the raw bytes as they arrive",
                    self.source.name
                )
            }
            _ => format!("change it, then `hookline check --config {config}` and a restart of ingest"),
        }
    }

    fn print(&self) {
        let how = format!(
            "source {:?} ({}), as of {}",
            self.source.name,
            self.source.scheme.name(),
            self.at.strftime("%F %T UTC")
        );
        let mut findings = self.findings.iter();
        match findings.next() {
            Some(Finding::Authentic { secret_id }) => println!("Authentic: {how}, by secret {secret_id:?}"),
            Some(Finding::Refused(refusal)) => println!("Not authentic ({}): {how}\n  {refusal}", refusal.label()),
            other => {
                println!("Not authentic: {how}{}", other.map(|finding| format!("\n  {finding}")).unwrap_or_default())
            }
        }
        for finding in findings {
            println!("  {finding}");
        }
        if let Some(other) = self.elsewhere.filter(|_| !self.is_authentic()) {
            println!("  it is signed as source {other:?} signs");
        }
        println!("Next: {}", self.next());
    }

    fn print_json(&self) {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| json!({ "kind": finding.label(), "text": finding.to_string() }))
            .collect();
        let secret_id = match self.findings.first() {
            Some(Finding::Authentic { secret_id }) => Some(secret_id),
            _ => None,
        };
        println!(
            "{}",
            json!({
                "ok": self.is_authentic(), "source": self.source.name, "scheme": self.source.scheme.name(), "at": self.at,
                "verdict": self.findings.first().map(Finding::label), "secret_id": secret_id, "findings": findings,
                "signed_at": self.signed_at(), "signed_as": self.elsewhere.filter(|_| !self.is_authentic()), "next": self.next(),
            })
        );
    }
}
