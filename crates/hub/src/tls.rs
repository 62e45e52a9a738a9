//! TLS: the certificate and its key, from files that are read anew when others take their place.
//!
//! Certificates live for weeks. The files are looked at with each connection, and read when they
//! changed; ones that cannot be used leave the earlier pair in use, and that is logged once.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of a certificate, in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not to be read, or not PEM.
    #[error("tls: read `{}`: give a PEM file that the hub may read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: pem::Error,
    },
    /// The pair is of no use to a server.
    #[error("tls: `{}` and `{}` do not go together: give a certificate and its own key",
        files.certificate.display(), files.key.display())]
    Pair {
        /// The files.
        files: TlsFiles,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// What connections are greeted with.
#[derive(Debug)]
pub(crate) struct Greeting {
    files: TlsFiles,
    read: Mutex<Read>,
}

/// The files as they were read last.
#[derive(Debug)]
struct Read {
    seen: Option<Seen>,
    config: Arc<ServerConfig>,
}

/// When the two files changed, and their inodes: another pair differs in one of these.
type Seen = [(i64, i64, u64); 2];

impl Greeting {
    /// Reads the files.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let read = Read { seen: seen(&files).ok(), config: config(&files)? };
        Ok(Self { files, read: Mutex::new(read) })
    }

    /// What the next connection is greeted with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen(&self.files).ok();
        if seen.is_some() && seen != read.seen {
            read.seen = seen;
            match config(&self.files) {
                Ok(config) => read.config = config,
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the certificate changed and cannot be used; the earlier one stays"
                ),
            }
        }
        Arc::clone(&read.config)
    }
}

fn seen(files: &TlsFiles) -> io::Result<Seen> {
    let look = |path: &Path| {
        let it = fs::metadata(path)?;
        Ok::<_, io::Error>((it.mtime(), it.mtime_nsec(), it.ino()))
    };
    Ok([look(&files.certificate)?, look(&files.key)?])
}

fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(file(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(file(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|it| it.with_no_client_auth())
        .and_then(|it| it.with_single_cert(chain, key))
        .map_err(|source| TlsError::Pair { files: files.clone(), source })?;
    Ok(Arc::new(config))
}
