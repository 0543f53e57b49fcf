//! What a row of history costs `hookline backtest`, without ClickHouse: decoded, matched, counted, its pane closed.
//!
//! `cargo run --release -p hookline-operate --example history_cost -- [ROWS] [LINKS]`: two million rows of ten thousand
//! links, each of them in every minute, in pieces of 64 KB as ClickHouse sends them; CPU time of the thread.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a tool that measures")]

use hookline_operate::{columns_of, play_answer};
use rules::{Per, Rule, Sensitivity, SilenceRule, Spike, Trigger, When};

const MINUTE: i64 = 60_000;
/// 2026-01-05, a Monday.
const START: i64 = 29_459_520 * MINUTE;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<i64>().expect("a number"));
    let (rows, links) = (arguments.next().unwrap_or(2_000_000), arguments.next().unwrap_or(10_000));
    let spike = Spike {
        times_hundredths: 300,
        within_minutes: 5,
        at_least: 50,
        quiet_for_minutes: 60,
        sensitivity: Sensitivity::Normal,
    };
    let silence = SilenceRule { quiet_after_minutes: None, least_minutes: 60 };
    let rule = |name: &str, trigger| Rule::new(name, "growth", When::default(), Some(trigger));
    let count = Trigger::count(500, Per::Link, 10 * MINUTE, 60 * MINUTE).expect("a window of ten minutes");
    let [count, spike, silence] = [
        rule("count", count),
        rule("spike", Trigger::Spike { spike, per: Per::Link, not_during_launches: false }),
        rule("silence", Trigger::Silence { silence, per: Per::Link }),
    ];
    println!("| rules | CPU ns a row | rows a second | alerts |");
    println!("|---|---|---|---|");
    let sets = [
        ("count", vec![count.clone()]),
        ("spike", vec![spike.clone()]),
        ("silence", vec![silence.clone()]),
        ("all three", vec![count, spike, silence]),
    ];
    for (name, rules) in sets {
        let answer = answer(&columns_of(&rules), rows, links);
        let until = START + (rows / links + 1) * MINUTE;
        let begun = cpu_ns();
        let alerts = play_answer(&rules, 1, START..until, answer.chunks(65_536)).expect("rows");
        let each = (cpu_ns() - begun) / rows as f64;
        println!("| {name} | {each:.0} | {:.0} | {alerts} |", 1e9 / each);
    }
}

/// Rows in the format `RowBinary`, as the history asks for them.
fn answer(columns: &[&str], rows: i64, links: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in 0..rows {
        let (minute, link) = (row / links, row % links * 7 % links);
        bytes.extend((START + minute * MINUTE).to_le_bytes());
        [1 + row % 3, 0, row].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        for column in columns {
            let text = match *column {
                "type" => "click".to_owned(),
                "domain" => "go.example.com".to_owned(),
                "slug" => format!("link-{link}"),
                "link_id" => "l_0123456789abcdef".to_owned(),
                _ => String::new(),
            };
            bytes.push(u8::try_from(text.len()).expect("a short text"));
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// The CPU time of this thread, which other work on the machine does not lengthen.
fn cpu_ns() -> f64 {
    measure::thread_cpu().expect("Linux tells the CPU time of a thread").as_nanos() as f64
}
