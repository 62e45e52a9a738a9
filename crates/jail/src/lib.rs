//! fail2ban's configuration language, and the judge: (event, now) to actions.

pub mod config;
pub mod event;
pub mod increment;
pub mod judge;

pub use event::{Ban, BanTime, Failure, NumberedBan, Subject};
