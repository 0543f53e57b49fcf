//! Just enough of ClickHouse's lexical grammar to tell where the statement of an INSERT ends and its data begins, which
//! format an answer has, and which names a text mentions. What a statement *does* is asked of the engine's own parser.

use std::ops::Range;

/// A piece of a statement; comments and white space are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A bare word: keyword, identifier, function.
    Word(Range<usize>),
    /// An identifier in backquotes or double quotes, with them.
    Quoted(Range<usize>),
    /// A string or a number.
    Literal,
    /// Anything else, one byte at a time.
    Mark(u8),
}

/// Walks over the tokens of a text. Bytes that are no SQL (the data of an INSERT) do it no harm.
#[derive(Clone)]
struct Tokens<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Tokens<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn peek_byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) {
        while self.at < self.text.len() {
            let (byte, next) = (self.peek_byte(0), self.peek_byte(1));
            if byte.is_ascii_whitespace() || byte == 0x0b {
                self.at += 1;
            } else if (byte == b'-' && next == b'-') || (byte == b'#' && (next == b' ' || next == b'!')) {
                self.at += self.text[self.at..].iter().position(|b| *b == b'\n').unwrap_or(self.text.len() - self.at);
            } else if byte == b'/' && next == b'*' {
                let rest = &self.text[self.at + 2..];
                let end = rest.windows(2).position(|two| two == b"*/");
                self.at = end.map_or(self.text.len(), |end| self.at + 2 + end + 2);
            } else {
                break;
            }
        }
    }

    /// Moves past a text in `quote`s: a backslash escapes, a doubled quote stands for one.
    fn skip_quoted(&mut self, quote: u8) {
        self.at += 1;
        while self.at < self.text.len() {
            match self.peek_byte(0) {
                b'\\' => self.at += 2,
                byte if byte == quote && self.peek_byte(1) == quote => self.at += 2,
                byte if byte == quote => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
    }

    /// Moves past `$tag$ … $tag$`, if that is what begins here.
    fn skip_heredoc(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(length) = rest[1..].iter().position(|b| *b == b'$') else { return false };
        let tag = &rest[..length + 2];
        if !tag[1..tag.len() - 1].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
            return false;
        }
        let end = rest[tag.len()..].windows(tag.len()).position(|window| window == tag);
        self.at += end.map_or(rest.len(), |end| tag.len() + end + tag.len());
        true
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let start = self.at;
        if start >= self.text.len() {
            return None;
        }
        let byte = self.peek_byte(0);
        Some(match byte {
            b'\'' => {
                self.skip_quoted(byte);
                Token::Literal
            }
            b'`' | b'"' => {
                self.skip_quoted(byte);
                Token::Quoted(start..self.at)
            }
            b'$' if self.skip_heredoc() => Token::Literal,
            _ if is_word_byte(byte) => {
                while self.at < self.text.len() && is_word_byte(self.peek_byte(0)) {
                    self.at += 1;
                }
                if byte.is_ascii_digit() { Token::Literal } else { Token::Word(start..self.at) }
            }
            _ => {
                self.at += 1;
                Token::Mark(byte)
            }
        })
    }
}

fn depth_after(depth: i32, token: &Token) -> i32 {
    match token {
        Token::Mark(b'(' | b'[' | b'{') => depth + 1,
        Token::Mark(b')' | b']' | b'}') => depth - 1,
        _ => depth,
    }
}

fn is(text: &[u8], word: &Range<usize>, keyword: &str) -> bool {
    text[word.clone()].eq_ignore_ascii_case(keyword.as_bytes())
}

/// The first keyword of a text, in capitals; parentheses before it are passed over.
pub(crate) fn first_keyword(text: &[u8]) -> String {
    for token in Tokens::new(text) {
        match token {
            Token::Word(word) => return String::from_utf8_lossy(&text[word]).to_ascii_uppercase(),
            Token::Mark(b'(') => {}
            _ => break,
        }
    }
    String::new()
}

/// How an INSERT brings its rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    /// Data in `format` begins at byte `data` of the text (which may be its end); `text[..statement]` is the statement
    /// without `FORMAT` and data.
    Data { statement: usize, format: String, data: usize },
    /// `FORMAT x;`: the server refuses a semicolon before data.
    Semicolon,
    /// From a SELECT or a file, or not complete: a statement like any other.
    Other,
}

