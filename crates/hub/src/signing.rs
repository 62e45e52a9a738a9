//! The key that signs the change stream: `signing.key` of the data folder, 0600.
//!
//! It is rotated in two steps, because the chain is one process's to write: whoever rotates it
//! leaves the next key in `signing.next`; the hub that runs, or is started next, introduces it in
//! the chain and then puts it in the place of the old one.

use std::path::{Path, PathBuf};
use std::{fs, io};

use lists::{PublicKey, Signer};
use ring::rand::{SecureRandom, SystemRandom};

use crate::keys::write_private;

const KEY: &str = "signing.key";
const NEXT: &str = "signing.next";

/// Bytes of a private key.
const SEED: usize = 32;

/// Why the signing key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file could not be read or written.
    #[error("signing key: {doing} `{}`: check who owns it", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error(
        "signing key: `{}` is damaged: restore it; without it every host must pin a new key",
        .0.display()
    )]
    Damaged(PathBuf),
    /// Another rotation was not finished.
    #[error("signing key: a rotation is under way: start the hub, which finishes it")]
    Underway,
    /// The system gave no random bytes.
    #[error("signing key: the system gave no random bytes")]
    Random,
}

/// The signing key in `data`, made where there is none.
pub(crate) fn open(data: &Path) -> Result<Signer, SigningError> {
    let path = data.join(KEY);
    match read(&path)? {
        Some(signer) => Ok(signer),
        None => make(&path),
    }
}

/// The key that shall sign from now on, if one waits.
pub(crate) fn next(data: &Path) -> Result<Option<Signer>, SigningError> {
    read(&data.join(NEXT))
}

/// Puts the next key in the place of the old one.
pub(crate) fn promote(data: &Path) -> Result<(), SigningError> {
    let path = data.join(NEXT);
    fs::rename(&path, data.join(KEY)).map_err(|source| fault("rename", path, source))
}

/// Makes the next key, which the hub introduces as soon as it runs; tells what it is known by.
pub(crate) fn rotate(data: &Path) -> Result<PublicKey, SigningError> {
    let path = data.join(NEXT);
    match path.exists() {
        true => Err(SigningError::Underway),
        false => make(&path).map(|it| it.public_key()),
    }
}

fn read(path: &Path) -> Result<Option<Signer>, SigningError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fault("read", path.to_owned(), source)),
    };
    let seed = <[u8; SEED]>::try_from(bytes);
    seed.map(|seed| Some(Signer::from_seed(&seed)))
        .map_err(|_| SigningError::Damaged(path.to_owned()))
}

fn make(path: &Path) -> Result<Signer, SigningError> {
    let mut seed = [0; SEED];
    SystemRandom::new().fill(&mut seed).map_err(|_| SigningError::Random)?;
    write_private(path, &seed).map_err(|source| fault("write", path.to_owned(), source))?;
    Ok(Signer::from_seed(&seed))
}

fn fault(doing: &'static str, path: PathBuf, source: io::Error) -> SigningError {
    SigningError::File { doing, path, source }
}
