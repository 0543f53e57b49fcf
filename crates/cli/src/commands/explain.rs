//! `hookline explain`: why an event is as it is, or would be.

use std::path::PathBuf;

use anyhow::{Context, bail};
use config::{Config, Environment};
use jiff::Timestamp;
use operate::Installation;
use operate::explain::{self, Delivery, Selector, Signed};
use operate::installation::Needs;

use super::arguments::{ToolArgs, lane_and_offset};
use super::block_on;
use super::send::choose;
use crate::exit::{Outcome, Verdict};
use crate::output::answer;
use crate::output::text::alert::svg;
use crate::verify::capture::{Capture, bytes_of};
use crate::verify::{instant, url_of};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is stored is explained as it was decided, and then by the configuration of now: exit code 1 if that would say \
    otherwise. A request or a file is not stored and told to no one; the engines are asked only whether its events are known already, \
    and it is explained without them too."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// An alert, a receipt, an event key, or a record of raw as LANE:OFFSET
    #[arg(value_name = "ID", required_unless_present_any = ["request", "file"])]
    id: Option<String>,
    /// Draw the counts around an alert, what is usual and what fires, into this file
    #[arg(long, value_name = "FILE", requires = "id")]
    svg: Option<PathBuf>,
    /// A request as it was captured: raw HTTP, or a HAR file; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "file"])]
    request: Option<PathBuf>,
    /// Which entry of a HAR file, from 1
    #[arg(long, value_name = "N", requires = "request")]
    entry: Option<usize>,
    /// Events as a sender would post them, without a signature; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    file: Option<PathBuf>,
    /// Which source it is sent to [default: by the path of the request, or the only one]
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    source: Option<String>,
    /// Judge it as of this time: 2026-11-25T18:00:00Z, or seconds since 1970 [default: now]
    #[arg(long = "as-of", value_name = "TIME", value_parser = instant, conflicts_with = "id")]
    as_of: Option<Timestamp>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (json, flag) = (args.tool.json, args.tool.flag());
    block_on(async {
        if let Some(outcome) = alert(args).await? {
            return Ok(outcome);
        }
        let report = match &args.id {
            Some(id) => {
                // An event key may hold a colon as well.
                let selector = match lane_and_offset(id) {
                    Ok((lane, offset)) => Selector::Record(lane, offset),
                    Err(_) => Selector::Id(id.clone()),
                };
                explain::stored(&args.tool.installation()?, &selector).await?
            }
            None => {
                let (installation, delivery) = delivery(args)?;
                explain::delivery(&installation, &delivery).await?
            }
        };
        answer(&report, json, &flag)
    })
}

/// Explains an alert, if the id is one's.
async fn alert(args: &Args) -> anyhow::Result<Option<Verdict>> {
    let Some(id) = args.id.as_ref().filter(|id| lane_and_offset(id).is_err()) else {
        anyhow::ensure!(args.svg.is_none(), "only an alert can be drawn: name its id");
        return Ok(None);
    };
    let installation = Installation::find(&args.tool.config, Needs::ClickHouse, None)?;
    let Some(report) = explain::alert(&installation, id).await? else {
        anyhow::ensure!(args.svg.is_none(), "{id} is not an alert in ClickHouse: only alerts can be drawn");
        return Ok(None);
    };
    if let Some(path) = &args.svg {
        let chart = report.chart.as_ref();
        let why = || if report.notes.is_empty() { report.why.clone() } else { report.notes.join("; ") };
        let chart = chart.with_context(|| format!("there is nothing to draw: {}", why()))?;
        std::fs::write(path, svg(&report, chart)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    answer(&report, args.tool.json, &args.tool.flag()).map(Some)
}

/// What was captured, and the installation whose configuration has its secrets.
fn delivery(args: &Args) -> anyhow::Result<(Installation, Delivery)> {
    let at = args.as_of.unwrap_or_else(Timestamp::now).as_millisecond();
    let installation = match args.tool.installation() {
        Ok(installation) => installation,
        // Without engines: what depends on the configuration alone.
        Err(why) => {
            let config = Config::load(&args.tool.config, &Environment::of_process()).map_err(|_| why)?;
            Installation::without_engines(config, &args.tool.config)?
        }
    };
    let config = &installation.config;
    if let Some(path) = &args.request {
        let capture = Capture::read(path, args.entry)?;
        let by_path = capture.source().filter(|name| config.source(name).is_some());
        let source = choose(config, &args.tool.config, args.source.as_deref().or(by_path))?;
        let delivery = Delivery {
            about: path.display().to_string(),
            source: source.name.clone(),
            at,
            content_type: capture.text("content-type").unwrap_or_default().to_owned(),
            body: capture.decompressed(source.max_body).unwrap_or_else(|| capture.body.clone()),
            signed: Some(Signed {
                method: capture.method.clone(),
                url: url_of(source, &capture),
                headers: capture.headers.clone(),
                wire: capture.body.clone(),
            }),
        };
        return Ok((installation, delivery));
    }
    let Some(path) = &args.file else { bail!("say what to explain: an ID, --request FILE or --file FILE") };
    let source = choose(config, &args.tool.config, args.source.as_deref())?;
    let body = bytes_of(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    // A file says no content type: several lines that are objects are NDJSON.
    let is_lines = lines > 1 && !is_array && body.split(|byte| *byte == b'\n').all(is_line);
    let content_type = if is_lines { "application/x-ndjson" } else { "application/json" };
    let delivery = Delivery {
        about: path.display().to_string(),
        source: source.name.clone(),
        at,
        content_type: content_type.to_owned(),
        body,
        signed: None,
    };
    Ok((installation, delivery))
}

fn is_line(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || (line.first() == Some(&b'{') && line.last() == Some(&b'}'))
}
