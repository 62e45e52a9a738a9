//! The firewall as guard sees it: timed bans of addresses and prefixes, in a set for each jail.
//!
//! Two hold them: [`nft`], the kernel's, and [`memory`], which only remembers. One suite of tests
//! (`tests/firewall.rs`) runs over both.

pub mod blocking;
pub mod memory;
pub mod nft;

use std::time::Duration;

use ipnet::IpNet;

pub use blocking::{Blocking, BlockingError, Hook, Ports, Rule, Verdict};
pub use memory::Memory;
pub use nft::Nft;

/// One change of what is banned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Ban, or renew a ban: afterwards it stands for `timeout`, whatever it was before.
    Ban {
        /// The jail whose rules apply.
        jail: String,
        /// Who; a single address is the prefix that holds no other.
        target: IpNet,
        /// For how long from now; `None` for ever.
        timeout: Option<Duration>,
    },
    /// Lift a ban; that there is none is no error.
    Unban {
        /// The jail.
        jail: String,
        /// Whose.
        target: IpNet,
    },
}

impl Change {
    /// The jail.
    pub fn jail(&self) -> &str {
        match self {
            Self::Ban { jail, .. } | Self::Unban { jail, .. } => jail,
        }
    }

    /// Who is, or was, banned.
    pub fn target(&self) -> &IpNet {
        match self {
            Self::Ban { target, .. } | Self::Unban { target, .. } => target,
        }
    }

    /// For how long; `None` for ever, and where a ban is lifted.
    fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Ban { timeout, .. } => *timeout,
            Self::Unban { .. } => None,
        }
    }
}

/// A firewall that holds timed bans.
pub trait Firewall: Send {
    /// What it is, for the log and for `status`.
    fn describe(&self) -> String;

    /// Whether anybody is really blocked. Where not, it is a dry run, and no command of an action
    /// runs either.
    fn blocks(&self) -> bool;

    /// Whether it would take the rules of these jails; changes nothing.
    ///
    /// # Errors
    ///
    /// When it would refuse them, and why.
    fn check(&mut self, jails: &[Blocking]) -> Result<(), FirewallError>;

    /// Makes it hold the rules of these jails and these bans and nothing else, in one step that
    /// no packet sees half done.
    ///
    /// # Errors
    ///
    /// When that cannot be done; what was there before stays then.
    fn rebuild(&mut self, jails: &[Blocking], bans: &[Change]) -> Result<(), FirewallError>;

    /// Makes all of `changes`, in order, or none of them. Repeating is harmless.
    ///
    /// # Errors
    ///
    /// When that cannot be done, as when others have flushed the rules; [`Self::rebuild`] heals.
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError>;

    /// Who is banned now in which jail, in order.
    ///
    /// # Errors
    ///
    /// When the firewall cannot be asked.
    fn banned(&mut self) -> Result<Vec<(String, IpNet)>, FirewallError>;

    /// Whether the rules of [`Self::rebuild`] are still there.
    ///
    /// # Errors
    ///
    /// When the firewall cannot be asked.
    fn stands(&mut self) -> Result<bool, FirewallError>;

    /// Takes away everything that is ours.
    ///
    /// # Errors
    ///
    /// When that cannot be done.
    fn remove(&mut self) -> Result<(), FirewallError>;
}

/// Why the firewall did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program that moves it is not there.
    #[error("`{program}` is not installed; install it (Debian: {package}), or use --dry-run")]
    Missing {
        /// The program.
        program: &'static str,
        /// What to install.
        package: &'static str,
    },
    /// This process may not.
    #[error("this process may not change the firewall; run it as root or with CAP_NET_ADMIN")]
    Denied,
    /// It refused, and said why.
    #[error("the firewall refused: {said}")]
    Refused {
        /// Its own words, on one line.
        said: String,
    },
    /// It could not be spoken to.
    #[error("speaking to the firewall failed")]
    Io(#[from] std::io::Error),
}
