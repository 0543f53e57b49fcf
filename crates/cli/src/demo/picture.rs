//! What a person sees of a running demo: a picture that stays in place on a terminal, a line now and then elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use traffic::load::{Tally, locked};

use super::Now;
use super::facts::Facts;

/// Between two lines, where there is no terminal.
const LINE_EVERY: u64 = 5;
/// The rate is that of the last seconds.
const RATE_OVER: usize = 6;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    /// In place, once a second.
    Screen,
    /// A line every five seconds.
    Lines,
    /// Not at all.
    Nothing,
}

/// The picture, and what it remembers from one second to the next.
pub(super) struct Picture {
    display: Display,
    clickhouse: String,
    data: PathBuf,
    log: Option<PathBuf>,
    wanted: f64,
    /// When it was first drawn.
    begun: Option<Instant>,
    seconds: u64,
    /// When how many events had been acknowledged.
    taken: VecDeque<(Instant, u64)>,
    /// Lines of the last frame.
    height: usize,
}

/// One moment, in numbers.
struct Moment {
    facts: Facts,
    dub: Tally,
    canonical: Tally,
    /// Sorted.
    fresh: Vec<Duration>,
    per_second: f64,
    trouble: Option<String>,
}

impl Moment {
    fn taken(&self) -> u64 {
        self.dub.events + self.canonical.events
    }

    /// Acknowledged, and no row yet.
    fn on_their_way(&self) -> u64 {
        self.taken().saturating_sub(self.facts.rows())
    }

    fn fresh(&self, share: f64) -> String {
        let last = self.fresh.len().checked_sub(1);
        last.map_or_else(|| "–".to_owned(), |last| seconds(self.fresh[(last as f64 * share).round() as usize]))
    }

    fn acknowledged(&self, share: f64) -> String {
        let slower = [&self.dub, &self.canonical].into_iter().filter_map(|tally| tally.acks.quantile(share)).max();
        slower.map_or_else(|| "–".to_owned(), |time| format!("{} ms", time.as_millis()))
    }
}

impl Picture {
    pub(super) fn new(display: Display, clickhouse: &str, data: PathBuf, log: Option<PathBuf>, wanted: f64) -> Self {
        let clickhouse = clickhouse.to_owned();
        Self { display, clickhouse, data, log, wanted, begun: None, seconds: 0, taken: VecDeque::new(), height: 0 }
    }

    /// Shows this second. `unready` is a component that is not ready, if there is one.
    pub(super) fn draw(&mut self, now: &Now, unready: Option<String>) {
        let moment = self.moment(now, unready);
        self.begun.get_or_insert_with(Instant::now);
        match self.display {
            Display::Screen => {
                let frame = self.frame(&moment);
                self.replace(&frame);
            }
            Display::Lines if self.seconds == 0 => {
                print(&format!(
                    "The demo sends about {} made-up events a second, signed, into the production tables of {}: keep that \
                     folder for the demo.\n",
                    self.wanted,
                    self.data.display()
                ));
            }
            Display::Lines if self.seconds.is_multiple_of(LINE_EVERY) => print(&format!("{}\n", self.line(&moment))),
            Display::Lines | Display::Nothing => {}
        }
        self.seconds += 1;
    }

    /// The last word: the picture stays, and the terminal is as it was.
    pub(super) fn end(&mut self, now: &Now) {
        let moment = self.moment(now, None);
        match self.display {
            Display::Nothing => {}
            Display::Lines => print(&format!("{}\n", self.line(&moment))),
            Display::Screen => self.replace(&self.frame(&moment)),
        }
    }

    fn moment(&mut self, now: &Now, unready: Option<String>) -> Moment {
        let (dub, canonical) = (locked(&now.dub).clone(), locked(&now.canonical).clone());
        let mut fresh: Vec<Duration> = locked(&now.fresh).iter().copied().collect();
        fresh.sort_unstable();
        if self.taken.len() == RATE_OVER {
            self.taken.pop_front();
        }
        self.taken.push_back((Instant::now(), dub.events + canonical.events));
        let per_second = match (self.taken.front(), self.taken.back()) {
            (Some((from, before)), Some((to, after))) if to > from => {
                (after - before) as f64 / (*to - *from).as_secs_f64()
            }
            _ => 0.0,
        };
        let trouble = locked(&now.trouble).clone().or(unready.map(|unready| format!("not ready: {unready}")));
        Moment { facts: locked(&now.facts).clone(), dub, canonical, fresh, per_second, trouble }
    }

