//! Bodies that no honest platform sends and that an authentic request can hold all the same: what a JSON reader, a size
//! limit or a batch can stumble over.

use serde_json::Value;

/// A hostile body and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostile {
    /// What it is, in words.
    pub what: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Content types that senders write, meant well or not; the empty one stands for none at all.
pub const CONTENT_TYPES: [&str; 16] = [
    "",
    "application/json",
    "APPLICATION/JSON; charset=utf-8",
    "application/json; charset=utf-16",
    "application/json;;;=\"\"",
    "application/json, text/html",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/cloudevents",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
    "application/octet-stream",
    "/",
    "application/json\u{e9}",
];

/// Values in place of any other.
const VALUES: [&str; 24] = [
    "null",
    "true",
    "0",
    "-0",
    "1e999",
    "-1e999",
    "1e-999",
    "9007199254740993",
    "9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890123456789012345678901234567890",
    "0.1e00000000000000000000000001",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\u{202e}\u{feff}\u{ffff}\"",
    "\"'; DROP TABLE records; --\"",
    "\"<script>${jndi:ldap://127.0.0.1/x}</script>\"",
    "[]",
    "{}",
    "[[[[[[[[]]]]]]]]",
    "{\"\":{\"\":{\"\":null}}}",
];

/// Texts that are not JSON, or are JSON and no event.
const TEXTS: [&str; 44] = [
    "",
    " ",
    "\n\n\n",
    "null",
    "true",
    "0",
    "-",
    "1e999",
    "\"\"",
    "\"text\"",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "[null]",
    "[,]",
    "[1,]",
    "{,}",
    "{\"a\":1,}",
    "{\"a\"}",
    "{\"a\":}",
    "{a:1}",
    "{'a':1}",
    "{\"a\":1}{\"a\":2}",
    "{\"a\":1} x",
    "[1] [2]",
    "{\"a\":01}",
    "{\"a\":+1}",
    "{\"a\":.5}",
    "{\"a\":5.}",
    "{\"a\":0x1F}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":tru}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"tab\there\"}",
    "{\"a\":\"line\nbreak\"}",
    "// comment\n{}",
    "{} # comment",
    "<xml/>",
    "a=1&b=2",
    "%7B%22id%22%3A1%7D",
];

