//! Who makes a chain of change records, and who follows one.
//!
//! A follower believes one key, which it was told or met first. From then on it takes nothing but
//! the very next record of the chain, or a snapshot that is not older than where it stands.

use crate::change::{Body, Change, Entry, MAX_CHANGES, Record, Signed, Snapshot};
use crate::signature::{Digest, Hasher, PublicKey, Signer};

/// Seconds that the clocks of two hosts may differ.
const MAX_SKEW: i64 = 5 * 60;

/// A place in a chain: after this record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The number of the record; 0 before the first.
    pub sequence: u64,
    /// The digest of its body.
    pub head: Digest,
}

impl Place {
    /// Signs what changed as the next record, and goes on to it.
    pub fn append(
        &mut self,
        changes: Vec<Change>,
        signer: &Signer,
        issued: i64,
        expires: i64,
    ) -> Signed {
        let (sequence, previous) = (self.sequence + 1, self.head);
        let record = Record { sequence, previous, issued, expires, changes };
        let signed = Body::Changes(record).sign(signer);
        *self = Self { sequence, head: signed.digest() };
        signed
    }
}

/// Gathers the entries of a snapshot, on either side.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    n: u64,
    hasher: Hasher,
}

impl Entries {
    /// Goes on with the line of an entry, which has no line end here.
    pub fn add(&mut self, line: &str) {
        self.n += 1;
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
    }

    /// Signs that these were all the entries at `place`.
    pub fn sign(self, place: Place, signer: &Signer, issued: i64, expires: i64) -> Signed {
        let (n_entries, digest) = (self.n, self.hasher.finish());
        let Place { sequence, head } = place;
        let snapshot = Snapshot { sequence, head, issued, expires, n_entries, digest };
        Body::Snapshot(snapshot).sign(signer)
    }
}

/// Why a line of a change stream is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Somebody else signed it.
    #[error(
        "a change record is not signed by the pinned key `{pinned}`; if the hub was made anew, \
         pin its key again"
    )]
    Forged {
        /// The key that is believed.
        pinned: PublicKey,
    },
    /// It is signed, and is no record.
    #[error("a change record cannot be read; is the hub of a newer release?")]
    Garbled(#[source] serde_json::Error),
    /// It was here before.
    #[error("a change record is older (number {found}) than what is known (number {known})")]
    Older {
        /// Its number.
        found: u64,
        /// Where the follower stands.
        known: u64,
    },
    /// It does not follow what is known.
    #[error("change record {found} does not follow record {known}; the list is fetched anew")]
    Broken {
        /// Its number.
        found: u64,
        /// Where the follower stands.
        known: u64,
    },
    /// Its time is over.
    #[error("a change record expired {seconds} s ago; are the clocks of both hosts right?")]
    Expired {
        /// Since when.
        seconds: i64,
    },
    /// Its time has not begun.
    #[error("a change record is {seconds} s from the future; are the clocks of both hosts right?")]
    Early {
        /// How far.
        seconds: i64,
    },
    /// It holds more than a record may.
    #[error("a change record holds {0} changes, more than {MAX_CHANGES}")]
    TooMany(usize),
    /// The entries are not those that were signed.
    #[error("the entries of a snapshot are not those that were signed")]
    OtherEntries,
}

/// What a follower took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Taken {
    /// What changed.
    Changes(Vec<Change>),
    /// The list as a whole: the entries that came before.
    Whole,
}

/// Follows a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Follower {
    /// The key that is believed.
    pub key: PublicKey,
    /// Where it stands.
    pub place: Place,
}

impl Follower {
    /// Believes `key`, and knows nothing yet.
    pub fn new(key: PublicKey) -> Self {
        Self { key, place: Place::default() }
    }

    /// Takes what comes next, a record or a snapshot with the `entries` before it.
    ///
    /// # Errors
    ///
    /// As [`Self::follow`] and [`Self::replace`].
    pub fn take(
        &mut self,
        signed: &Signed,
        entries: Entries,
        now: i64,
    ) -> Result<Taken, ChainError> {
        match self.read(signed)? {
            Body::Changes(_) => self.follow(signed, now).map(Taken::Changes),
            Body::Snapshot(_) => self.replace(signed, entries, now).map(|()| Taken::Whole),
        }
    }