/// Takes an INSERT apart, or answers `None` for another statement.
pub(crate) fn insert(text: &[u8]) -> Option<Insert> {
    let mut tokens = Tokens::new(text);
    match tokens.next() {
        Some(Token::Word(word)) if is(text, &word, "INSERT") => {}
        _ => return None,
    }
    // What begins the rows may also be the name of a table (`INSERT INTO format …`) or of a column: the name is taken
    // whole, and columns stand in parentheses.
    skip_target(&mut tokens);
    let mut depth = 0;
    while let Some(token) = tokens.next() {
        let outer = depth == 0;
        depth = depth_after(depth, &token);
        if !outer {
            continue;
        }
        let is_any = |word: &Range<usize>, keywords: &[&str]| keywords.iter().any(|keyword| is(text, word, keyword));
        match &token {
            Token::Mark(b'(') => {
                let inside = tokens.clone().next();
                if matches!(inside, Some(Token::Word(word)) if is_any(&word, &["SELECT", "WITH"])) {
                    return Some(Insert::Other);
                }
            }
            Token::Word(word) if is(text, word, "VALUES") => {
                return Some(Insert::Data { statement: word.start, format: "Values".to_owned(), data: word.end });
            }
            Token::Word(word) if is(text, word, "FORMAT") => {
                let Some(Token::Word(format)) = tokens.next() else { return Some(Insert::Other) };
                let Some(data) = data_start(text, format.end) else { return Some(Insert::Semicolon) };
                return Some(Insert::Data {
                    statement: word.start,
                    format: String::from_utf8_lossy(&text[format]).into_owned(),
                    data,
                });
            }
            Token::Word(word) if is_any(word, &["SELECT", "WITH", "FROM", "WATCH"]) => return Some(Insert::Other),
            _ => {}
        }
    }
    Some(Insert::Other)
}

/// Moves past `[INTO] [TABLE] [FUNCTION] name[.name…]`, where a name may be `{parameter:Identifier}`.
fn skip_target(tokens: &mut Tokens<'_>) {
    let text = tokens.text;
    for keyword in ["INTO", "TABLE", "FUNCTION"] {
        let mut ahead = tokens.clone();
        let here = matches!(ahead.next(), Some(Token::Word(word)) if is(text, &word, keyword));
        // A table may be called like the keyword: then its columns, a dot or the rows follow.
        let names_something = matches!(ahead.clone().next(), Some(Token::Quoted(_) | Token::Mark(b'{')))
            || matches!(ahead.clone().next(), Some(Token::Word(word)) if !is(text, &word, "FORMAT") && !is(text, &word, "VALUES"))
            || keyword == "INTO";
        if here && (names_something || matches!(ahead.clone().nth(1), Some(Token::Mark(b'.')))) {
            *tokens = ahead;
        }
    }
    loop {
        if let Some(Token::Mark(b'{')) = tokens.next() {
            while !matches!(tokens.next(), None | Some(Token::Mark(b'}'))) {}
        }
        let mut ahead = tokens.clone();
        if ahead.next() != Some(Token::Mark(b'.')) {
            return;
        }
        *tokens = ahead;
    }
}

/// Where data begins after a format's name, by the rule of ClickHouse's `ParserInsertQuery`: blanks, then at most one
/// line end, because the data may be binary. `None`: a semicolon is in the way.
fn data_start(text: &[u8], after_format: usize) -> Option<usize> {
    let mut at = after_format;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\x0c')) {
        at += 1;
    }
    if text.get(at) == Some(&b';') {
        return None;
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    Some(at)
}

/// The format that a statement names for its answer: the last `FORMAT x` outside parentheses.
pub(crate) fn output_format(text: &[u8]) -> Option<String> {
    let mut depth = 0;
    let mut found = None;
    let mut tokens = Tokens::new(text);
    while let Some(token) = tokens.next() {
        depth = depth_after(depth, &token);
        if let (0, Token::Word(word)) = (depth, &token)
            && is(text, word, "FORMAT")
            && let Some(Token::Word(format)) = tokens.clone().next()
        {
            found = Some(String::from_utf8_lossy(&text[format]).into_owned());
        }
    }
    found
}

/// What a text mentions, for rules that the engine has no setting for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// Names before an opening parenthesis: functions and table functions, as written, without quotes.
    pub(crate) calls: Vec<String>,
    /// Quoted identifiers with a slash: the engine's default database also finds files by such names.
    pub(crate) paths: Vec<String>,
    /// `{name:Identifier}` stands in the text.
    pub(crate) identifier_parameter: bool,
    /// `INTO OUTFILE` or `FROM INFILE`: files on the side of the client, which is this process.
    pub(crate) client_file: bool,
}

