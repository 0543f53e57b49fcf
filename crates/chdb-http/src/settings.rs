//! The parameters of a request: which belong to the interface, which bind a value, and which are settings of the
//! engine.

use super::engine::{Connection, Parameters};
use super::exception::Exception;

/// Parameters that belong to the HTTP interface itself (`HTTPHandler.cpp` of ClickHouse); every other one is a setting.
const OF_THE_INTERFACE: [&str; 20] = [
    "query",
    "database",
    "user",
    "password",
    "quota_key",
    "query_id",
    "default_format",
    "session_id",
    "session_timeout",
    "session_check",
    "close_session",
    "compress",
    "decompress",
    "buffer_size",
    "wait_end_of_query",
    "stacktrace",
    "role",
    "client_protocol_version",
    "http_write_exception_in_output_format",
    "add_http_cors_header",
];

/// The parameters of a request in their order; a later one wins.
#[derive(Debug, Default, Clone)]
pub(crate) struct RequestParameters(Vec<(String, String)>);

impl RequestParameters {
    /// Reads the query part of a URL.
    pub(crate) fn from_url(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or("").as_bytes()).into_owned().collect())
    }

    /// Adds a field of a form.
    pub(crate) fn push(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// The last value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there and neither empty, `0` nor `false`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "" | "0" | "false"))
    }

    /// The values for `{name:Type}`: every `param_name`.
    pub(crate) fn bound(&self) -> Parameters {
        let bound =
            self.0.iter().filter_map(|(key, value)| Some((key.strip_prefix("param_")?.to_owned(), value.clone())));
        Parameters(bound.collect())
    }

    /// The settings of the engine among them.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .filter(|(key, _)| !OF_THE_INTERFACE.contains(&key.as_str()) && !key.starts_with("param_"))
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }
}

/// A string literal of SQL.
pub(crate) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'").replace('\0', "\\0"))
}

/// An identifier of SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`").replace('\0', "\\0"))
}

/// The statement that sets `settings`. Their names become part of its text, so only names that a setting can have are
/// taken.
pub(crate) fn set_statement(settings: &[(&str, &str)]) -> Result<String, Exception> {
    let mut parts = Vec::with_capacity(settings.len());
    for (name, value) in settings {
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !letters || name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            let what = format!("{name:?} is neither a setting nor a parameter of the HTTP interface");
            return Err(Exception::new(Exception::UNKNOWN_SETTING, what));
        }
        parts.push(format!("{name} = {}", literal(value)));
    }
    Ok(format!("SET {}", parts.join(", ")))
}

/// Applies settings to a connection; the engine refuses unknown names, wrong values and what readonly forbids.
pub(crate) fn apply(connection: &mut Connection, settings: &[(&str, &str)]) -> Result<(), Exception> {
    if settings.is_empty() {
        return Ok(());
    }
    connection.execute(&set_statement(settings)?)
}

/// The statement that takes settings back to what `connection` has now: those of a URL hold for one request, also in a
/// session.
pub(crate) fn restore_statement(
    connection: &mut Connection,
    settings: &[(&str, &str)],
) -> Result<Option<String>, Exception> {
    let names: Vec<String> = settings.iter().map(|(name, _)| literal(name)).collect();
    let sql = format!("SELECT name, changed, value FROM system.settings WHERE name IN ({})", names.join(", "));
    let answer = connection.query(sql.as_bytes(), "JSONCompactEachRow", &Parameters::default())?;
    let mut parts = Vec::new();
    for row in serde_json::Deserializer::from_slice(answer.data()).into_iter::<(String, u8, String)>() {
        let (name, changed, value) = row.map_err(|error| {
            Exception::new(Exception::LOGICAL_ERROR, format!("the engine's settings cannot be read: {error}"))
        })?;
        parts.push(format!("{name} = {}", if changed == 1 { literal(&value) } else { "DEFAULT".to_owned() }));
    }
    Ok((!parts.is_empty()).then(|| format!("SET {}", parts.join(", "))))
}

/// The statement that takes a connection back to the database that it is in now.
pub(crate) fn use_statement_of_now(connection: &mut Connection) -> Result<String, Exception> {
    let answer = connection.query(b"SELECT currentDatabase() FORMAT RawBLOB", "RawBLOB", &Parameters::default())?;
    Ok(format!("USE {}", identifier(&String::from_utf8_lossy(answer.data()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_into_interface_values_and_settings() {
        let all = RequestParameters::from_url(Some(
            "query=SELECT%201&database=h&param_a=x%26y&max_threads=2&param_b=&max_threads=3&compress=1&decompress=0",
        ));
        assert_eq!(all.get("query"), Some("SELECT 1"));
        assert_eq!(all.bound().0, [("a".to_owned(), "x&y".to_owned()), ("b".to_owned(), String::new())]);
        assert_eq!(all.settings(), [("max_threads", "2"), ("max_threads", "3")]);
        assert!(all.is_on("compress") && !all.is_on("decompress") && !all.is_on("wait_end_of_query"));
    }

    #[test]
    fn a_value_cannot_leave_its_literal() {
        let set = set_statement(&[("a", "x', readonly = 0, b = 'y"), ("c", "\\'; DROP TABLE t --")]).unwrap();
        assert_eq!(set, r"SET a = 'x\', readonly = 0, b = \'y', c = '\\\'; DROP TABLE t --'");
        assert_eq!(identifier("a`; DROP"), "`a\\`; DROP`");
    }

    #[test]
    fn a_name_that_is_no_name_is_an_unknown_setting() {
        for name in ["", "a = 1, readonly", "a;b", "a.b", "1a", "größe"] {
            assert_eq!(set_statement(&[(name, "1")]).unwrap_err().code, Exception::UNKNOWN_SETTING, "{name}");
        }
    }
}
