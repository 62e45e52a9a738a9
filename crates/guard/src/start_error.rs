//! Why guard could not start.

use std::io;

use control::ServerError;

use crate::firewall::FirewallError;
use crate::store::StoreError;

/// Why guard could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Every jail is at fault, and each was said in the log; or there is none.
    #[error("no jail can start; enable one, or see the log for what is wrong with each")]
    NoJail,
    /// The memory of the last life.
    #[error("guard's memory cannot be used")]
    Store(#[from] StoreError),
    /// The firewall.
    #[error("the firewall cannot be prepared, `fail2misp doctor` tells which one works here")]
    Firewall(#[from] FirewallError),
    /// The control socket.
    #[error("the control socket cannot be served")]
    Control(#[from] ServerError),
    /// The system.
    #[error("the system does not let guard start its work")]
    System(#[from] io::Error),
}
