//! TLS, with certificates that may be replaced while we run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use prometheus::Gauge;
use runtime::Shutdown;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::SERVICE;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a look may take until it is said that they do not answer, again and again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Why TLS does not start, or why replaced files are not used. Shows no part of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as what it should be.
    #[error(
        "{path} cannot be read as {what}: {why}; set tls of [ingest] to PEM files of a certificate chain and its key"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        why: String,
    },
    /// The two files do not belong together, or rustls does not take them.
    #[error("the certificate {cert} and the key {key} cannot be used together: {why}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// rustls refuses our settings: a defect of this build.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The certificate in use and the files that it comes from.
pub(crate) struct Certificates {
    files: config::Tls,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// When the chain in use ends, in seconds since 1970.
    expires: Gauge,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What tells a replaced file from the one that was read.
type Stamp = [Option<(SystemTime, u64, u64)>; 2];

impl Certificates {
    /// Reads the files, and tells by a gauge when the chain ends.
    pub(crate) fn load(files: config::Tls, expires: Gauge) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (key, ends) = read(&files, &provider)?;
        expires.set(ends);
        Ok(Arc::new(Self { files, provider, current: RwLock::new(Arc::new(key)), expires }))
    }

    /// Speaks TLS with whatever certificate is current when a sender connects.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let mut settings = builder.with_no_client_auth().with_cert_resolver(Arc::<Self>::clone(self));
        settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(settings)))
    }

    /// Takes up replaced files until the stop is given. What cannot be used is said once, and the old certificate stays.
    pub(crate) async fn keep_current(self: Arc<Self>, shutdown: Shutdown) {
        let mut read = self.stamp();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.given() => return,
            }
            // Beside requests: a folder that does not answer must not take a thread from them.
            let this = Arc::clone(&self);
            let mut looking = tokio::task::spawn_blocking(move || this.look(read));
            read = loop {
                tokio::select! {
                    looked = &mut looking => match looked {
                        Ok(found) => break found,
                        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                        // The process ends.
                        Err(_cancelled) => return,
                    },
                    () = tokio::time::sleep(ANSWERS_WITHIN) => tracing::error!(
                        service = SERVICE,
                        cert = %self.files.cert.display(),
                        "the folder of the certificate does not answer; the certificate that is in use stays, replaced or not"
                    ),
                    () = shutdown.given() => return,
                }
            };
        }
    }

    /// Takes up files that were replaced since `read`. As what they are known now.
    fn look(&self, read: Stamp) -> Stamp {
        let found = self.stamp();
        if found != read {
            self.reload();
        }
        found
    }

    fn reload(&self) {
        let cert = self.files.cert.display();
        match read(&self.files, &self.provider) {
            Ok((fresh, ends)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                self.expires.set(ends);
                tracing::info!(service = SERVICE, %cert, "the certificate was replaced");
            }
            Err(error) => {
                tracing::error!(service = SERVICE, %cert, "the certificate was not replaced, the old one stays in use: {error}");
            }
        }
    }

    fn stamp(&self) -> Stamp {
        [&self.files.cert, &self.files.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len(), std::os::unix::fs::MetadataExt::ino(&found)))
        })
    }
}

/// The chain with its key, and when the first certificate of the chain to end does so, in seconds since 1970; not a
/// number where none says so in a way that can be read.
fn read(files: &config::Tls, provider: &CryptoProvider) -> Result<(CertifiedKey, f64), TlsError> {
    let failed = |path: &Path, what, why: &dyn fmt::Display| TlsError::File {
        path: path.to_path_buf(),
        what,
        why: why.to_string(),
    };
    const CHAIN: &str = "a certificate chain";
    let chain = CertificateDer::pem_file_iter(&files.cert).map_err(|why| failed(&files.cert, CHAIN, &why))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|why| failed(&files.cert, CHAIN, &why))?;
    if chain.is_empty() {
        return Err(failed(&files.cert, CHAIN, &"it holds no certificate"));
    }
    let ends = chain.iter().filter_map(|one| ends(one, &files.cert)).fold(f64::NAN, f64::min);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|why| failed(&files.key, "a private key", &why))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|why| TlsError::Pair {
        cert: files.cert.clone(),
        key: files.key.clone(),
        why: why.to_string(),
    })?;
    Ok((key, ends))
}

/// When a certificate ends, in seconds since 1970. rustls does not say; what it takes and this cannot read serves all
/// the same.
fn ends(certificate: &[u8], file: &Path) -> Option<f64> {
    match Certificate::from_der(certificate) {
        Ok(read) => Some(read.tbs_certificate().validity().not_after.to_unix_duration().as_secs_f64()),
        Err(why) => {
            let cert = file.display();
            tracing::warn!(service = SERVICE, %cert, "it cannot be read when a certificate ends, no alert will say so: {why}");
            None
        }
    }
}
