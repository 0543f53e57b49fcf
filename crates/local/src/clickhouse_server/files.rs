//! What a server is started with: its configuration and its accounts, written at every start into the data folder, for
//! the owner's eyes only.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::clickhouse::{Access, Account};

/// What a reader may do: read what is in the databases. Not the table functions that reach outside (which have grants
/// beside these), not the names of users, not the queries of others.
const READER: &str = "GRANT SELECT, SHOW DATABASES, SHOW TABLES, SHOW COLUMNS, SHOW DICTIONARIES, dictGet ON *.*";

/// The files of a server over one folder.
pub(crate) struct Files<'a> {
    /// The folder of the tables and all that goes with them; absolute.
    pub(crate) folder: &'a Path,
    /// Where the HTTP interface listens.
    pub(crate) address: SocketAddr,
    /// Bytes of memory that the server may use.
    pub(crate) memory_limit: u64,
}

impl Files<'_> {
    /// Where the server keeps its databases.
    pub(crate) fn tables(&self) -> PathBuf {
        self.folder.join("server")
    }

    /// Writes both files and answers where the configuration is.
    ///
    /// # Errors
    /// The folder cannot be written, or a name cannot stand in a server's file.
    pub(crate) fn write(&self, accounts: &[Account]) -> anyhow::Result<PathBuf> {
        let tables = self.tables();
        std::fs::create_dir_all(&tables).with_context(|| format!("cannot create {}", tables.display()))?;
        // The server keeps copies of both files in it.
        std::fs::set_permissions(&tables, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot keep {} from others", tables.display()))?;
        let (config, users) = (self.folder.join("server.xml"), self.users());
        write_private(&users, &users_file(accounts)?)?;
        write_private(&config, &self.config()?)?;
        Ok(config)
    }

    fn users(&self) -> PathBuf {
        self.folder.join("server-users.xml")
    }

    /// The configuration: one machine that also runs everything else, HTTP on one address and nothing else that
    /// listens, what it says on standard error (the supervisor keeps it, bounded), no logs in tables.
    fn config(&self) -> anyhow::Result<String> {
        let text = |path: &Path| {
            let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            anyhow::Ok(escape(text))
        };
        let (tables, users) = (text(&self.tables())?, text(&self.users())?);
        let backups = text(&self.folder.with_file_name("backups"))?;
        let (host, port) = (self.address.ip(), self.address.port());
        let machine = chdb_http::shared_machine(self.memory_limit);
        Ok(format!(
            "<clickhouse>
    <!-- Written by `hookline up` at every start; changes here are lost. -->
    <logger><level>warning</level><console>true</console></logger>
    <timezone>UTC</timezone>

    <!-- Nothing else listens: a protocol without a port is off. -->
    <listen_host>{host}</listen_host>
    <http_port>{port}</http_port>

    <path>{tables}/</path>
    <tmp_path>{tables}/tmp/</tmp_path>
    <user_files_path>{tables}/user_files/</user_files_path>
    <format_schema_path>{tables}/format_schemas/</format_schema_path>
    <!-- Where BACKUP … TO File('NAME') may write: beside this folder, so that it outlives it. -->
    <backups><allowed_path>{backups}</allowed_path></backups>
    <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <shutdown_wait_unfinished>5</shutdown_wait_unfinished>
    <send_crash_reports><enabled>false</enabled></send_crash_reports>

{machine}    <uncompressed_cache_size>0</uncompressed_cache_size>
    <!-- Tables of logs (query_log and others) exist where they are configured: here are none. -->
</clickhouse>
"
        ))
    }
}

/// The accounts, as a server reads them. Passwords are there as SHA-256 alone.
fn users_file(accounts: &[Account]) -> anyhow::Result<String> {
    let mut users = String::new();
    for Account { name, password, access } in accounts {
        if !is_element(name) {
            bail!(
                "the user name {name:?} cannot stand in the files of a ClickHouse server: use letters, digits, hyphens and \
                 underscores, and begin with a letter"
            );
        }
        let password = if password.is_empty() {
            "<password></password>".to_owned()
        } else {
            let digest = const_hex::encode(Sha256::digest(password.as_bytes()));
            format!("<password_sha256_hex>{digest}</password_sha256_hex>")
        };
        let (profile, grants) = match access {
            Access::Full => ("default", String::new()),
            Access::ReadOnly => ("reader", format!("\n            <grants><query>{READER}</query></grants>")),
        };
        // Writing to a String does not fail.
        let _ = write!(
            users,
            "
        <{name}>
            {password}
            <networks><ip>127.0.0.1</ip></networks>
            <profile>{profile}</profile>
            <quota>default</quota>{grants}
        </{name}>"
        );
    }
    Ok(format!(
        "<clickhouse>
    <!-- Written by `hookline up` at every start; changes here are lost. -->
    <profiles>
        <default></default>
        <!-- Reading, and settings that change nothing but the query at hand. -->
        <reader><readonly>2</readonly></reader>
    </profiles>
    <quotas><default></default></quotas>
    <users>{users}
    </users>
</clickhouse>
"
    ))
}

/// Whether a name can be that of an element, which a user of a file is.
fn is_element(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(inner)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Writes a file that no other user of the machine can read, also where one was there before.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        let new = path.with_extension("xml.new");
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Files<'_> {
        Files { folder, address: ([127, 0, 0, 1], 8123).into(), memory_limit: 2 << 30 }
    }

    fn accounts() -> Vec<Account> {
        let account =
            |name: &str, password: &str, access| Account { name: name.into(), password: password.into(), access };
        vec![
            account("hookline", "s3cret<&", Access::Full),
            account("default", "", Access::ReadOnly),
            account("analyst", "look", Access::ReadOnly),
        ]
    }

    #[test]
    fn the_files_read_as_they_did() {
        insta::assert_snapshot!("server.xml", files(Path::new("/data/<a>&b/clickhouse")).config().unwrap());
        insta::assert_snapshot!("server-users.xml", users_file(&accounts()).unwrap());
    }

    #[test]
    fn passwords_are_never_there_in_clear_and_the_files_are_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (config, users) = (folder.path().join("server.xml"), folder.path().join("server-users.xml"));
        // What another program left there with open rights is replaced.
        std::fs::write(&users, "old").unwrap();
        std::fs::set_permissions(&users, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(files(folder.path()).write(&accounts()).unwrap(), config);
        for file in [&config, &users] {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(!text.contains("s3cret") && !text.contains("look"), "{text}");
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
        let text = std::fs::read_to_string(&users).unwrap();
        assert!(text.contains(&const_hex::encode(Sha256::digest(b"s3cret<&"))), "{text}");
        assert_eq!(std::fs::metadata(folder.path().join("server")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_name_that_could_break_out_of_its_element_is_refused() {
        for name in ["", "a b", "1a", "a>b", "x/><hookline", "a.b", "größe"] {
            let account = Account { name: name.into(), password: String::new(), access: Access::Full };
            let error = users_file(&[account]).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }
}
