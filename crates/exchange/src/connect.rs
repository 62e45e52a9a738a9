//! The connection to a destination: made when it is needed, and anew when the key on disk changed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use misp::{Client, MispError, Options};
use secrecy::SecretString;
use tracing::warn;

use crate::LOG;
use crate::destination::{Destination, Transport};
use crate::keys::{self, KeyError, Stamp};

/// The largest file of certificates that is read; a system's whole bundle is about 200 kB.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The key.
    #[error("{error}: {}", cause(.error))]
    Key {
        /// What is wrong with it.
        error: KeyError,
    },
    /// A file of certificates.
    #[error("the certificates in `{}` cannot be read ({source}); look at the file", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address, or what the key or the certificates hold.
    #[error(transparent)]
    Misp(#[from] MispError),
}

/// A client of a destination, with the key that lies on disk now.
///
/// # Errors
///
/// When its key or its certificates cannot be read or used.
pub fn client(destination: &Destination) -> Result<Client, ConnectError> {
    let Destination { url, key_file, transport, .. } = destination;
    connect(url, key_file, transport).map(|(client, _)| client)
}

/// A client, and the state of the key's file that it was made with.
#[derive(Default)]
pub(crate) struct Connection {
    made: Option<(Client, Stamp)>,
}

impl Connection {
    /// The client of a destination, with the key that lies on disk now.
    pub(crate) fn client(&mut self, destination: &Destination) -> Result<&Client, ConnectError> {
        self.to(&destination.url, &destination.key_file, &destination.transport)
    }

    /// The client of the server at `url`, always the same one, with the key that lies on disk now.
    pub(crate) fn to(
        &mut self,
        url: &str,
        key_file: &Path,
        transport: &Transport,
    ) -> Result<&Client, ConnectError> {
        let stamp = keys::stamp(key_file).map_err(|error| ConnectError::Key { error })?;
        let made = match self.made.take() {
            Some((client, of)) if of == stamp => (client, of),
            _ => connect(url, key_file, transport)?,
        };
        Ok(&self.made.insert(made).0)
    }
}

fn connect(
    url: &str,
    key_file: &Path,
    transport: &Transport,
) -> Result<(Client, Stamp), ConnectError> {
    let key = keys::read(key_file).map_err(|error| ConnectError::Key { error })?;
    if key.stamp.is_open {
        let path = key_file.display();
        warn!(target: LOG, "every user can read the key in `{path}`; close it with `chmod o= {path}`");
    }
    let options = Options {
        ca_pem: transport.ca_file.as_deref().map(pem).transpose()?.map(String::into_bytes),
        client_pem: transport.client_file.as_deref().map(pem).transpose()?.map(SecretString::from),
        proxy: transport.proxy.clone(),
        verify: transport.verify,
        timeout: transport.timeout,
        relay: transport.relay,
    };
    Ok((Client::new(url, &key.secret, &options)?, key.stamp))
}

fn pem(path: &Path) -> Result<String, ConnectError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_PEM_BYTES).read_to_string(&mut text));
    read.map_err(|source| ConnectError::Pem { path: path.to_owned(), source })?;
    Ok(text)
}

fn cause(error: &KeyError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
