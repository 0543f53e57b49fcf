//! Every command and snippet of `docs/start.md` and `docs/senders.md` is run as it stands there, and answers what the
//! page says.

use std::process::Command;

use serde_json::Value;

use crate::foreign::{Node, Python, said};
use crate::harness::{ROOT, Running, SOON};

/// Where the page says that ingest listens.
const ADDRESS: &str = "http://127.0.0.1:8080";
/// What stands between the outputs of two blocks of shell.
const MARK: &str = "\u{1e}";

/// A fenced block of the page.
struct Block {
    language: String,
    text: String,
    line: usize,
}

/// The steps of docs/start.md after the first, which is `up`: an event is sent twice, seen once in a report of the
/// console, and explained; nothing is wrong, and a reload is taken.
async fn start_here(running: &Running) {
    let page = blocks(&std::fs::read_to_string(format!("{ROOT}/docs/start.md")).unwrap());
    let [up, send, ask, explain, reload] = &page[..] else { panic!("{} blocks in docs/start.md", page.len()) };
    assert!(up.text.contains("-- up"), "{}", up.text);
    let binary = testkit::house::binary().unwrap().display().to_string();
    let clickhouse = &running.house.addresses.clickhouse;
    let run = |text: &str| {
        let text = text.replace("http://127.0.0.1:8123", clickhouse).replace("target/release/hookline", &binary);
        let script = format!("set -euo pipefail\nshopt -s expand_aliases\nalias hookline={binary}\n{text}");
        // A person's shell has a name, by which a change is written down.
        let command = &mut Command::new("bash");
        said(command.args(["-c", &script]).env("USER", "ana").current_dir(running.folder.path()))
    };
    run(&send.text);
    run(send.text.lines().last().unwrap());
    let asker = running.asker();
    asker.until("SELECT count() FROM hookline.where_is", 2, SOON).await.unwrap();
    let rows = run(&ask.text);
    assert!(rows.contains("event") && rows.contains("duplicate"), "{rows}");

    let row = asker.rows("SELECT event_key, campaign FROM hookline.events").await.unwrap();
    let text = |column: &str| row[0][column].as_str().unwrap().to_owned();
    let console = running.house.addresses.console.clone().unwrap();
    let reports = reqwest::get(format!("{console}/reports")).await.unwrap().text().await.unwrap();
    assert!(reports.contains(&text("campaign")), "{reports}");

    let (explained, status) = explain.text.split_once('\n').unwrap();
    let explained = run(&explained.replace("EVENT_KEY", &text("event_key")));
    assert!(explained.contains(&text("event_key")), "{explained}");
    // All is well once every service has been asked.
    let well = format!(
        "for i in $(seq 60); do {} >said && break; sleep 1; done; cat said",
        status.split('#').next().unwrap().trim_end()
    );
    let well = run(&well);
    assert!(well.contains("nothing"), "{well}");
    run(&reload.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_first_steps_and_of_the_senders_guide_does_what_it_says() {
    let (python, node) = (Python::with_clients(), Node::with_clients());
    let running = Running::everything();
    std::os::unix::fs::symlink(running.folder.path().join("data"), running.folder.path().join("hookline-data"))
        .unwrap();
    start_here(&running).await;
    let blocks = blocks(&std::fs::read_to_string(format!("{ROOT}/docs/senders.md")).unwrap());

    // Shell blocks share their variables, as they do for somebody who types them one after the other.
    let shell: Vec<&Block> = blocks.iter().filter(|block| block.language == "sh").collect();
    let script: String = shell.iter().map(|block| format!("{}\nprintf '\\036'\n", block.text)).collect();
    let script = format!("set -euo pipefail\n{}", script.replace(ADDRESS, running.ingest()));
    let printed = said(Command::new("bash").args(["-c", &script]).current_dir(running.folder.path()));
    let mut printed = printed.split(MARK);

    let (mut answered, mut ran) = (0, 0);
    let mut blocks = blocks.iter().peekable();
    while let Some(block) = blocks.next() {
        let run = |command: &mut Command| {
            said(command.env("INGEST", running.ingest()).env("SECRET", running.secret("canonical")))
        };
        let output = match block.language.as_str() {
            "sh" => printed.next().unwrap().to_owned(),
            "python" => run(Command::new(&python.program).args(["-c", &block.text])),
            "js" => {
                // A module finds packages by where it lies.
                let file = node.folder.join("senders_guide.mjs");
                std::fs::write(&file, &block.text).unwrap();
                run(Command::new("node").arg(file))
            }
            other => panic!("line {}: nobody runs {other:?}", block.line),
        };
        ran += 1;
        if let Some(expected) = blocks.next_if(|next| ["json", "text"].contains(&next.language.as_str())) {
            let output = output.trim();
            match expected.language.as_str() {
                "text" => assert_eq!(output, expected.text.trim(), "line {}", block.line),
                _ => {
                    let got: Value =
                        serde_json::from_str(output).unwrap_or_else(|_| panic!("line {}: {output}", block.line));
                    let wanted: Value = serde_json::from_str(&expected.text).unwrap();
                    assert!(fits(&got, &wanted), "line {}: {got}\nand not as line {} says", block.line, expected.line);
                }
            }
            answered += 1;
        } else if block.language != "sh" {
            assert!(output.contains("\"status\":\"accepted\""), "line {}: {output}", block.line);
            answered += 1;
        }
    }
    assert!(ran >= 13 && answered >= 11, "{ran} blocks ran, {answered} with an answer");

    // What was taken is there: the event of the first steps and its repeat; then the first event, its repeats, two
    // of the SDKs, two batches and what could not be read.
    let asker = running.asker();
    for (outcome, rows) in [("event", 7), ("duplicate", 6), ("dead_letter", 1)] {
        let sql = format!("SELECT count() FROM hookline.records WHERE outcome = '{outcome}'");
        asker.until(&sql, rows, SOON).await.unwrap();
    }
}

/// Whether a document is as the page shows it; a text that ends in an ellipsis stands for any that starts so.
fn fits(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (Value::String(got), Value::String(wanted)) => match wanted.strip_suffix('…') {
            Some(start) => got.starts_with(start),
            None => got == wanted,
        },
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(got, wanted)| fits(got, wanted))
        }
        (Value::Object(got), Value::Object(wanted)) => {
            got.len() == wanted.len()
                && wanted.iter().all(|(key, wanted)| got.get(key).is_some_and(|got| fits(got, wanted)))
        }
        (got, wanted) => got == wanted,
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), text: String::new(), line: number + 1 });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}
