//! An amount of money, as a number or as people write one, in the smallest unit of its currency. Exact: no float is multiplied.

use std::borrow::Cow;

/// Beyond 2^53 other programs that read the number would round it.
const MAX_MINOR: i128 = 9_007_199_254_740_992;
/// The longest amount, in bytes.
const MAX_LENGTH: usize = 64;

/// A decimal number.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: i128,
    /// How many of the digits stand behind the point.
    scale: u32,
}

/// A number, as JSON has it, times ten to the power of `decimals`, rounded half away from zero.
pub(crate) fn of_number(number: f64, decimals: u32) -> Option<i64> {
    // The shortest text that means the number: 19.99, not the binary fraction next to it.
    plain(&number.to_string())?.minor(decimals)
}

/// An amount in words, in a currency with so many decimals. Separators are read where they can mean one thing only; `1.999` and
/// `1,999` can mean two, unless the currency decides.
pub(crate) fn of_text(text: &str, currency: &str, decimals: u32) -> Option<i64> {
    let text = text.trim();
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (negative, text) = without_sign(without_currency(text, currency)?)?;
    let mut amount = grouped(&text, decimals)?;
    amount.negative ^= negative;
    amount.minor(decimals)
}

impl Decimal {
    fn minor(&self, decimals: u32) -> Option<i64> {
        let minor = match decimals.checked_sub(self.scale) {
            Some(more) => self.digits.checked_mul(10_i128.checked_pow(more)?)?,
            None => {
                let unit = 10_i128.checked_pow(self.scale - decimals)?;
                (self.digits + unit / 2) / unit
            }
        };
        let minor = if self.negative { -minor } else { minor };
        (minor.abs() < MAX_MINOR).then(|| i64::try_from(minor).ok()).flatten()
    }
}

/// `-1234.5` or `1e3`.
fn plain(text: &str) -> Option<Decimal> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    of_digits(negative, whole, fraction)
}

fn of_digits(negative: bool, whole: &str, fraction: &str) -> Option<Decimal> {
    let fraction = fraction.trim_end_matches('0');
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() && fraction.is_empty() || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Beyond that no amount is near 2^53.
    if whole.trim_start_matches('0').len() > 20 || fraction.len() > 16 {
        return None;
    }
    let digits = digits().fold(0, |number, digit| number * 10 + i128::from(digit - b'0'));
    Some(Decimal { negative, digits, scale: u32::try_from(fraction.len()).ok()? })
}

