//! What exchange wants blocked: the lists of its sources, as requests that guard checks itself.
//!
//! A list has a version that its source chose. It is changed as a whole, or from the version that
//! guard holds, in steps over one or several connections: [`BlockListRequest::Begin`], any number of
//! [`BlockListRequest::Add`] and [`BlockListRequest::Remove`], [`BlockListRequest::Commit`]. Packets
//! meet the old list until the last step, and then the new one. Guard keeps its lists over a restart.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Entries or prefixes in one step: those of IPv6 with an end take some 80 bytes each, and a
/// request has a megabyte.
pub const MAX_BLOCK_STEP: usize = 10_000;

/// One step of a change of a list, or a question about all lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum BlockListRequest {
    /// Begins a change; one of the same source that was not committed is forgotten.
    Begin {
        /// Whose list: `hub`, or the name of a destination.
        source: String,
        /// What the list is called after the commit.
        version: String,
        /// The version that is changed; the whole list is new where it is missing.
        base: Option<String>,
    },
    /// Adds entries, or gives those that are there another end.
    Add {
        /// Whose list.
        source: String,
        /// At most [`MAX_BLOCK_STEP`].
        entries: Vec<BlockEntry>,
    },
    /// Removes entries; that there is none is no error.
    Remove {
        /// Whose list.
        source: String,
        /// At most [`MAX_BLOCK_STEP`].
        nets: Vec<IpNet>,
    },
    /// Makes the change: all of it or none.
    Commit {
        /// Whose list.
        source: String,
    },
    /// Forgets a list and its version, as when its source left the configuration.
    Forget {
        /// Whose list.
        source: String,
    },
    /// How all lists are.
    Status,
}

/// Who is blocked, and until when.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockEntry {
    /// A single address is the prefix that holds no other.
    pub net: IpNet,
    /// When it ends by itself; never where it is missing.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::timestamp::second::optional"
    )]
    pub until: Option<Timestamp>,
}

/// What guard answers to a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockListAnswer {
    /// To a step before the last one.
    Taken,
    /// To [`BlockListRequest::Begin`] with a base that guard does not hold: send the whole list.
    OtherBase {
        /// What it holds; nothing of this source where it is missing.
        version: Option<String>,
    },
    /// To [`BlockListRequest::Commit`] and [`BlockListRequest::Forget`].
    Committed(BlockListOutcome),
    /// To [`BlockListRequest::Status`].
    Status(Vec<BlockListStatus>),
}

/// What became of a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockListOutcome {
    /// Entries of the list now.
    pub n_entries: u64,
    /// Entries that were not taken, by the reason.
    pub refused: Vec<Refused>,
}

/// Entries that guard did not take.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub why: WhyRefused,
    /// How many of them.
    pub n: u64,
    /// The first.
    pub first: IpNet,
}

/// Why guard does not block somebody whom a list names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyRefused {
    /// The prefix is wider than guard's own configuration allows.
    TooWide,
    /// Loopback, link-local, multicast or unspecified: nobody from afar has such an address.
    Special,
    /// It holds an address of this host.
    OwnAddress,
    /// It overlaps an `ignoreip` of a jail.
    Ignored,
    /// It holds the address of a live session of an administrator.
    Administrator,
    /// All lists together are as long as guard's own configuration allows.
    TooMany,
}

/// How one list is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockListStatus {
    /// Whose.
    pub source: String,
    /// What its source calls it.
    pub version: String,
    /// When it was changed last.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub changed: Timestamp,
    /// Single addresses in it.
    pub n_addresses: u64,
    /// Prefixes in it.
    pub n_prefixes: u64,
    /// Packets that it dropped, since guard or the firewall was started.
    pub n_packets: u64,
    /// What those were in bytes.
    pub n_bytes: u64,
}
