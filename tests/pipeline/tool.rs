//! The operator's tools, run as a person runs them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

/// Runs `hookline <arguments> --json` about the installation whose configuration lies at `config`: exit code and answer.
pub async fn tool(config: &Path, arguments: &[&str]) -> anyhow::Result<(i32, Value)> {
    let (code, said, errors) = said(config, &[arguments, &["--json"]].concat()).await?;
    let answer = serde_json::from_str(&said).with_context(|| format!("{arguments:?} said {said:?} and {errors:?}"))?;
    Ok((code, answer))
}

/// The same for people: exit code, what it printed, and what it said on standard error.
pub async fn said(config: &Path, arguments: &[&str]) -> anyhow::Result<(i32, String, String)> {
    let binary = testkit::house::binary()?;
    let output = tokio::process::Command::new(binary).args(arguments).arg("--config").arg(config).output();
    let output = tokio::time::timeout(Duration::from_secs(180), output).await.context("it does not end")??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().context("it was killed")?, text(output.stdout), text(output.stderr)))
}
