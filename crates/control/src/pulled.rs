//! What exchange is asked about the block lists, and answers.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::block_list::BlockEntry;

/// A question about the block lists, or what an operator does about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case", deny_unknown_fields)]
pub enum BlockListQuestion {
    /// How the sources are.
    Sources,
    /// Who is blocked.
    Show {
        /// The most entries of each list to answer with.
        limit: u32,
    },
    /// Why somebody is blocked, or is not.
    Why {
        /// Who.
        net: IpNet,
    },
    /// What would change in the lists that stand still.
    Diff {
        /// The most entries of each list to answer with.
        limit: u32,
    },
    /// Make the lists what they would be.
    Accept,
    /// Put the lists back to what they were before the last change, and let them stand still.
    Rollback,
}

/// What exchange answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockListView {
    /// To [`BlockListQuestion::Sources`].
    Sources(Vec<SourceStatus>),
    /// To [`BlockListQuestion::Show`].
    Lists(Vec<ListView>),
    /// To [`BlockListQuestion::Why`].
    Why(Vec<Reason>),
    /// To [`BlockListQuestion::Diff`].
    Differences(Vec<Difference>),
    /// To [`BlockListQuestion::Accept`] and [`BlockListQuestion::Rollback`].
    Changed(Vec<Difference>),
}

/// How a source is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// When it last answered.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub pulled: Option<Timestamp>,
    /// The last number of its change stream, if it has one.
    pub sequence: Option<u64>,
    /// How many indicators it tells of.
    pub n_indicators: u64,
    /// How many entries its list has.
    pub n_entries: u64,
    /// Why the list stands still until somebody accepts.
    pub waiting: Option<String>,
    /// What is wrong with it, and not mended since.
    pub last_error: Option<String>,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListView {
    /// Whose.
    pub source: String,
    /// How many entries it has.
    pub n_entries: u64,
    /// Some of them, in order.
    pub entries: Vec<BlockEntry>,
}

/// What a source tells of somebody, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The source.
    pub source: String,
    /// The indicator: the address itself, or a prefix around it.
    pub net: IpNet,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was seen first.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub first: Timestamp,
    /// When it was seen or sighted last.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub last: Timestamp,
    /// Its tags.
    pub tags: Vec<String>,
    /// Until when it is blocked, if it is.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub blocked_until: Option<Timestamp>,
    /// Its score now, of 100, if it may be blocked.
    pub score: Option<f64>,
    /// Why it may not be blocked.
    pub why_not: Option<String>,
}

/// What would change in a list, or has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Whose.
    pub source: String,
    /// Why it stands still, if it does.
    pub waiting: Option<String>,
    /// How many would be blocked that are not.
    pub n_added: u64,
    /// How many are blocked and would not be.
    pub n_removed: u64,
    /// Some of the ones.
    pub added: Vec<IpNet>,
    /// Some of the others.
    pub removed: Vec<IpNet>,
}
