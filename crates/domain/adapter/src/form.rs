//! Forms: their fields, and the JSON that some senders call a form or put into one field of it.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::mend::{self, Mending};

/// The field that holds the JSON where several do: GitHub, Slack and others call it so.
const PAYLOAD: &str = "payload";

/// The fields of a form, in order, percent-decoded.
pub(crate) fn pairs(body: &[u8], mending: Mending) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(move |pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(end + 1..).unwrap_or_default();
        (decoded(&pair[..end], mending), decoded(value, mending))
    })
}

fn decoded(text: &[u8], mending: Mending) -> Cow<'_, str> {
    if !text.contains(&b'+') {
        return mend::text(percent_decode(text).into(), mending);
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(mend::text(percent_decode(&spaced).into(), mending).into_owned())
}

/// The JSON that a body is, though it is called a form: as it stands, percent-encoded as a whole, or in a field of the form.
pub(crate) fn json_in(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let body = mend::trimmed(body);
    if is_json(body) {
        return Some(Cow::Borrowed(body));
    }
    let owned = |text: Cow<'_, str>| Some(Cow::Owned(text.into_owned().into_bytes()));
    // Whatever equals signs and ampersands its texts hold.
    let whole = decoded(body, Mending::Plain);
    if body.starts_with(b"%") && is_json(mend::trimmed(whole.as_bytes())) {
        return owned(whole.strip_suffix('=').map(|text| text.to_owned().into()).unwrap_or(whole));
    }
    let mut found: Vec<_> =
        pairs(body, Mending::Plain).filter(|(_, value)| is_json(mend::trimmed(value.as_bytes()))).collect();
    if found.len() > 1 {
        found.retain(|(name, _)| name == PAYLOAD);
    }
    match found.pop() {
        Some((_, value)) if found.is_empty() => owned(value),
        _ => None,
    }
}

/// Whether a text begins as an event or an array of events does. No form begins so: its names would be quoted.
fn is_json(text: &[u8]) -> bool {
    let (Some(open), rest) = (text.first(), mend::trimmed(text.get(1..).unwrap_or_default())) else { return false };
    match open {
        b'{' => matches!(rest.first(), Some(b'"' | b'}')),
        b'[' => rest.first() == Some(&b'{'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Option<String> {
        json_in(body.as_bytes()).map(|json| String::from_utf8_lossy(&json).into_owned())
    }

    #[test]
    fn json_is_found_however_it_stands_in_what_is_called_a_form() {
        for body in [
            r#"{"id":"a=b&c","x":"1+1"}"#,
            "\u{feff} {\"id\":\"a=b&c\",\"x\":\"1+1\"}",
            "%7B%22id%22%3A%22a%3Db%26c%22%2C%22x%22%3A%221%2B1%22%7D",
            "%7b%22id%22%3a%22a=b&c%22%2c%22x%22%3a%221%2B1%22%7d=",
            "payload=%7B%22id%22%3A%22a%3Db%26c%22%2C%22x%22%3A%221%2B1%22%7D",
            "token=t&payload=%7B%22id%22%3A%22a%3Db%26c%22%2C%22x%22%3A%221%2B1%22%7D&meta=%7B%7D",
            "ts=1&event_data=%7B%22id%22%3A%22a%3Db%26c%22%2C%22x%22%3A%221%2B1%22%7D",
        ] {
            assert_eq!(json(body).as_deref().map(str::trim), Some(r#"{"id":"a=b&c","x":"1+1"}"#), "{body}");
        }
        assert_eq!(json("events=[{\"id\":1}]").as_deref(), Some("[{\"id\":1}]"));
        for form in ["", "id=1", "id=%7B1%7D", "a=[1]", "a={%22id%22:1}&b={%22id%22:1}", "a=%5B%5D", "{a=1", "[id]=1"] {
            assert_eq!(json(form), None, "{form}");
        }
    }

    #[test]
    fn a_cut_character_in_a_field_is_replaced() {
        let read = |mending| pairs(b"a=caf%e9+x&&b&c=%C3%A9=", mending).collect::<Vec<_>>();
        let own = |pairs: &[(&str, &str)]| -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
            pairs.iter().map(|(name, value)| (Cow::Owned(name.to_string()), Cow::Owned(value.to_string()))).collect()
        };
        assert_eq!(read(Mending::Plain), own(&[("a", "caf\u{fffd} x"), ("b", ""), ("c", "é=")]));
        assert_eq!(read(Mending::Distinct), own(&[("a", "caf\u{fffd}oj x"), ("b", ""), ("c", "é=")]));
    }
}