/// The amount without the name or sign of its currency. Another currency's name makes it unclear.
fn without_currency<'t>(text: &'t str, currency: &str) -> Option<&'t str> {
    const SIGNS: [&str; 14] = ["€", "$", "£", "¥", "₹", "₩", "₽", "₺", "₫", "₴", "₦", "₱", "₪", "฿"];
    const WORDS: [&str; 5] = ["US$", "kr.", "kr", "Rs.", "Rs"];
    let mut text = text;
    for _ in 0..2 {
        let name = |part: &str| part.eq_ignore_ascii_case(currency) && !currency.is_empty();
        let start = WORDS.iter().chain(&SIGNS).find_map(|sign| text.strip_prefix(*sign));
        let end = || WORDS.iter().chain(&SIGNS).find_map(|sign| text.strip_suffix(*sign));
        let before = || text.get(..3).filter(|part| name(part)).and_then(|_| text.get(3..));
        let after = || {
            let at = text.len().checked_sub(3)?;
            text.get(at..).filter(|part| name(part)).and_then(|_| text.get(..at))
        };
        match start.or_else(end).or_else(before).or_else(after) {
            Some(rest) => text = rest.trim(),
            None => break,
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Whether the amount is negative, and the rest: `-5`, `−5`, `5-`, `(5)`.
fn without_sign(text: &str) -> Option<(bool, Cow<'_, str>)> {
    let text = text.trim();
    if let Some(inside) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return Some((true, inside.trim().into()));
    }
    let minus = ['-', '\u{2212}'];
    if let Some(rest) = text.strip_prefix(minus).or_else(|| text.strip_suffix('-')) {
        // `5.-` and `-5-` are not read as negative.
        return (!rest.ends_with([',', '.']) && !rest.contains(minus)).then(|| (true, rest.trim().into()));
    }
    Some((false, text.strip_prefix('+').unwrap_or(text).trim().into()))
}

/// Reads digits with separators.
fn grouped(text: &str, decimals: u32) -> Option<Decimal> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return of_digits(false, text, "");
    }
    // 1.999E3, as some languages print a number.
    if text.contains(['e', 'E']) {
        let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
        return plain(&number.to_string());
    }
    // Only thousands are apart by these.
    let space = |char: char| matches!(char, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '’' | '_');
    let (whole, mark, fraction) = match text.rfind([',', '.']) {
        None => (text, None, ""),
        Some(at) => (&text[..at], text[at..].chars().next(), &text[at + 1..]),
    };
    let Some(mark) = mark else { return of_digits(false, &joined(whole, space)?, "") };
    let other = if mark == ',' { '.' } else { ',' };
    if whole.contains(mark) {
        // The same mark twice parts thousands: 1.234.567.
        let parts = |char: char| char == mark;
        if whole.contains(other) || whole.contains(space) {
            return None;
        }
        return of_digits(false, &joined(text, parts)?, "");
    }
    if whole.contains(other) {
        // 1,234.50 and 1.234,50; the rest of the mark's kind cannot be.
        return of_digits(false, &joined(whole, |char| char == other)?, fraction);
    }
    if whole.contains(space) {
        return of_digits(false, &joined(whole, space)?, fraction);
    }
    let looks_grouped = fraction.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
    match mark {
        // 1.999 is a price by the litre or two thousand: only a currency with three decimals decides.
        '.' if looks_grouped && decimals != 3 => None,
        '.' => of_digits(false, whole, fraction),
        // A comma is no sign of a program that prints fractions of a cent.
        _ if looks_grouped && decimals <= 2 => of_digits(false, &joined(text, |char| char == ',')?, ""),
        _ if looks_grouped => None,
        _ => of_digits(false, whole, fraction),
    }
}