/// Every hostile body that is made without an example: `most` is the size, in bytes, up to which bodies are taken.
pub fn bodies(most: usize) -> Vec<Hostile> {
    let mut all = Vec::new();
    let mut add = |what: &str, body: Vec<u8>| all.push(Hostile { what: what.to_owned(), body });
    for text in TEXTS {
        add(&format!("the text {text:?}"), text.as_bytes().to_vec());
    }
    for (what, bytes) in [
        ("a byte order mark before JSON", b"\xef\xbb\xbf{}".as_slice()),
        ("a byte order mark alone", b"\xef\xbb\xbf"),
        ("UTF-16 with a mark", b"\xff\xfe{\0}\0"),
        ("invalid UTF-8 in a string", b"{\"id\":\"\xff\xfe\"}"),
        ("invalid UTF-8 between values", b"{\"id\"\xff:1}"),
        ("an overlong encoding", b"{\"id\":\"\xc0\xaf\"}"),
        ("a surrogate in UTF-8", b"{\"id\":\"\xed\xa0\x80\"}"),
        ("a cut character at the end", b"\"\xe2\x82"),
        ("a NUL", b"\0"),
        ("NULs around JSON", b"\0{}\0"),
        ("a NUL within a string", b"{\"id\":\"a\0b\"}"),
        ("gzip without saying so", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0"),
        ("all control characters", b"\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x1b\x7f"),
    ] {
        add(what, bytes.to_vec());
    }
    for open in ["[", "{\"a\":", "{\"id\":[", "[{\"link\":", "{\"data\":{\"link\":{\"tags\":["] {
        for depth in [63, 64, 65, 127, 128, 129, 1_000] {
            add(&format!("{open:?} {depth} times"), open.repeat(depth).into_bytes());
        }
        add(&format!("{open:?} as often as fits"), open.repeat(most / open.len()).into_bytes());
    }
    let half = (most - 2) / 2;
    add("an array as deep as fits, closed", ["[".repeat(half), "]".repeat(half)].concat().into_bytes());
    add("a string as long as fits", format!("\"{}\"", "x".repeat(most - 2)).into_bytes());
    add("a key as long as fits", format!("{{\"{}\":1}}", "k".repeat(most - 6)).into_bytes());
    add("a number as long as fits", "9".repeat(most).into_bytes());
    add("escapes as long as fits", format!("\"{}\"", "\\u0000".repeat((most - 2) / 6)).into_bytes());
    add("spaces as long as fits", " ".repeat(most).into_bytes());
    add("newlines as long as fits", "\n".repeat(most).into_bytes());
    add("one byte too long", format!("\"{}\"", "x".repeat(most - 1)).into_bytes());
    add("commas as long as fits", format!("[{}]", ",".repeat(most - 2)).into_bytes());
    add("an array of 10,000 numbers", format!("[{}7]", "7,".repeat(9_999)).into_bytes());
    add("an array of 10,000 objects", format!("[{}{{}}]", "{},".repeat(9_999)).into_bytes());
    add("an array of more events than a request may hold", format!("[{}7]", "7,".repeat(10_000)).into_bytes());
    add("10,001 lines", "{}\n".repeat(10_001).into_bytes());
    add("an object of 10,000 equal keys", format!("{{{}\"id\":1}}", "\"id\":1,".repeat(9_999)).into_bytes());
    let keys: String = (0..10_000).map(|number| format!("\"k{number}\":{number},")).collect();
    add("an object of 10,000 different keys", format!("{{{keys}\"id\":1}}").into_bytes());
    all
}

/// Damaged forms of a good body: cut anywhere, every value replaced by every hostile one, fields doubled or gone, and
/// good events among bad ones.
pub fn of(good: &[u8]) -> Vec<Hostile> {
    let mut all = Vec::new();
    let mut add = |what: String, body: Vec<u8>| all.push(Hostile { what, body });
    for part in 1..24 {
        let at = good.len() * part / 24;
        add(format!("cut at byte {at}"), good[..at].to_vec());
        let mut flipped = good.to_vec();
        flipped[at] ^= 0x80;
        add(format!("byte {at} above ASCII"), flipped);
        let mut split = good.to_vec();
        split.splice(at..at, [0]);
        add(format!("a NUL at byte {at}"), split);
    }
    let text = String::from_utf8_lossy(good);
    add("itself twice".into(), format!("{text}{text}").into_bytes());
    add("an array of itself and nonsense".into(), format!("[{text}, 7, null, {text}, {{}}, \"x\", []]").into_bytes());
    let line = text.replace(['\n', '\r'], " ");
    add(
        "lines of itself and nonsense".into(),
        format!("{line}\n{{\n\n[1]\r\n{line}\r\n\u{feff}{line}\n\"").into_bytes(),
    );
    let Ok(document) = serde_json::from_slice::<Value>(good) else { return all };
    let mut paths = Vec::new();
    walk(&document, "", &mut paths);
    for path in &paths {
        // A mark that stands nowhere else, so that texts can be put in its place that no JSON library would write.
        let mut marked = document.clone();
        if let Some(value) = marked.pointer_mut(path) {
            *value = Value::String(MARK.into());
        }
        let marked = marked.to_string();
        for value in VALUES {
            add(format!("{path} = {value}"), marked.replace(&format!("\"{MARK}\""), value).into_bytes());
        }
    }
    if let Value::Object(fields) = &document {
        for name in fields.keys() {
            let mut without = fields.clone();
            without.remove(name);
            add(format!("without {name}"), Value::Object(without).to_string().into_bytes());
            let whole = document.to_string();
            let again = format!("{{\"{name}\":null,{}", &whole[1..]);
            add(format!("{name} twice, first null"), again.into_bytes());
            let again = format!("{},\"{name}\":[]}}", &whole[..whole.len() - 1]);
            add(format!("{name} twice, last an array"), again.into_bytes());
        }
    }
    all
}

const MARK: &str = "hostile-value-here";

/// Pointers to every value in a document.
fn walk(value: &Value, here: &str, paths: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let path = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
        paths.push(path.clone());
        walk(value, &path, paths);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_large_as_they_say_and_all_different() {
        let most = 256 * 1_024;
        let all = bodies(most);
        assert!(all.iter().filter(|hostile| hostile.body.len() > most).count() == 1, "one is too long");
        assert!(all.iter().filter(|hostile| hostile.body.len() + 64 > most).count() >= 10, "many fill the limit");
        let mut different: Vec<_> = all.iter().map(|hostile| &hostile.body).collect();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn every_value_of_an_example_is_replaced_by_every_hostile_one() {
        let damaged = of(br#"{"id":"1","link":{"tags":["a"]}}"#);
        let replaced = damaged.iter().filter(|hostile| hostile.what.contains(" = ")).count();
        assert_eq!(replaced, 4 * VALUES.len()); // id, link, tags and its item
        assert!(damaged.iter().any(|hostile| hostile.body == br#"{"id":1e999,"link":{"tags":["a"]}}"#));
        assert!(damaged.iter().any(|hostile| hostile.body == br#"{"id":null,"id":"1","link":{"tags":["a"]}}"#));
    }
}
