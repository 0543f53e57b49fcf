//! `hookline erase`: what is stored about a link, a source, or a visitor on a day is erased, with proof that nothing
//! rests.

use anyhow::bail;
use jiff::civil::Date;
use operate::erase::{Erase, What, erase};
use operate::ledger::recover::Word;

use super::arguments::{ToolArgs, WhoArgs, words};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["link", "source", "visitor", "again"])))]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// All about this link: the platform's id of it, or DOMAIN/SLUG
    #[arg(long, value_name = "LINK")]
    link: Option<String>,
    /// All of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The events of a visitor on one day: the number in the column `visitor`
    #[arg(long, value_name = "NUMBER", requires = "day")]
    visitor: Option<u64>,
    /// That day (UTC): 2026-11-29
    #[arg(long, value_name = "DATE", requires = "visitor")]
    day: Option<Date>,
    /// All that was ever erased, once more: after a backup of ClickHouse was restored
    #[arg(long)]
    again: bool,
    /// Do it; without it, only what would be erased is shown
    #[arg(long, requires = "why")]
    apply: bool,
    /// Why, such as the number of a request. It is kept for good: name no person
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: Option<String>,
    #[command(flatten)]
    who: WhoArgs,
    /// Wait until what was rewritten has left the disks, eight minutes or more
    #[arg(long, requires = "apply")]
    wait: bool,
}

impl Args {
    fn what(&self) -> anyhow::Result<What> {
        Ok(match (&self.link, &self.source, self.visitor, self.day) {
            (Some(link), ..) => What::Link(link.clone()),
            (None, Some(source), ..) => What::Source(source.clone()),
            (None, None, Some(number), Some(day)) => What::Visitor { day, number },
            _ if self.again => What::Again,
            _ => bail!("say what to erase: --link, --source, --visitor with --day, or --again"),
        })
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let word = match (args.apply, &args.why) {
        (true, Some(why)) => Some(Word { who: args.who.name()?, why: why.clone() }),
        _ => None,
    };
    let request = Erase { what: args.what()?, word, wait: args.wait };
    let installation = args.tool.installation()?;
    block_on(async { answer(&erase(&installation, &request).await?, args.tool.json, &args.tool.flag()) })
}