/// The digits of a number whose thousands are apart; `None` when the groups are of no system. India parts by twos before the last three.
fn joined(text: &str, apart: impl Fn(char) -> bool) -> Option<String> {
    let groups: Vec<&str> = text.split(apart).collect();
    let (first, rest) = groups.split_first()?;
    let (last, middle) = match rest.split_last() {
        Some((last, middle)) => (*last, middle),
        None => return Some((*first).to_owned()),
    };
    let threes = middle.iter().all(|group| group.len() == 3);
    let twos = !middle.is_empty() && middle.iter().all(|group| group.len() == 2) && first.len() <= 2;
    ((1..=3).contains(&first.len()) && last.len() == 3 && (threes || twos)).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_read_where_it_can_mean_one_thing_only() {
        for (text, currency, decimals, expected) in [
            ("19.99", "EUR", 2, 1999),
            ("19,99", "EUR", 2, 1999),
            ("1999", "JPY", 0, 1999),
            ("1999.00", "JPY", 0, 1999),
            ("1,999", "JPY", 0, 1999),
            ("1.999", "KWD", 3, 1999),
            ("1.5", "KWD", 3, 1500),
            ("1,999.00", "USD", 2, 199_900),
            ("1.999,00", "EUR", 2, 199_900),
            ("1,999", "USD", 2, 199_900),
            ("1 999,00", "EUR", 2, 199_900),
            ("1\u{202f}999,00 €", "EUR", 2, 199_900),
            ("1'999.50", "CHF", 2, 199_950),
            ("1.234.567", "EUR", 2, 123_456_700),
            ("1,234,567", "USD", 2, 123_456_700),
            ("12,34,567.50", "INR", 2, 123_456_750),
            ("$1,999.50", "USD", 2, 199_950),
            ("US$ 5", "USD", 2, 500),
            ("EUR 19.99", "EUR", 2, 1999),
            ("19.99 eur", "EUR", 2, 1999),
            ("¥1,999", "JPY", 0, 1999),
            ("-19.99", "EUR", 2, -1999),
            ("\u{2212}19,99", "EUR", 2, -1999),
            ("(19.99)", "USD", 2, -1999),
            ("19.99-", "EUR", 2, -1999),
            ("+5", "EUR", 2, 500),
            (".99", "EUR", 2, 99),
            ("0.999", "EUR", 2, 100),
            ("19.9900", "EUR", 2, 1999),
            ("1999.5", "EUR", 2, 199_950),
            ("1.999E3", "EUR", 2, 199_900),
            ("5 kr", "SEK", 2, 500),
            ("0", "EUR", 2, 0),
            ("0.0001", "CLF", 4, 1),
        ] {
            assert_eq!(of_text(text, currency, decimals), Some(expected), "{text} {currency}");
        }
        for (text, currency, decimals) in [
            ("1.999", "EUR", 2),
            ("1.999", "JPY", 0),
            ("1,999", "KWD", 3),
            ("19.99 USD", "EUR", 2),
            ("1,99,9", "USD", 2),
            ("1,9999,00", "EUR", 2),
            ("1.2.3", "EUR", 2),
            ("1,234.567.890", "EUR", 2),
            ("12 34", "EUR", 2),
            ("free", "EUR", 2),
            ("", "EUR", 2),
            ("-", "EUR", 2),
            ("1e999", "EUR", 2),
            ("NaN", "EUR", 2),
            ("99999999999999999", "EUR", 2),
        ] {
            assert_eq!(of_text(text, currency, decimals), None, "{text} {currency}");
        }
    }

    #[test]
    fn a_number_is_what_it_is_written_as() {
        assert_eq!(of_number(19.99, 2), Some(1999));
        assert_eq!(of_number(1.005, 2), Some(101), "not the binary fraction below it");
        assert_eq!(of_number(-19.99, 2), Some(-1999));
        assert_eq!(of_number(1999.0, 0), Some(1999));
        assert_eq!(of_number(1.999, 3), Some(1999));
        for none in [f64::NAN, f64::INFINITY, 1e20, -1e300] {
            assert_eq!(of_number(none, 2), None, "{none}");
        }
    }

    /// The digits of a number in groups of three.
    fn in_threes(number: u64, mark: &str) -> String {
        let digits = number.to_string();
        let first = (digits.len() + 2) % 3 + 1;
        let (head, tail) = digits.split_at(first.min(digits.len()));
        let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
        std::iter::once(head.to_owned()).chain(groups).collect::<Vec<_>>().join(mark)
    }

    proptest! {
        #[test]
        fn an_amount_comes_back_from_every_usual_way_to_write_it(
            minor in 0..9_000_000_000_000_u64, way in 0..6_usize, negative in any::<bool>(), decimals in prop::sample::select(vec![0_u32, 2, 3]),
        ) {
            let unit = 10_u64.pow(decimals);
            let (whole, rest) = (minor / unit, minor % unit);
            let (thousands, point) = [("", "."), ("", ","), (",", "."), (".", ","), (" ", ","), ("'", ".")][way];
            // One mark with three digits after it can mean two things: such texts are tried above.
            prop_assume!(!(decimals == 3 && point == "," && (1..=999).contains(&whole)));
            prop_assume!(!(decimals == 0 && thousands == "." && (1_000..1_000_000).contains(&whole)));
            let mut text = in_threes(whole, thousands);
            if decimals > 0 {
                text = format!("{text}{point}{rest:0width$}", width = decimals as usize);
            }
            if negative {
                text = format!("-{text}");
            }
            let expected = if negative { -(minor as i64) } else { minor as i64 };
            prop_assert_eq!(of_text(&text, "EUR", decimals), Some(expected), "{}", text);
        }

        #[test]
        fn any_text_panics_nobody(text in any::<String>(), odd in "[-0-9., '()eE€$]{0,30}") {
            for decimals in [0, 2, 3, 4] {
                of_text(&text, "EUR", decimals);
                of_text(&odd, "EUR", decimals);
            }
        }
    }
}
