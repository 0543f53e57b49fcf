//! `hookline config`: what can be configured, as a page for people and as a schema for editors.

use crate::exit::{Outcome, Verdict};
use crate::output::print;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print every option: what it means, its values, what holds where it is left out
    Reference,
    /// Print the JSON Schema of hookline.toml, for editors
    Schema,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let text = match args.what {
        What::Reference => config::reference(),
        What::Schema => config::schema(),
    };
    print(format_args!("{text}"));
    Ok(Verdict::Fine)
}
