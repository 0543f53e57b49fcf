//! Who may use the local engine: the accounts, and how a request says whose it is.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::exception::Exception;
use super::settings::RequestParameters;

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Reading, and settings that change nothing but the query at hand: ClickHouse's `readonly = 2`, without table
    /// functions that reach outside the database.
    ReadOnly,
}

/// A user of the engine.
#[derive(Clone)]
pub struct Account {
    /// The name to sign in with.
    pub name: String,
    /// The password; may be empty only on purpose.
    pub password: String,
    /// What the user may do.
    pub access: Access,
}

impl std::fmt::Debug for Account {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).field("access", &self.access).finish_non_exhaustive()
    }
}

/// A name and a password as they came.
#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    user: String,
    password: String,
}

/// Finds the account of a request: by `X-ClickHouse-User` and `X-ClickHouse-Key`, by Basic authentication, or by the
/// parameters `user` and `password`; by one of these ways only, as on a server.
pub(crate) fn authenticate<'a>(
    accounts: &'a [Account],
    headers: &HeaderMap,
    parameters: &RequestParameters,
) -> Result<&'a Account, Exception> {
    let given = credentials(headers, parameters)?;
    let nothing_given = given.is_none();
    // Without a word about it a request is that of `default` with an empty password, if there is such an account.
    let given = given.unwrap_or_else(|| Credentials { user: "default".to_owned(), password: String::new() });
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let password = digest(&given.password);
    let mut found = None;
    for account in accounts {
        // Equal time for every name and password: nothing is learned from how long a refusal takes.
        let same = digest(&account.name).ct_eq(&digest(&given.user)) & digest(&account.password).ct_eq(&password);
        if bool::from(same) {
            found = Some(account);
        }
    }
    found.ok_or_else(|| {
        if nothing_given {
            let what = "no user and password were given (Basic authentication, X-ClickHouse-User and X-ClickHouse-Key, \
                        or the parameters user and password)";
            return Exception::new(Exception::REQUIRED_PASSWORD, what);
        }
        let what = format!(
            "{}: Authentication failed: password is incorrect, or there is no user with such name.",
            given.user
        );
        Exception::new(Exception::AUTHENTICATION_FAILED, what)
    })
}

fn credentials(headers: &HeaderMap, parameters: &RequestParameters) -> Result<Option<Credentials>, Exception> {
    let refuse = |what: &str| Err(Exception::new(Exception::AUTHENTICATION_FAILED, what));
    let header = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (user, key) = (header("X-ClickHouse-User"), header("X-ClickHouse-Key"));
    let in_headers = user.is_some() || key.is_some();
    let in_url = parameters.get("user").is_some() || parameters.get("password").is_some();
    let basic = headers.contains_key(AUTHORIZATION);
    if u8::from(in_headers) + u8::from(in_url) + u8::from(basic) > 1 {
        return refuse("Invalid authentication: it is not allowed to use several ways to authenticate at a time");
    }
    if in_headers {
        return Ok(Some(Credentials {
            user: user.unwrap_or_else(|| "default".to_owned()),
            password: key.unwrap_or_default(),
        }));
    }
    if basic {
        let value = header(AUTHORIZATION.as_str()).unwrap_or_default();
        let decoded = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Basic"))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return refuse("Invalid authentication: only Basic authentication, well formed, is supported here");
        };
        return Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }));
    }
    if in_url {
        return Ok(Some(Credentials {
            user: parameters.get("user").unwrap_or("default").to_owned(),
            password: parameters.get("password").unwrap_or("").to_owned(),
        }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], url: &str) -> Result<Access, u32> {
        let accounts = [
            Account { name: "hookline".into(), password: "s3cret:ü".into(), access: Access::Full },
            Account { name: "analyst".into(), password: "look".into(), access: Access::ReadOnly },
        ];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let parameters = RequestParameters::from_url(Some(url));
        authenticate(&accounts, &map, &parameters).map(|account| account.access).map_err(|error| error.code)
    }

    #[test]
    fn every_way_to_sign_in_finds_the_account() {
        let basic = format!("Basic {}", STANDARD.encode("hookline:s3cret:ü"));
        assert_eq!(check(&[("authorization", &basic)], ""), Ok(Access::Full));
        let two = [("x-clickhouse-user", "hookline"), ("x-clickhouse-key", "s3cret:ü")];
        assert_eq!(check(&two, ""), Ok(Access::Full));
        assert_eq!(check(&[], "user=analyst&password=look"), Ok(Access::ReadOnly));
    }

    #[test]
    fn wrong_missing_or_doubled_credentials_are_refused() {
        assert_eq!(check(&[], ""), Err(Exception::REQUIRED_PASSWORD));
        assert_eq!(check(&[], "user=analyst"), Err(Exception::AUTHENTICATION_FAILED));
        assert_eq!(check(&[], "user=analyst&password=LOOK"), Err(Exception::AUTHENTICATION_FAILED));
        assert_eq!(check(&[], "user=nobody&password=look"), Err(Exception::AUTHENTICATION_FAILED));
        assert_eq!(check(&[], "user=hookline&password=look"), Err(Exception::AUTHENTICATION_FAILED));
        assert_eq!(check(&[("x-clickhouse-key", "look")], ""), Err(Exception::AUTHENTICATION_FAILED));
        for value in ["Bearer abc", "Basic !!!", "Basic", "Basic YWJj"] {
            assert_eq!(check(&[("authorization", value)], ""), Err(Exception::AUTHENTICATION_FAILED), "{value}");
        }
        let both = [("x-clickhouse-user", "analyst"), ("x-clickhouse-key", "look")];
        assert_eq!(check(&both, "user=analyst&password=look"), Err(Exception::AUTHENTICATION_FAILED));
    }
}
