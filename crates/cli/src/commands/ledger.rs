//! `hookline ledger`: every record of `raw` is one row; which are not, what they are, and how that is mended.

use anyhow::bail;
use clap::Subcommand;
use kafka::Topic;
use operate::OffsetRange;
use operate::ledger::accept_loss::{self, Acknowledgement};
use operate::ledger::recover::{Mode, Word, recover};
use operate::ledger::{self, reset};

use super::arguments::{ToolArgs, WhoArgs, words};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// Of each lane, say what so many of the missing records are, as far as `raw` still holds them
    #[arg(long, value_name = "N", default_value_t = 10)]
    details: usize,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write down that records are gone for good, so that the ledger counts them as lost and lanes go on after them
    AcceptLoss(AcceptLossArgs),
    /// Say which positions are not where they belong and why, and put them there: after retention or a lost or emptied engine
    Recover(RecoverArgs),
    /// Begin a new life of the topics: after one was deleted whose offsets are on rows. Stop all services first
    StartAnew(StartAnewArgs),
    /// Make a topic again, empty, that has vanished and whose offsets are not on rows
    RecreateTopic(RecreateTopicArgs),
}

#[derive(Debug, clap::Args)]
struct AcceptLossArgs {
    /// The lane
    #[arg(long, required_unless_present = "life")]
    lane: Option<u16>,
    /// The first offset of raw that is lost
    #[arg(long, value_name = "OFFSET", required_unless_present = "life")]
    from: Option<u64>,
    /// The last one
    #[arg(long, value_name = "OFFSET", required_unless_present = "life")]
    to: Option<u64>,
    /// An earlier life of the topics is over: what it had accepted beyond its rows is lost
    #[arg(long, value_name = "INCARNATION", conflicts_with_all = ["lane", "from", "to"])]
    life: Option<String>,
    /// How it came about; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
    #[command(flatten)]
    who: WhoArgs,
    /// Only say what would be written down
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct RecoverArgs {
    /// The lane; without it, all of them
    #[arg(long)]
    lane: Option<u16>,
    /// Do it; without it, only what is wrong is shown
    #[arg(long)]
    apply: bool,
    /// How it came about. Needed where records are lost; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: Option<String>,
    #[command(flatten)]
    who: WhoArgs,
}

#[derive(Debug, clap::Args)]
struct StartAnewArgs {
    /// Do it: every topic is deleted. Without it, only what would be lost is shown
    #[arg(long, requires = "why")]
    apply: bool,
    /// How it came about; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: Option<String>,
    #[command(flatten)]
    who: WhoArgs,
}

#[derive(Debug, clap::Args)]
struct RecreateTopicArgs {
    /// Its name, such as hookline.alerts.v1
    #[arg(value_name = "TOPIC", value_parser = topic)]
    topic: Topic,
    /// Why what was in it is given up
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
}

fn topic(name: &str) -> Result<Topic, String> {
    let known = Topic::ALL.into_iter().find(|topic| topic.name() == name);
    known
        .ok_or_else(|| format!("{name:?} is no topic of Hookline; they are {}", Topic::ALL.map(Topic::name).join(", ")))
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (tool, json, flag) = (&args.tool, args.tool.json, args.tool.flag());
    block_on(async {
        match &args.command {
            None => answer(&ledger::read(&tool.installation()?, args.details).await?, json, &flag),
            Some(Command::AcceptLoss(args)) => accept(tool, args).await,
            Some(Command::Recover(args)) => {
                let mode = if args.apply { Mode::Apply(word(args)) } else { Mode::Look };
                answer(&recover(&tool.installation()?, args.lane, mode).await?, json, &flag)
            }
            Some(Command::StartAnew(args)) => {
                let word = match (args.apply, &args.why) {
                    (true, Some(why)) => Some(Word { who: args.who.name()?, why: why.clone() }),
                    _ => None,
                };
                answer(&reset::start_anew(&tool.installation()?, word).await?, json, &flag)
            }
            Some(Command::RecreateTopic(args)) => {
                answer(&reset::recreate_topic(&tool.installation()?, args.topic, &args.why).await?, json, &flag)
            }
        }
    })
}

async fn accept(tool: &ToolArgs, args: &AcceptLossArgs) -> Outcome {
    let word = Acknowledgement { who: args.who.name()?, why: args.why.clone(), dry_run: args.dry_run };
    let (json, flag) = (tool.json, tool.flag());
    match (&args.life, args.lane, args.from, args.to) {
        (Some(life), ..) => answer(&accept_loss::of_life(&tool.installation()?, life, word).await?, json, &flag),
        (None, Some(lane), Some(from), Some(to)) => {
            let asked = OffsetRange::given(from, to)?;
            answer(&accept_loss::of_records(&tool.installation()?, lane, asked, word).await?, json, &flag)
        }
        _ => bail!("say what is lost: --lane with --from and --to, or --life"),
    }
}

/// Who acknowledges that records are lost, and why; or what to say.
fn word(args: &RecoverArgs) -> Result<Word, String> {
    let who = args.who.name().map_err(|error| format!("{error:#}"))?;
    let Some(why) = args.why.clone() else {
        return Err("records are lost: say how that came about, --why TEXT; it stays in the ledger".to_owned());
    };
    Ok(Word { who, why })
}
