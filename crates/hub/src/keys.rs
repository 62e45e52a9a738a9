//! Who may do what: the API keys, kept hashed in `keys.json` of the data folder.
//!
//! A key is 40 random letters and digits, 238 bits. What is kept is its SHA-256: a slow hash
//! protects what people choose, and nobody can guess at this; it would cost each request the 64 ms
//! that a MISP pays. The file is replaced as a whole under a lock, so that `hub keys` may change it
//! while a hub is running; the hub looks at the file with every request and reads it again when
//! another has taken its place, so a revoked key is refused at once.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// What the holder of a key may do; each role may do all that those before it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Reader,
    /// Add events, and change, sight and publish what it added itself.
    Sensor,
    /// Change whatever there is.
    Curator,
    /// Manage keys, too.
    Administrator,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Sensor, Self::Curator, Self::Administrator];

    /// The role's name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Sensor => "sensor",
            Self::Curator => "curator",
            Self::Administrator => "administrator",
        }
    }

    /// Whether the role may change anything.
    pub fn may_write(self) -> bool {
        self > Self::Reader
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// A name that is no role's.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no role is named `{0}`: choose reader, sensor, curator or administrator")]
pub struct UnknownRole(String);

/// An API key. It prints as dots; [`Key::reveal`] gives the text.
#[derive(Clone, Eq, PartialEq)]
pub struct Key(String);

impl Key {
    /// As long as MISP's keys: clients check the length.
    pub const LEN: usize = 40;

    pub(crate) fn random() -> Result<Self, KeysError> {
        const LETTERS: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        /// Bytes from here on would make the first letters likelier than the last.
        const FAIR: u8 = (u8::MAX / 62) * 62;
        let mut key = String::with_capacity(Self::LEN);
        let mut bytes = [0; 64];
        while key.len() < Self::LEN {
            SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::Random)?;
            let fair = bytes.iter().filter(|it| **it < FAIR);
            key.extend(fair.map(|it| char::from(LETTERS[usize::from(*it) % LETTERS.len()])));
        }
        key.truncate(Self::LEN);
        Ok(Self(key))
    }

    /// The key itself: for its owner alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        digest.as_ref().iter().map(|it| format!("{it:02x}")).collect()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(…)")
    }
}

/// What is kept of a key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The key's number; it is also its holder's user number.
    pub id: u32,
    /// Who holds it.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// When it was made, in epoch seconds.
    pub created: i64,
    /// When it was revoked, in epoch seconds; a revoked key stays on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<i64>,
    /// The key's SHA-256 in hexadecimal digits.
    hash: String,
}

impl KeyRecord {
    /// The holder as MISP names users: by an address of mail.
    pub fn email(&self) -> String {
        format!("{}@hub.invalid", self.name)
    }
}

/// Why the keys could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file could not be read or written.
    #[error("keys: {doing} `{}`: check who owns it", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("keys: `{}` is damaged: restore it, or move it away and start the hub anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// The name is empty, too long, or holds more than letters, digits, dots and dashes.
    #[error(
        "keys: `{0}` cannot be a name: use 1 to 64 letters, digits, dots, dashes or underscores"
    )]
    Name(String),
    /// There is no such key.
    #[error("keys: there is no live key {0}: `hub keys list` names them")]
    Unknown(u32),
    /// The system gave no random bytes.
    #[error("keys: the system gave no random bytes")]
    Random,
}

/// The keys of one data folder.
#[derive(Clone, Debug)]
pub struct Keys {
    path: PathBuf,
    seen: Arc<RwLock<Option<Seen>>>,
}

/// The file as it was read last.
#[derive(Debug)]
struct Seen {
    file: FileId,
    live: HashMap<String, KeyRecord>,
}

