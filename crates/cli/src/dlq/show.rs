//! `hookline dlq show`: the bytes as they came.

use event::raw::RawHeaders;
use serde_json::{Value, json};
use warehouse::{DeadLetterRow, DeadLetterState};

use super::letter::{self, Letter};
use super::{Which, current, state};
use crate::exit::{Outcome, Verdict};
use crate::reach::Reach;
use crate::when;

/// Bytes of a body that are printed.
const SHOWN: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    which: Which,
    /// Only those: open, redriven or discarded
    #[arg(long, value_parser = state)]
    state: Option<DeadLetterState>,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=200))]
    limit: u64,
}

pub(super) async fn run(args: &Args) -> Outcome {
    let platform = args.reach.platform()?;
    let warehouse = platform.connect().await?;
    let (filter, _control) = current(&platform, args.which.filter(args.state)).await?;
    let rows = warehouse.dead_letters(&filter, 0, args.limit).await?;
    let letters = letter::fetch(&platform, &rows).await?;
    let found = |row: &DeadLetterRow| letters.get(&(row.lane, row.raw_offset));
    if args.reach.json {
        print_json(rows.iter().map(|row| (row, found(row))));
    } else {
        rows.iter().for_each(|row| print(row, found(row)));
        print_next(args, &rows);
    }
    Ok(if rows.is_empty() { Verdict::NeedsAttention } else { Verdict::Fine })
}

fn print_json<'r>(letters: impl Iterator<Item = (&'r DeadLetterRow, Option<&'r Letter>)>) {
    let letter = |(row, letter): (&DeadLetterRow, Option<&Letter>)| -> Value {
        let headers = |letter: &Letter| -> Value {
            letter
                .headers()
                .map(|(name, value)| (name.to_owned(), json!(String::from_utf8_lossy(value))))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "row": row, "bytes": letter.map(|letter| letter.body.len()), "headers": letter.map(headers),
            "body": letter.and_then(|letter| std::str::from_utf8(&letter.body).ok()),
            "body_hex": letter.filter(|letter| std::str::from_utf8(&letter.body).is_err()).map(|letter| hex(&letter.body)),
        })
    };
    let letters: Vec<Value> = letters.map(letter).collect();
    println!(
        "{}",
        json!({ "ok": !letters.is_empty(), "personal_data": "may be in body and headers", "letters": letters })
    );
}

#[allow(clippy::print_stderr, reason = "the answer of a command")]
fn print(row: &DeadLetterRow, letter: Option<&Letter>) {
    println!("dead letter {}:{} ({})", row.lane, row.raw_offset, row.state);
    let mut lines = vec![
        ("source", row.source.clone()),
        ("received", when::shown(row.received_at)),
        ("receipt", row.request_id.clone()),
        ("key", row.event_key.clone()),
        ("refused by", format!("{}, {}", row.stage, row.reason)),
        ("because", row.detail.clone()),
    ];
    if !row.redrive_of.is_empty() {
        lines.push(("redrive of", row.redrive_of.replace('/', ":")));
    }
    if row.decided_at != 0 {
        let why = if row.decided_why.is_empty() { String::new() } else { format!(": {}", row.decided_why) };
        lines.push((row.state.as_str(), format!("{} by {}{why}", when::shown(row.decided_at), row.decided_by)));
    }
    if let Some(Ok(headers)) = letter.map(|letter| RawHeaders::from_headers(letter.headers())) {
        lines.push(("adapter", headers.adapter.to_string()));
        lines.push(("secret", headers.secret_id.to_string()));
        lines.push(("type", headers.content_type.to_string()));
        lines.push(("in batch", headers.ordinal.to_string()));
        let attributes = headers.cloud_event.iter().map(|(name, value)| format!("ce-{name}: {value}"));
        lines.extend(attributes.map(|attribute| ("header", attribute)));
    }
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        println!("  {name:<11} {value}");
    }
    let Some(letter) = letter else {
        println!("  The topic dead-letters no longer holds its bytes.");
        return;
    };
    eprintln!("What follows is what the sender sent: it may hold personal data.");
    println!("  {:<11} {}", "bytes", letter.body.len());
    let shown = &letter.body[..letter.body.len().min(SHOWN)];
    match std::str::from_utf8(shown) {
        // Control characters could make a terminal do things.
        Ok(text) => println!(
            "{}",
            text.chars()
                .map(|letter| if letter.is_control() && !"\n\t".contains(letter) { '\u{fffd}' } else { letter })
                .collect::<String>()
        ),
        Err(_) => println!("{}", hex(shown)),
    }
    if letter.body.len() > SHOWN {
        eprintln!("({} further bytes; --json has all of them)", letter.body.len() - SHOWN);
    }
}

fn print_next(args: &Args, rows: &[DeadLetterRow]) {
    let flag = args.reach.flag();
    match rows.first() {
        Some(row) if row.state == DeadLetterState::Open.name() => {
            println!("Next: hookline dlq redrive {flag} --offset {}:{} --dry-run", row.lane, row.raw_offset);
        }
        Some(_) => {}
        None => println!("There is no such dead letter. Next: hookline dlq list {flag}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
