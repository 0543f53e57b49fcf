//! Kafka's jars, by Maven, from the pinned `pom.xml`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::cache::{Cache, sha256};
use crate::progress::Progress;

/// The version that the files below pin; part of the cache's folder name.
const VERSION: &str = "4.3.1";
const POM: &str = include_str!("../../../../deploy/local/kafka/pom.xml");
const JARS: &str = include_str!("../../../../deploy/local/kafka/jars.sha256");
/// The jars are 44 MB; Maven's own repository keeps a second copy.
const NEEDS: u64 = 150_000_000;

/// Another broker can be named instead; said wherever the local one cannot be had.
pub(crate) const ELSEWHERE: &str = "name a running broker with --brokers HOST:PORT";

pub(super) async fn kafka_libs(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    let name = format!("kafka-{VERSION}");
    let pinned = read_manifest(JARS)?;
    let libs = cache.path(&name).join("libs");
    if check(&libs, &pinned).await.is_ok() {
        return Ok(libs);
    }
    let _lock = cache.lock(&name, progress).await?;
    if libs.exists() {
        match check(&libs, &pinned).await {
            Ok(()) => return Ok(libs), // another process fetched it while this one waited
            Err(error) => progress.say(&format!("{error:#}; fetching again")),
        }
    }
    cache.require_space(NEEDS, "Kafka")?;
    progress.say(&format!("fetching Kafka {VERSION} with Maven (44 MB, once)"));
    let workshop = cache.workshop(&name)?;
    run_maven(&workshop).await?;
    let fetched = workshop.join("target/dependency");
    check(&fetched, &pinned).await.context("Maven's answer is refused")?;
    std::fs::rename(&fetched, workshop.join("libs")).context("cannot move the fetched jars")?;
    std::fs::remove_dir_all(workshop.join("target")).context("cannot clear what Maven left")?;
    Ok(cache.publish(&workshop, &name)?.join("libs"))
}

async fn run_maven(workshop: &Path) -> anyhow::Result<()> {
    std::fs::write(workshop.join("pom.xml"), POM).context("cannot write pom.xml into the cache folder")?;
    let output = Command::new("mvn")
        .args(["-B", "-q", "-Dstyle.color=never", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .current_dir(workshop)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "Maven (mvn) is not installed, and it fetches the local Kafka: install it (Debian: apt install maven), or {ELSEWHERE}"
        ),
        Err(error) => return Err(error).context("cannot run Maven (mvn)"),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        bail!(
            "Maven could not fetch Kafka ({}): {}; check the network and Maven's settings, or {ELSEWHERE}",
            output.status,
            maven_reason(&said)
        );
    }
    Ok(())
}

/// Maven's first complaint, without the pointer to its help that ends it.
fn maven_reason(said: &str) -> &str {
    // Maven sends escapes of its colours before the mark of a line even when it is told to have none.
    let mut complaints = said.lines().filter_map(|line| line.split_once("[ERROR] ")).map(|(_, text)| text.trim());
    let first = complaints.find(|text| !text.is_empty()).unwrap_or("it said nothing");
    first.split_once(" -> [Help").map_or(first, |(reason, _)| reason)
}

/// Reads `sha256sum`'s format: a sum, two spaces, a file name.
fn read_manifest(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    text.lines()
        .map(|line| {
            let (sum, jar) = line.split_once("  ").with_context(|| format!("jars.sha256: cannot read {line:?}"))?;
            Ok((jar.to_owned(), sum.to_owned()))
        })
        .collect()
}

/// Whether `libs` holds the pinned jars, all of them and nothing else.
async fn check(libs: &Path, pinned: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let (libs, pinned) = (libs.to_owned(), pinned.clone());
    tokio::task::spawn_blocking(move || check_now(&libs, &pinned)).await.context("the check of the jars was cut off")?
}

fn check_now(libs: &Path, pinned: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (jar, sum) in pinned {
        let path = libs.join(jar);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let found = sha256(file).with_context(|| format!("cannot read {}", path.display()))?;
        if found != *sum {
            bail!("{} has the SHA-256 {found}, pinned is {sum}", path.display());
        }
    }
    for entry in std::fs::read_dir(libs).with_context(|| format!("cannot read {}", libs.display()))? {
        let name = entry.context("cannot read the folder of jars")?.file_name();
        if !name.to_str().is_some_and(|name| pinned.contains_key(name)) {
            bail!("{} is not a pinned jar", libs.join(name).display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(jar, text)| ((*jar).to_owned(), sha256(text.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn the_manifest_pins_the_version_that_the_pom_asks_for() {
        let pinned = read_manifest(JARS).unwrap();
        assert!(pinned.contains_key(&format!("kafka_2.13-{VERSION}.jar")));
        assert!(pinned.contains_key("slf4j-simple-1.7.36.jar"));
        assert!(pinned.values().all(|sum| sum.len() == 64));
        assert!(POM.contains(&format!("<version>{VERSION}</version>")));
        assert!(read_manifest("no sum here").is_err());
    }

    #[test]
    fn mavens_complaint_becomes_one_line() {
        let said =
            "[ERROR] \n[ERROR] No plugin found for prefix 'dependency' -> [Help 1]\n[ERROR] \n[ERROR] Re-run Maven\n";
        assert_eq!(maven_reason(said), "No plugin found for prefix 'dependency'");
        assert_eq!(maven_reason(""), "it said nothing");
    }

    #[test]
    fn a_corrupted_a_missing_and_a_foreign_jar_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let pinned = pinned(&[("a.jar", "one"), ("b.jar", "two")]);
        std::fs::write(folder.path().join("a.jar"), "one").unwrap();
        let missing = format!("{:#}", check_now(folder.path(), &pinned).unwrap_err());
        assert!(missing.contains("b.jar"), "{missing}");

        std::fs::write(folder.path().join("b.jar"), "two").unwrap();
        check_now(folder.path(), &pinned).unwrap();

        std::fs::write(folder.path().join("c.jar"), "three").unwrap();
        let foreign = check_now(folder.path(), &pinned).unwrap_err().to_string();
        assert!(foreign.contains("c.jar is not a pinned jar"), "{foreign}");
        std::fs::remove_file(folder.path().join("c.jar")).unwrap();

        std::fs::write(folder.path().join("a.jar"), "0ne").unwrap();
        let corrupt = check_now(folder.path(), &pinned).unwrap_err().to_string();
        assert!(corrupt.contains("a.jar has the SHA-256") && corrupt.contains("pinned is"), "{corrupt}");
    }
}
