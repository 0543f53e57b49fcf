//! Questions to ClickHouse, as anyone with curl asks them.

use std::time::{Duration, Instant};

use anyhow::bail;
use reqwest::Client;
use serde_json::Value;

/// ClickHouse's HTTP interface, as one user.
#[derive(Debug, Clone)]
pub struct Asker {
    client: Client,
    url: String,
    user: String,
    password: String,
}

impl Asker {
    /// Asks as `user`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let client = traffic::http::client(Duration::from_secs(60))?;
        Ok(Self { client, url: url.to_owned(), user: user.to_owned(), password: password.to_owned() })
    }

    /// The rows of a query as JSON objects; 64-bit numbers are numbers.
    ///
    /// # Errors
    /// ClickHouse's own words when it refuses.
    pub async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self
            .client
            .post(format!("{}/?default_format=JSONEachRow&output_format_json_quote_64bit_integers=0", self.url))
            .header("X-ClickHouse-User", &self.user)
            .header("X-ClickHouse-Key", &self.password)
            .body(sql.to_owned())
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The only value of a query's only row.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub async fn one(&self, sql: &str) -> anyhow::Result<Value> {
        let rows = self.rows(sql).await?;
        match rows.as_slice() {
            [Value::Object(row)] if row.len() == 1 => Ok(row.values().next().cloned().unwrap_or_default()),
            _ => bail!("{sql} gave {rows:?}"),
        }
    }

    /// The only number of a query's only row.
    ///
    /// # Errors
    /// When it is not a number.
    pub async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        match self.one(sql).await? {
            Value::Number(number) if number.is_u64() => Ok(number.as_u64().unwrap_or_default()),
            other => bail!("{sql} gave {other}"),
        }
    }

    /// Waits until a query's number is `expected`, and fails with the last one when it is not within `patience`.
    ///
    /// # Errors
    /// When time runs out.
    pub async fn until(&self, sql: &str, expected: u64, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let got = self.number(sql).await;
            match got {
                Ok(number) if number == expected => return Ok(()),
                other if Instant::now() > deadline => {
                    bail!("{sql}: expected {expected} within {patience:?}, got {other:?}")
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
