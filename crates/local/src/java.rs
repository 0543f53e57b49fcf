//! Which Java runs Kafka.

use std::process::Stdio;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tokio::process::Command;

/// Kafka 4's brokers need it.
const LEAST: u32 = 17;
const INSTALL: &str =
    "install one (Debian: apt install openjdk-17-jre-headless), or name a running broker with --brokers HOST:PORT";

/// A Java runtime that is new enough.
pub(crate) struct Java {
    /// Tells builds apart: class archives fit the very build that wrote them.
    pub(crate) build: String,
}

impl Java {
    /// Asks the `java` on the path for its version.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let output = Command::new("java").arg("-version").stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("Java is not installed, and the local Kafka needs Java {LEAST} or later: {INSTALL}")
            }
            Err(error) => return Err(error).context("cannot run java"),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        match major(&said) {
            Some(major) if major >= LEAST => {
                Ok(Self { build: const_hex::encode(&Sha256::digest(said.as_bytes())[..6]) })
            }
            Some(major) => {
                bail!("Java {major} is installed, and the local Kafka needs Java {LEAST} or later: {INSTALL}")
            }
            None => bail!(
                "cannot tell the version of java from {:?}; the local Kafka needs Java {LEAST} or later: {INSTALL}",
                said.lines().next().unwrap_or_default()
            ),
        }
    }
}

/// The major version in what `java -version` says: `openjdk version "17.0.15" 2025-04-15` → 17, `"1.8.0_442"` → 8.
fn major(said: &str) -> Option<u32> {
    let line = said.lines().find(|line| line.contains(" version \""))?;
    let mut parts = line.split('"').nth(1)?.split(['.', '-', '+', '_']);
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(), // up to Java 8 the major version stood second
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_ages_are_read() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment"), Some(17));
        assert_eq!(major("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(major("java version \"1.8.0_442\""), Some(8));
        assert_eq!(major("openjdk version \"25-ea\" 2025-09-16"), Some(25));
        assert_eq!(major("no java here"), None);
    }
}
