//! What the judge may ask about earlier bans.

use jiff::Timestamp;

use crate::event::Subject;

/// What is known of earlier bans.
pub trait History: std::fmt::Debug + Send {
    /// The earlier bans of `subject` in `jail`, or in all jails where `None`.
    fn past(&self, jail: Option<&str>, subject: &Subject) -> Option<Past>;
}

/// Somebody's earlier bans.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Past {
    /// How many.
    pub n_bans: u32,
    /// When the last of them began.
    pub last: Timestamp,
}

/// A history that knows nobody.
#[derive(Debug)]
pub(super) struct NoHistory;

impl History for NoHistory {
    fn past(&self, _: Option<&str>, _: &Subject) -> Option<Past> {
        None
    }
}
