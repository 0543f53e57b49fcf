//! The ClickHouse engine's library, from the npm package that carries it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha512};
use tokio::process::Command;

use super::cache::{Cache, is_verified, sha256};
use super::download;
use crate::progress::Progress;

const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
const VERSION: &str = "26.7.3-stable.1";
const LIBRARY: &str = "libchdb.so";
/// Of [`LIBRARY`] itself: whatever a registry answers, no other byte is ever loaded.
const LIBRARY_SHA256: &str = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5";
/// The package is 178 MB and the library 566 MB, side by side while it is unpacked, and the engine's first tables need room.
const NEEDS: u64 = 1_500_000_000;
/// What npm may take to look one package up, retries and proxies included.
const NPM_ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// Another server can be named instead; said wherever the local engine cannot be had.
const ELSEWHERE: &str = "name a running ClickHouse with --clickhouse-url URL";

pub(super) async fn clickhouse_library(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        bail!("the local ClickHouse engine is proven on Linux x86-64 with glibc only: {ELSEWHERE}");
    }
    let name = format!("clickhouse-{VERSION}");
    let library = cache.path(&name).join(LIBRARY);
    if verified(&library).await? {
        return Ok(library);
    }
    let _lock = cache.lock(&name, progress).await?;
    if verified(&library).await? {
        return Ok(library); // another process fetched it while this one waited
    }
    if library.exists() {
        progress.say(&format!("{} is not the pinned library; fetching again", library.display()));
    }
    cache.require_space(NEEDS, "the ClickHouse engine")?;
    progress.say(&format!("fetching the ClickHouse engine {VERSION} (178 MB, once)"));
    let dist = ask_npm().await?;
    let part = cache.path(&format!("{name}.tgz.part"));
    download_checked(&dist, &part, progress).await?;
    let workshop = cache.workshop(&name)?;
    let (from, to) = (part.clone(), workshop.join(LIBRARY));
    tokio::task::spawn_blocking(move || unpack(&from, &to)).await.context("the unpacking was cut off")??;
    cache.publish(&workshop, &name)?;
    tokio::fs::remove_file(&part).await.with_context(|| format!("cannot remove {}", part.display()))?;
    Ok(library)
}

async fn verified(library: &Path) -> anyhow::Result<bool> {
    let library = library.to_owned();
    tokio::task::spawn_blocking(move || is_verified(&library, LIBRARY_SHA256))
        .await
        .context("the check of the library was cut off")?
}

/// Where npm says that a package lies, and what it must be.
#[derive(Debug, Deserialize)]
struct Dist {
    tarball: String,
    integrity: String,
}

async fn ask_npm() -> anyhow::Result<Dist> {
    let run = Command::new("npm")
        .args(["view", &format!("{PACKAGE}@{VERSION}"), "dist", "--json", "--fetch-retries=1"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(NPM_ANSWERS_WITHIN, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "npm is not installed, and it fetches the local ClickHouse engine: install it (Debian: apt install npm), or {ELSEWHERE}"
        ),
        Ok(Err(error)) => return Err(error).context("cannot run npm"),
        Err(_) => bail!(
            "npm did not answer within {} s: check the network and npm's settings, or {ELSEWHERE}",
            NPM_ANSWERS_WITHIN.as_secs()
        ),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("npm could not look the ClickHouse engine up: {}; check the network, or {ELSEWHERE}", npm_reason(&said));
    }
    serde_json::from_slice(&output.stdout).context("cannot read npm's answer about the ClickHouse engine")
}

/// The line of npm's complaint that says most: the one after the code, without the prefix that all of them have.
fn npm_reason(said: &str) -> String {
    let mut errors = said.lines().filter_map(|line| line.strip_prefix("npm error ").or(line.strip_prefix("npm ERR! ")));
    let code = errors.clone().find(|line| line.starts_with("code "));
    let text =
        errors.find(|line| !line.starts_with("code ") && !line.starts_with("errno ") && !line.starts_with("syscall "));
    match (code, text) {
        (Some(code), Some(text)) => format!("{text} ({code})"),
        (_, Some(text)) => text.to_owned(),
        (Some(code), None) => code.to_owned(),
        (None, None) => "it said nothing".to_owned(),
    }
}

/// Downloads until the file has npm's checksum. A resumed file that has not is thrown away once: the part that lay there
/// may have been of another origin.
async fn download_checked(dist: &Dist, part: &Path, progress: Progress) -> anyhow::Result<()> {
    let client = download::client()?;
    let mut resumed = part.exists();
    loop {
        download::to_file(&client, &dist.tarball, part, "ClickHouse engine", progress)
            .await
            .with_context(|| format!("cannot fetch the ClickHouse engine; check the network, or {ELSEWHERE}"))?;
        let (file, integrity) = (part.to_owned(), dist.integrity.clone());
        let right = tokio::task::spawn_blocking(move || has_integrity(&file, &integrity))
            .await
            .context("the check of the package was cut off")??;
        if right {
            return Ok(());
        }
        tokio::fs::remove_file(part).await.with_context(|| format!("cannot remove {}", part.display()))?;
        if !resumed {
            bail!("the package of the ClickHouse engine does not have the checksum that npm names: {}", dist.integrity);
        }
        resumed = false;
        progress.say("the resumed download of the ClickHouse engine is damaged; fetching it from the start");
    }
}

/// Whether `file` has the `sha512-<base64>` checksum of npm's `integrity` field.
fn has_integrity(file: &Path, integrity: &str) -> anyhow::Result<bool> {
    let encoded = integrity
        .split_whitespace()
        .find_map(|sum| sum.strip_prefix("sha512-"))
        .with_context(|| format!("npm names no sha512 checksum: {integrity:?}"))?;
    let expected = STANDARD.decode(encoded).with_context(|| format!("cannot read npm's checksum {integrity:?}"))?;
    let mut file = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut hash = Sha512::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).context("cannot read the package")?;
        if n == 0 {
            return Ok(hash.finalize().as_slice() == expected);
        }
        hash.update(&buffer[..n]);
    }
}