    /// Takes the next record: what changed.
    ///
    /// # Errors
    ///
    /// When it is not the next one, not of this key, or not of this time. Nothing has changed then.
    pub fn follow(&mut self, signed: &Signed, now: i64) -> Result<Vec<Change>, ChainError> {
        let record = match self.read(signed)? {
            Body::Changes(record) => record,
            Body::Snapshot(it) => return Err(self.out_of_place(it.sequence)),
        };
        if record.sequence != self.place.sequence + 1 || record.previous != self.place.head {
            return Err(self.out_of_place(record.sequence));
        }
        timely(record.issued, record.expires, now)?;
        if record.changes.len() > MAX_CHANGES {
            return Err(ChainError::TooMany(record.changes.len()));
        }
        self.place = Place { sequence: record.sequence, head: signed.digest() };
        self.key = introduced(&record).unwrap_or(self.key);
        Ok(record.changes)
    }

    /// Takes a new key from a record that introduces one, wherever in the chain that stands: for
    /// who comes back after the key was rotated. Tells whether there was one.
    ///
    /// # Errors
    ///
    /// When it is signed by the key that is believed, and cannot be read.
    pub fn introduce(&mut self, signed: &Signed) -> Result<bool, ChainError> {
        if !signed.is_of(self.key) {
            return Ok(false);
        }
        let Body::Changes(record) = self.read(signed)? else { return Ok(false) };
        let key = introduced(&record);
        self.key = key.unwrap_or(self.key);
        Ok(key.is_some())
    }

    /// Takes a snapshot, whose `entries` came before it.
    ///
    /// # Errors
    ///
    /// When it is older than what is known, is not of these entries, of this key or of this time.
    /// Nothing has changed then.
    pub fn replace(
        &mut self,
        signed: &Signed,
        entries: Entries,
        now: i64,
    ) -> Result<(), ChainError> {
        let snapshot = match self.read(signed)? {
            Body::Snapshot(snapshot) => snapshot,
            Body::Changes(it) => return Err(self.out_of_place(it.sequence)),
        };
        if snapshot.sequence < self.place.sequence {
            let (found, known) = (snapshot.sequence, self.place.sequence);
            return Err(ChainError::Older { found, known });
        }
        timely(snapshot.issued, snapshot.expires, now)?;
        if (entries.n, entries.hasher.finish()) != (snapshot.n_entries, snapshot.digest) {
            return Err(ChainError::OtherEntries);
        }
        self.place = Place { sequence: snapshot.sequence, head: snapshot.head };
        Ok(())
    }

    fn read(&self, signed: &Signed) -> Result<Body, ChainError> {
        if !signed.is_of(self.key) {
            return Err(ChainError::Forged { pinned: self.key });
        }
        signed.body().map_err(ChainError::Garbled)
    }

    fn out_of_place(&self, found: u64) -> ChainError {
        let known = self.place.sequence;
        match found <= known {
            true => ChainError::Older { found, known },
            false => ChainError::Broken { found, known },
        }
    }
}

fn timely(issued: i64, expires: i64, now: i64) -> Result<(), ChainError> {
    if expires <= now {
        return Err(ChainError::Expired { seconds: now.saturating_sub(expires) });
    }
    match issued.saturating_sub(now) {
        seconds if seconds > MAX_SKEW => Err(ChainError::Early { seconds }),
        _ => Ok(()),
    }
}

/// The last key that a record introduces.
fn introduced(record: &Record) -> Option<PublicKey> {
    record.changes.iter().rev().find_map(|change| match change {
        Change::Key { key } => Some(*key),
        Change::List(Entry { .. }) | Change::Withdraw { .. } => None,
    })
}

#[cfg(test)]
#[path = "chain/tests.rs"]
mod tests;