    /// At most 80 columns, but for names and addresses, and 24 rows.
    fn frame(&self, moment: &Moment) -> Vec<String> {
        let Moment { facts, dub, canonical, .. } = moment;
        let of = |map: &BTreeMap<String, u64>, name: &str| grouped(map.get(name).copied().unwrap_or_default());
        let row = |name: &str, number: String, rest: String| format!("  {name:<10}{number:>10}   {rest}");
        let mut lines = vec![
            String::new(),
            format!("  {}   Hookline demo: made-up, signed events, about {} a second", self.clock(), self.wanted),
            String::new(),
            row(
                "accepted",
                grouped(moment.taken()),
                format!(
                    "{:.1} a second   dub {}   canonical {}   repeats {}",
                    moment.per_second,
                    grouped(dub.events),
                    grouped(canonical.events),
                    grouped(dub.again + canonical.again)
                ),
            ),
            row(
                "answered",
                moment.acknowledged(0.5),
                format!(
                    "at the median, p99 {}   refused {}   tried again {}",
                    moment.acknowledged(0.99),
                    grouped(dub.refused + canonical.refused),
                    grouped(dub.repeated() + canonical.repeated())
                ),
            ),
            row(
                "rows",
                grouped(facts.rows()),
                format!(
                    "events {}   duplicates {}   dead letters {}",
                    of(&facts.outcomes, "event"),
                    of(&facts.outcomes, "duplicate"),
                    of(&facts.outcomes, "dead_letter")
                ),
            ),
            row(
                "fresh",
                moment.fresh(0.5),
                format!(
                    "from 202 to row, p99 {}   on their way {}",
                    moment.fresh(0.99),
                    grouped(moment.on_their_way())
                ),
            ),
            row("complete", facts.complete_through.clone(), format!("UTC   missing or twice {}", facts.off_balance)),
            row(
                "people",
                of(&facts.counted, "human"),
                format!("bots {}   internal {}", of(&facts.counted, "bot"), of(&facts.counted, "internal")),
            ),
            row(
                "alerts",
                grouped(facts.alerts.values().sum()),
                format!("thresholds reached {}   over {}", of(&facts.alerts, "fired"), of(&facts.alerts, "resolved")),
            ),
            row(
                "messages",
                of(&facts.messages, "delivered"),
                format!("waiting {}   failed {}", grouped(waiting(facts)), of(&facts.messages, "failed")),
            ),
        ];
        lines.extend(facts.last_alert.as_ref().map(|(rule, key)| format!("  last alert  {rule}, {key}")));
        lines.push(String::new());
        lines.push(format!("  {:<43}{:>9}{:>9}{:>9}", "busiest links, five minutes", "visits", "scans", "bots"));
        lines.extend(facts.links.iter().map(|link| {
            format!("  {:<43}{:>9}{:>9}{:>9}", link.link, grouped(link.visits), grouped(link.scans), grouped(link.bots))
        }));
        lines.push(String::new());
        lines.extend(moment.trouble.as_ref().map(|trouble| format!("  trouble  {trouble}")));
        lines.push("  These rows lie in the data folder's production tables: keep it for the demo.".to_owned());
        lines.push(format!("  data     {}", self.data.display()));
        lines.extend(self.log.as_ref().map(|log| format!("  log      {}", log.display())));
        lines.push(format!("  ask      curl {} -d 'SELECT count() FROM hookline.clicks'", self.clickhouse));
        lines
    }

    fn line(&self, moment: &Moment) -> String {
        let facts = &moment.facts;
        let of = |map: &BTreeMap<String, u64>, name: &str| map.get(name).copied().unwrap_or_default();
        let trouble = moment.trouble.as_ref().map(|trouble| format!("  trouble: {trouble}")).unwrap_or_default();
        format!(
            "{}  accepted {} ({:.1}/s)  rows {}: {} events, {} duplicates, {} dead letters  fresh p50 {} p99 {}  alerts {}  \
             messages {}{trouble}",
            self.clock(),
            moment.taken(),
            moment.per_second,
            facts.rows(),
            of(&facts.outcomes, "event"),
            of(&facts.outcomes, "duplicate"),
            of(&facts.outcomes, "dead_letter"),
            moment.fresh(0.5),
            moment.fresh(0.99),
            facts.alerts.values().sum::<u64>(),
            of(&facts.messages, "delivered"),
        )
    }

    fn clock(&self) -> String {
        clock(self.begun.map_or(Duration::ZERO, |begun| begun.elapsed()))
    }

    /// Puts a frame over the last one.
    fn replace(&mut self, frame: &[String]) {
        // Lines that are too long are cut, not wrapped: the height of a frame is its number of lines.
        let mut text = String::from("\x1b[?7l");
        if self.height > 0 {
            text.push_str(&format!("\x1b[{}A", self.height));
        }
        for line in frame {
            text.push_str(&format!("\r\x1b[2K{line}\n"));
        }
        text.push_str("\x1b[0J\x1b[?7h");
        self.height = frame.len();
        print(&text);
    }
}

fn waiting(facts: &Facts) -> u64 {
    ["planned", "attempted"].iter().filter_map(|stage| facts.messages.get(*stage)).sum()
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A closed standard output is no reason to stop what is being shown.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::facts::{BusyLink, LINKS};

    #[test]
    fn numbers_are_grouped_and_times_are_read_off() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(clock(Duration::from_secs(3_723)), "01:02:03");
        assert_eq!(seconds(Duration::from_millis(950)), "0.9 s");
    }

    #[test]
    fn a_frame_fits_a_small_terminal_and_says_whose_tables_these_are() {
        let mut picture = Picture::new(Display::Nothing, "http://127.0.0.1:8123", "demo-data".into(), None, 50.0);
        let now = Now::default();
        let links = vec![BusyLink { link: "acme.example/spring".to_owned(), ..BusyLink::default() }; LINKS];
        *locked(&now.facts) = Facts { links, last_alert: Some(("rule".into(), "key".into())), ..Facts::default() };
        let moment = picture.moment(&now, Some("report: Starting".to_owned()));
        let frame = picture.frame(&moment).join("\n");
        assert!(frame.lines().count() <= 24, "{frame}");
        assert!(frame.lines().all(|line| line.chars().count() <= 80), "{frame}");
        assert!(frame.contains("not ready: report: Starting"), "{frame}");
        assert!(frame.contains("production tables: keep it for the demo") && frame.contains("demo-data"), "{frame}");
    }
}
