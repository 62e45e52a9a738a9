//! What changed in a list: the lines of a change stream.
//!
//! ```text
//! line     = signed | entry
//! signed   = {"body": "…", "signature": "…"}    the body is JSON, signed as the text that it is
//! body     = {"changes": {…}}                   the next record of the chain
//!          | {"snapshot": {…}}                  the list as a whole: the entries before this line
//! entry    = {"value": "192.0.2.7", …}
//! ```
//!
//! Every record of changes holds the digest of the body before it, so none can be left out, added
//! or moved. A snapshot says at which record of the chain the list was what its entries are, and
//! their digest; its signature comes last, so that neither side holds a list twice. A key is
//! rotated by a record, signed with the old key, that names the new one ([`Change::Key`]).

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::net;
use crate::signature::{Digest, PublicKey, Signer};

/// The most changes in one record, so that the largest is read in one piece.
pub const MAX_CHANGES: usize = 1_000;
/// The longest line: a record of the most changes, each with the most tags, is about 4 MB.
pub const MAX_LINE_BYTES: usize = 8 << 20;
/// The most tags that are told of one address; more are cut by whoever lists.
pub const MAX_TAGS: usize = 32;

/// An address or prefix in a list, and why it is there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    #[serde(with = "net::text")]
    pub value: IpNet,
    /// The type of the attribute: `ip-src`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was seen first, in epoch seconds.
    pub first: i64,
    /// When it was seen or sighted last, in epoch seconds.
    pub last: i64,
    /// How often it was sighted.
    #[serde(default)]
    pub sightings: u64,
    /// How many keys reported or sighted it.
    #[serde(default)]
    pub hosts: u32,
    /// Tags of the attribute and of its event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A change of a list.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Change {
    /// This is listed, or is listed in another way than before.
    List(Entry),
    /// This is not listed any more.
    Withdraw {
        /// Who.
        #[serde(with = "net::text")]
        value: IpNet,
        /// Why not.
        #[serde(default)]
        why: Withdrawal,
    },
    /// The records after this one are signed with another key.
    Key {
        /// Which.
        key: PublicKey,
    },
}

/// Why something is not listed any more.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// Nobody reports it any more, or not for detection.
    #[default]
    Gone,
    /// A curator, or enough sensors, called it a false positive.
    FalsePositive,
}

/// A record of the chain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number; one more than that of the one before.
    pub sequence: u64,
    /// The digest of the body of the one before; of the first, of nothing.
    pub previous: Digest,
    /// When it was signed, in epoch seconds.
    pub issued: i64,
    /// From when on it is too old to be believed.
    pub expires: i64,
    /// What changed, in this order.
    pub changes: Vec<Change>,
}

/// What a list was at one record of the chain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The number of that record.
    pub sequence: u64,
    /// The digest of its body: the record that follows names it.
    pub head: Digest,
    /// When it was signed, in epoch seconds.
    pub issued: i64,
    /// From when on it is too old to be believed.
    pub expires: i64,
    /// How many entries there are.
    pub n_entries: u64,
    /// The digest of their lines, each with its line end.
    pub digest: Digest,
}

/// What is signed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The next record of the chain.
    Changes(Record),
    /// The list as a whole.
    Snapshot(Snapshot),
}

/// A body as it travels: not to be believed before its signature was looked at.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Signed {
    body: String,
    signature: String,
}

/// A line of a change stream.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A record or a snapshot.
    Signed(Signed),
    /// An entry of the snapshot that follows.
    Entry(Entry),
}

impl Body {
    /// Signs it.
    ///
    /// # Panics
    ///
    /// Never: what is in a body can be written as JSON.
    pub fn sign(&self, signer: &Signer) -> Signed {
        let body = serde_json::to_string(self).expect("a body has text keys alone");
        let signature = signer.sign(body.as_bytes());
        Signed { body, signature }
    }
}

impl Signed {
    /// The digest of its body, by which the record after it names it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.body.as_bytes())
    }

    /// Whether `key` signed it.
    pub fn is_of(&self, key: PublicKey) -> bool {
        key.verifies(self.body.as_bytes(), &self.signature)
    }

    /// What it says, which is nothing unless [`Self::is_of`] says so.
    pub(crate) fn body(&self) -> Result<Body, serde_json::Error> {
        serde_json::from_str(&self.body)
    }

    /// As a line, without its end.
    ///
    /// # Panics
    ///
    /// Never: two texts can be written as JSON.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("two texts become JSON")
    }
}

impl Entry {
    /// As a line, without its end.
    ///
    /// # Panics
    ///
    /// Never: texts and numbers can be written as JSON.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers become JSON")
    }
}
