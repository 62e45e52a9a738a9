//! One ban to tell MISP about, as it lies in the spool.

use jail::Ban;
use serde::{Deserialize, Serialize};

use crate::destination::Addressee;

/// A ban, and where it shall be told. It never holds a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The ban.
    #[serde(flatten)]
    pub ban: Ban,
    /// Whether it was only set up again after a restart, and so told before.
    #[serde(default)]
    pub restored: bool,
    /// Where it goes; to all destinations that take the jail, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Addressee>,
}