/// Collects the [`Mentions`] of a text.
pub(crate) fn mentions(text: &[u8]) -> Mentions {
    let mut mentions = Mentions::default();
    let mut previous: Option<Token> = None;
    for token in Tokens::new(text) {
        let name = |token: &Token| match token {
            Token::Word(word) => Some(String::from_utf8_lossy(&text[word.clone()]).into_owned()),
            Token::Quoted(quoted) => {
                let inner = &text[quoted.start + 1..(quoted.end - 1).max(quoted.start + 1)];
                Some(String::from_utf8_lossy(inner).into_owned())
            }
            _ => None,
        };
        match (&previous, &token) {
            (Some(before), Token::Mark(b'(')) => mentions.calls.extend(name(before)),
            (_, Token::Quoted(_)) => mentions.paths.extend(name(&token).filter(|name| name.contains('/'))),
            (_, Token::Word(word)) if is(text, word, "Identifier") => mentions.identifier_parameter = true,
            (_, Token::Word(word)) if is(text, word, "OUTFILE") || is(text, word, "INFILE") => {
                mentions.client_file |= matches!(&previous, Some(Token::Word(before))
                    if is(text, before, "INTO") || is(text, before, "FROM"));
            }
            _ => {}
        }
        previous = Some(token);
    }
    mentions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn data(text: &[u8]) -> (&[u8], String, &[u8]) {
        match insert(text) {
            Some(Insert::Data { statement, format, data }) => (&text[..statement], format, &text[data..]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_data_of_an_insert_begins_after_one_line_end() {
        let (statement, format, rest) = data(b"INSERT INTO db.t (a, `b c`) FORMAT RowBinary\n\n\x00\x01");
        assert_eq!(
            (statement, format.as_str(), rest),
            (&b"INSERT INTO db.t (a, `b c`) "[..], "RowBinary", &b"\n\x00\x01"[..])
        );
        let (_, format, rest) = data(b"insert into t format CSV 1,2\n");
        assert_eq!((format.as_str(), rest), ("CSV", &b"1,2\n"[..]));
        let (statement, format, rest) = data(b"INSERT INTO t VALUES (1, ')'), (2, 'FORMAT')");
        assert_eq!((statement, format.as_str()), (&b"INSERT INTO t "[..], "Values"));
        assert_eq!(rest, b" (1, ')'), (2, 'FORMAT')");
    }

    #[test]
    fn names_of_tables_and_columns_may_be_keywords() {
        for text in [
            &b"INSERT INTO format (values, `select`) FORMAT Native\nxx"[..],
            b"INSERT INTO TABLE values.format FORMAT Native\nxx",
            b"INSERT INTO {t:Identifier} FORMAT Native\nxx",
            b"/* FORMAT CSV */ INSERT INTO a.b SETTINGS async_insert = 0, x = 'FORMAT y' FORMAT Native\nxx",
            b"INSERT INTO FUNCTION null('a UInt8') FORMAT Native\nxx",
            b"INSERT INTO \"t\" -- VALUES\n(a) FORMAT Native\nxx",
            b"INSERT t FORMAT Native\nxx",
            b"INSERT INTO table FORMAT Native\nxx",
            b"INSERT INTO t SETTINGS x = 0.5 FORMAT Native\nxx",
        ] {
            let (statement, format, rest) = data(text);
            assert_eq!((format.as_str(), rest), ("Native", &b"xx"[..]), "{}", text.escape_ascii());
            assert!(!statement.ends_with(b"FORMAT "));
        }
    }

    #[test]
    fn an_insert_from_a_select_has_no_data() {
        for text in [
            &b"INSERT INTO t SELECT 1 FORMAT CSV"[..],
            b"INSERT INTO t (a) WITH 1 AS x SELECT x",
            b"INSERT INTO t (SELECT 1)",
            b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
            b"INSERT INTO t",
        ] {
            assert_eq!(insert(text), Some(Insert::Other), "{}", text.escape_ascii());
        }
        assert_eq!(insert(b"SELECT 'INSERT INTO t FORMAT CSV'"), None);
        assert_eq!(insert(b"INSERT INTO t FORMAT CSV;\n1"), Some(Insert::Semicolon));
    }

    #[test]
    fn the_format_of_an_answer_is_the_last_one_outside_parentheses() {
        assert_eq!(output_format(b"SELECT format FROM t FORMAT JSON SETTINGS x = 1").as_deref(), Some("JSON"));
        assert_eq!(output_format(b"SELECT * FROM format(CSV, 'x') WHERE s = ' FORMAT XML'"), None);
        assert_eq!(output_format(b"SELECT 1 -- FORMAT CSV"), None);
    }

    #[test]
    fn the_first_keyword_is_found_behind_comments_and_parentheses() {
        assert_eq!(first_keyword(b"-- x\n/* y */ ((select 1) union all (select 2))"), "SELECT");
        assert_eq!(first_keyword(b"  'a'"), "");
    }

    #[test]
    fn mentions_see_through_quotes_and_not_into_strings() {
        let seen = mentions(b"SELECT `file` ('x'), 'url(1)' FROM \"/etc/passwd\" WHERE x IN (1) INTO  OUTFILE 'y'");
        assert!(seen.calls.contains(&"file".to_owned()));
        assert!(!seen.calls.contains(&"url".to_owned()));
        assert_eq!(seen.paths, ["/etc/passwd"]);
        assert!(seen.client_file && !seen.identifier_parameter);
        assert!(mentions(b"SELECT * FROM {t:Identifier}").identifier_parameter);
        assert!(!mentions(b"SELECT outfile FROM t").client_file);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_walk_fail(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = insert(&text);
            let _ = output_format(&text);
            let _ = mentions(&text);
            let _ = insert(&[b"INSERT INTO t ", text.as_slice()].concat());
        }
    }
}
