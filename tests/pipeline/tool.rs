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

#[test]
fn a_tool_whose_answer_nobody_reads_ends_as_it_would_have_and_one_that_cannot_write_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::harness::configure(folder.path(), &[("dub", "dub", "dub")]);
    let check = |output: std::process::Stdio| {
        let mut command = std::process::Command::new(testkit::house::binary().unwrap());
        command.args(["check", "--config"]).arg(&config).stdout(output).stderr(std::process::Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, errors) = check(std::process::Stdio::null());
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(check(unread.into()), (code, errors));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, errors) = check(full.into());
    assert!(code == 2 && errors.contains("cannot be written to standard output: No space left"), "{code}: {errors}");
}
