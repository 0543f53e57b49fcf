//! Times as programs print them for people: a month by its name, or a date from the year down, and words about the zone.
//!
//! Read are the dates of HTTP (all three forms), Go, JavaScript, Ruby and Rails, Java, Python, PHP and `date`. What could be
//! either a day or a month (`04/05/2026`) is not read.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// A time, and what it says about its zone.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub(super) local: DateTime,
    pub(super) zone: Option<Zone>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Zone {
    Offset(Offset),
    Named(TimeZone),
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Names of zones that mean one offset, in minutes.
const NAMES: [(&str, i32); 22] = [
    ("utc", 0),
    ("gmt", 0),
    ("z", 0),
    ("ut", 0),
    ("wet", 0),
    ("west", 60),
    ("cet", 60),
    ("cest", 120),
    ("mez", 60),
    ("mesz", 120),
    ("eet", 120),
    ("eest", 180),
    ("msk", 180),
    ("jst", 540),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("cdt", -300),
    ("mst", -420),
    ("mdt", -360),
    ("pst", -480),
    ("pdt", -420),
];

#[derive(Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    date: Option<Date>,
    time: Option<Time>,
    afternoon: Option<bool>,
    offset: Option<Offset>,
    /// What the name of the zone says: less than an offset.
    named: Option<Zone>,
}

/// Reads a time. Every word has to mean something.
pub(super) fn read(text: &str) -> Option<Read> {
    // `(Coordinated Universal Time)` of JavaScript, `m=+0.000012345` of Go's monotonic clock.
    let text = text.split_once(" (").map_or(text, |(time, _)| time);
    let text = text.split_once(" m=").map_or(text, |(time, _)| time);
    let mut parts = Parts::default();
    for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
        parts.take(word)?;
    }
    parts.settle()
}

impl Parts {
    fn take(&mut self, word: &str) -> Option<()> {
        if let Some(month) = named(word, &MONTHS) {
            return set(&mut self.month, month as i8 + 1);
        }
        if named(word, &DAYS).is_some() || word.eq_ignore_ascii_case("at") {
            return Some(());
        }
        if word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm") {
            return set(&mut self.afternoon, word.eq_ignore_ascii_case("pm"));
        }
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.number(word);
        }
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        if has_digit && word.starts_with(|first: char| first.is_ascii_digit()) {
            return self.date_or_time(word);
        }
        self.zone(word)
    }

    /// A day, then a year; four digits are a year.
    fn number(&mut self, word: &str) -> Option<()> {
        match (word.len(), self.day) {
            (4, _) => set(&mut self.year, word.parse().ok()?),
            (1 | 2, None) => set(&mut self.day, word.parse().ok()?),
            (2, Some(_)) => set(&mut self.year, of_two_digits(word)?),
            _ => None,
        }
    }

    fn date_or_time(&mut self, word: &str) -> Option<()> {
        if let Some((date, time)) = word.split_once(['T', 't']).filter(|(_, time)| time.contains(':')) {
            self.date_or_time(date)?;
            return self.date_or_time(time);
        }
        if word.contains(':') {
            return self.time(word);
        }
        let mut pieces = word.split(['-', '/']);
        let (first, second, third) = (pieces.next()?, pieces.next(), pieces.next());
        match (first.len(), second, third, pieces.next()) {
            (4, Some(month), Some(day), None) => {
                let date = Date::new(first.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
                set(&mut self.date, date)
            }
            // 29-Nov-26, 29/Nov/2026.
            (1 | 2, Some(month), Some(year), None) => {
                let month = named(month, &MONTHS)? as i8 + 1;
                let year = if year.len() == 2 { of_two_digits(year)? } else { year.parse().ok()? };
                set(&mut self.date, Date::new(year, month, first.parse().ok()?).ok()?)
            }
            // 29th
            (3 | 4, None, None, None) => {
                let (day, end) = first.split_at_checked(first.len() - 2)?;
                let ordinal = ["st", "nd", "rd", "th"].iter().any(|known| known.eq_ignore_ascii_case(end));
                ordinal.then(|| set(&mut self.day, day.parse().ok()?))?
            }
            _ => None,
        }
    }

    /// `10:00`, `10:00:00.123`, `10:00:00Z`, `10:00:00+01:00`, `10:00:00PM`. The second time in a text is an offset
    /// whose plus sign a form has turned into a space.
    fn time(&mut self, word: &str) -> Option<()> {
        if self.time.is_some() {
            return set(&mut self.offset, super::parse_offset(&format!("+{word}"))?);
        }
        let end = word.find(|char: char| !(char.is_ascii_digit() || ":.,".contains(char))).unwrap_or(word.len());
        let (clock, rest) = word.split_at(end);
        let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
        let mut numbers = clock.split(':').map(|number| number.parse::<i8>().ok());
        let (hour, minute) = (numbers.next()??, numbers.next()??);
        // A leap second is the last one before it.
        let second = match numbers.next() {
            None => 0,
            Some(second) => second?.min(59),
        };
        if numbers.next().is_some() {
            return None;
        }
        // Nine digits of a fraction are nanoseconds; more say nothing.
        let fraction = &fraction[..fraction.len().min(9)];
        let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse::<i32>().ok()? };
        set(&mut self.time, Time::new(hour, minute, second, nanos).ok()?)?;
        match rest {
            "" => Some(()),
            rest => self.take(rest),
        }
    }

    fn zone(&mut self, word: &str) -> Option<()> {
        // `GMT+0100`, `UTC-5`, `+00:00`, `-0330`.
        let offset = word.trim_start_matches(|char: char| char.is_ascii_alphabetic());
        let name = &word[..word.len() - offset.len()];
        if !offset.is_empty()
            && (name.is_empty() || name.eq_ignore_ascii_case("gmt") || name.eq_ignore_ascii_case("utc"))
        {
            return set(&mut self.offset, super::parse_offset(offset)?);
        }
        if let Some((_, minutes)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
            self.named = Some(Zone::Offset(Offset::from_seconds(minutes * 60).ok()?));
            return Some(());
        }
        let zone = word.contains('/').then(|| TimeZone::get(word).ok()).flatten()?;
        self.named = Some(Zone::Named(zone));
        Some(())
    }

    fn settle(self) -> Option<Read> {
        let date = match self.date {
            Some(date) if self.month.is_none() && self.day.is_none() && self.year.is_none() => date,
            Some(_) => return None,
            None => Date::new(self.year?, self.month?, self.day?).ok()?,
        };
        let time = match (self.time?, self.afternoon) {
            (time, None) => time,
            (time, Some(afternoon)) if (1..=12).contains(&time.hour()) => {
                time.with().hour(time.hour() % 12 + if afternoon { 12 } else { 0 }).build().ok()?
            }
            _ => return None,
        };
        let zone = self.offset.map(Zone::Offset).or(self.named);
        Some(Read { local: date.to_datetime(time), zone })
    }
}

/// Two of the same are one too many.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// The place of a name among others, whole or its first three letters (or four, as Sept).
fn named(word: &str, names: &[&str]) -> Option<usize> {
    let word = word.trim_end_matches('.');
    let short = word.len() == 3
        || word.eq_ignore_ascii_case("sept")
        || word.eq_ignore_ascii_case("tues")
        || word.eq_ignore_ascii_case("thur");
    names.iter().position(|name| {
        name.eq_ignore_ascii_case(word)
            || (short && name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    })
}

/// Years of two digits are those of this century: events are not that old.
fn of_two_digits(year: &str) -> Option<i16> {
    (year.len() == 2).then(|| year.parse::<i16>().ok().map(|year| 2_000 + year))?
}
