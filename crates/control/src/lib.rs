//! The one protocol that the halves, the command line and the decoys speak over a Unix socket.
//!
//! One JSON object a line each way.

use jail::NumberedBan;
use serde::{Deserialize, Serialize};

/// A part of guard's append-only log of bans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BanLog {
    /// Which log this is; another one after guard.db was made anew, and then numbers start again.
    pub log: String,
    /// Bans after the number that was asked for, in order.
    pub bans: Vec<NumberedBan>,
}