/// Which file it is: a replaced one differs in at least one of these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FileId {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl Keys {
    /// The keys of the data folder `data`, whether a hub is running there or not.
    pub fn open(data: &Path) -> Self {
        Self { path: data.join("keys.json"), seen: Arc::default() }
    }

    /// Makes a key for `name`. The key itself is shown here and never again.
    ///
    /// # Errors
    ///
    /// When the name cannot be one, or the file cannot be written.
    pub fn add(&self, name: &str, role: Role) -> Result<(KeyRecord, Key), KeysError> {
        let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(KeysError::Name(name.to_owned()));
        }
        let key = Key::random()?;
        self.change(|records| {
            let id = records.iter().map(|it| it.id).max().unwrap_or(0) + 1;
            let created = Timestamp::now().as_second();
            let hash = key.hash();
            let record =
                KeyRecord { id, name: name.to_owned(), role, created, revoked: None, hash };
            records.push(record.clone());
            Ok((record, key))
        })
    }

    /// All keys ever made, the revoked ones too.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<KeyRecord>, KeysError> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| KeysError::Damaged { path: self.path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(self.fault("read", source)),
        }
    }

    /// Revokes the key numbered `id`; whoever holds it is refused from now on.
    ///
    /// # Errors
    ///
    /// When there is no such live key, or the file cannot be written.
    pub fn revoke(&self, id: u32) -> Result<KeyRecord, KeysError> {
        self.change(|records| {
            let live = records.iter_mut().find(|it| it.id == id && it.revoked.is_none());
            let record = live.ok_or(KeysError::Unknown(id))?;
            record.revoked = Some(Timestamp::now().as_second());
            Ok(record.clone())
        })
    }

    /// Whose key `text` is; `None` when it is nobody's.
    ///
    /// # Errors
    ///
    /// When the file cannot be read: then nobody gets in.
    pub fn holder(&self, text: &str) -> Result<Option<KeyRecord>, KeysError> {
        let hash = Key::from(text).hash();
        self.live(|live| live.get(&hash).cloned())
    }

    /// The live key numbered `id`: for who has shown it before.
    ///
    /// # Errors
    ///
    /// When the file cannot be read: then nobody gets in.
    pub fn numbered(&self, id: u32) -> Result<Option<KeyRecord>, KeysError> {
        self.live(|live| live.values().find(|it| it.id == id).cloned())
    }

    /// Looks at the live keys by their hashes, as the file has them now.
    fn live<T>(&self, look: impl Fn(&HashMap<String, KeyRecord>) -> T) -> Result<T, KeysError> {
        let file = self.file_id()?;
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_ref().filter(|it| it.file == file) {
            return Ok(look(&seen.live));
        }
        drop(seen);
        let live = self.list()?.into_iter().filter(|it| it.revoked.is_none());
        let live: HashMap<_, _> = live.map(|it| (it.hash.clone(), it)).collect();
        let looked = look(&live);
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(Seen { file, live });
        Ok(looked)
    }

    /// Reads, changes and replaces the file while no other process does.
    fn change<T>(
        &self,
        how: impl FnOnce(&mut Vec<KeyRecord>) -> Result<T, KeysError>,
    ) -> Result<T, KeysError> {
        let lock = File::create(self.path.with_extension("lock"))
            .and_then(|it| it.lock().map(|()| it))
            .map_err(|source| self.fault("lock", source))?;
        let mut records = self.list()?;
        let outcome = how(&mut records)?;
        let text = serde_json::to_vec_pretty(&records)
            .map_err(|source| KeysError::Damaged { path: self.path.clone(), source })?;
        write_private(&self.path, &text).map_err(|source| self.fault("write", source))?;
        drop(lock);
        Ok(outcome)
    }

    fn file_id(&self) -> Result<FileId, KeysError> {
        let it = fs::metadata(&self.path).map_err(|source| self.fault("read", source))?;
        let (seconds, nanoseconds) = (it.mtime(), it.mtime_nsec());
        Ok(FileId { inode: it.ino(), seconds, nanoseconds, size: it.size() })
    }

    fn fault(&self, doing: &'static str, source: io::Error) -> KeysError {
        KeysError::File { doing, path: self.path.clone(), source }
    }
}

/// Replaces the file at `path` with one that only its owner reads.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_opens_until_it_is_revoked() {
        let data = tempfile::tempdir().unwrap();
        let (keys, elsewhere) = (Keys::open(data.path()), Keys::open(data.path()));
        let (admin, _) = keys.add("admin", Role::Administrator).unwrap();
        let (record, key) = keys.add("web-1", Role::Sensor).unwrap();
        assert_eq!((admin.id, record.id, key.reveal().len()), (1, 2, Key::LEN));
        assert_eq!(keys.holder(key.reveal()).unwrap(), Some(record.clone()));
        assert_eq!(keys.holder("").unwrap(), None);
        elsewhere.revoke(record.id).unwrap(); // another process
        assert_eq!(keys.holder(key.reveal()).unwrap(), None);
        assert!(matches!(keys.revoke(record.id), Err(KeysError::Unknown(2))));
        assert_eq!(keys.list().unwrap().len(), 2);
    }

    #[test]
    fn the_file_holds_no_key_and_is_private() {
        let data = tempfile::tempdir().unwrap();
        let keys = Keys::open(data.path());
        let (_, key) = keys.add("web-1", Role::Reader).unwrap();
        let text = fs::read_to_string(data.path().join("keys.json")).unwrap();
        assert!(!text.contains(key.reveal()) && text.contains("web-1"));
        let mode = fs::metadata(data.path().join("keys.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{key:?}"), "Key(…)");
    }

    #[test]
    fn names_are_plain() {
        let data = tempfile::tempdir().unwrap();
        let keys = Keys::open(data.path());
        for name in ["", "a b", "<b>", "x\n", &"x".repeat(65)] {
            assert!(matches!(keys.add(name, Role::Reader), Err(KeysError::Name(_))), "{name}");
        }
    }
}