/// Unpacks the library, and only it, from the package to `to`, and checks it against its pin.
fn unpack(package: &Path, to: &Path) -> anyhow::Result<()> {
    let opened = File::open(package).with_context(|| format!("cannot open {}", package.display()))?;
    let mut archive = tar::Archive::new(GzDecoder::new(opened));
    for entry in archive.entries().context("cannot read the package")? {
        let mut entry = entry.context("cannot read the package")?;
        if entry.path().context("cannot read the package")?.file_name() != Some(LIBRARY.as_ref()) {
            continue;
        }
        let mut file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
        std::io::copy(&mut entry, &mut file).with_context(|| format!("cannot unpack {}", to.display()))?;
        file.sync_all().with_context(|| format!("cannot write {}", to.display()))?;
        let found = sha256(File::open(to)?).with_context(|| format!("cannot read {}", to.display()))?;
        if found != LIBRARY_SHA256 {
            bail!("{LIBRARY} of the package has the SHA-256 {found}, pinned is {LIBRARY_SHA256}: it is refused");
        }
        return Ok(());
    }
    bail!("the package holds no {LIBRARY}")
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn npms_answer_is_read() {
        let dist: Dist = serde_json::from_str(
            r#"{"shasum": "d2", "tarball": "https://mirror.example/lib.tgz", "integrity": "sha512-AA==", "fileCount": 4}"#,
        )
        .unwrap();
        assert_eq!((dist.tarball.as_str(), dist.integrity.as_str()), ("https://mirror.example/lib.tgz", "sha512-AA=="));
    }

    #[test]
    fn npms_complaint_becomes_one_line() {
        let said = "npm warn old config\nnpm error code ENOTFOUND\nnpm error syscall getaddrinfo\nnpm error errno ENOTFOUND\n\
                    npm error network request failed, reason: getaddrinfo ENOTFOUND\nnpm error network more\n";
        assert_eq!(npm_reason(said), "network request failed, reason: getaddrinfo ENOTFOUND (code ENOTFOUND)");
        assert_eq!(npm_reason(""), "it said nothing");
    }

    #[test]
    fn the_integrity_field_is_the_sha512_of_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("package.tgz");
        std::fs::write(&file, "abc").unwrap();
        // The SHA-512 of "abc": FIPS 180-2, appendix C.
        let sum = const_hex::decode(
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        )
        .unwrap();
        let integrity = format!("sha1-AAAA sha512-{}", STANDARD.encode(sum));
        assert!(has_integrity(&file, &integrity).unwrap());
        std::fs::write(&file, "abd").unwrap();
        assert!(!has_integrity(&file, &integrity).unwrap());
        assert!(has_integrity(&file, "sha1-AAAA").is_err());
    }

    #[test]
    fn a_library_that_is_not_the_pinned_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("package.tgz");
        let mut archive = tar::Builder::new(GzEncoder::new(File::create(&package).unwrap(), Compression::fast()));
        let content = b"not the engine";
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, "package/libchdb.so", content.as_slice()).unwrap();
        archive.into_inner().unwrap().finish().unwrap();

        let error = unpack(&package, &folder.path().join(LIBRARY)).unwrap_err().to_string();
        assert!(error.contains("it is refused") && error.contains(LIBRARY_SHA256), "{error}");
    }
}
