//! `hookline replay`: a range of `raw` read again, held against its rows, and brought in where it is missing.

use anyhow::bail;
use operate::OffsetRange;
use operate::replay::{Apply, Replay, Selection, replay};

use super::arguments::{ToolArgs, lane_and_offset, time};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// This record: LANE:OFFSET
    #[arg(long, value_name = "LANE:OFFSET", value_parser = lane_and_offset, conflicts_with_all = ["lane", "from", "to", "since", "until"])]
    offset: Option<(u16, u64)>,
    /// The lane
    #[arg(long)]
    lane: Option<u16>,
    /// The first offset of raw
    #[arg(long, value_name = "OFFSET", requires = "lane", requires = "to")]
    from: Option<u64>,
    /// The last one
    #[arg(long, value_name = "OFFSET", requires = "from")]
    to: Option<u64>,
    /// Appended at or after: 2h (ago), 2026-11-25, 2026-11-25T12:00:00Z; of all lanes unless --lane names one
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "from")]
    since: Option<i64>,
    /// Appended before
    #[arg(long, value_name = "TIME", value_parser = time, requires = "since")]
    until: Option<i64>,
    /// Bring in the rows that are missing; without it, only the difference is shown
    #[arg(long)]
    apply: bool,
    /// Delete the rows of the range and write all of them anew, as of today's configuration
    #[arg(long, requires = "apply")]
    replace: bool,
    /// Compare also the columns that depend on today's configuration, catalogue and enrichment
    #[arg(long)]
    all_columns: bool,
    /// Keep the shadow tables, to be looked at; they go by themselves within two days
    #[arg(long)]
    keep: bool,
}

impl Args {
    fn selection(&self) -> anyhow::Result<Selection> {
        Ok(match (self.offset, self.lane, self.from, self.to, self.since) {
            (Some((lane, offset)), ..) => Selection::Range { lane, range: OffsetRange(offset..offset + 1) },
            (None, Some(lane), Some(from), Some(to), _) => {
                Selection::Range { lane, range: OffsetRange::given(from, to)? }
            }
            (None, lane, _, _, Some(since)) => Selection::Time { since, until: self.until, lane },
            _ => bail!("say what to replay: --offset LANE:OFFSET, --lane with --from and --to, or --since"),
        })
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let apply = match (args.apply, args.replace) {
        (true, true) => Apply::Replace,
        (true, false) => Apply::Missing,
        (false, _) => Apply::No,
    };
    let asked = Replay { selection: args.selection()?, apply, all_columns: args.all_columns, keep: args.keep };
    let installation = args.tool.installation()?;
    block_on(async { answer(&replay(&installation, &asked).await?, args.tool.json, &args.tool.flag()) })
}
