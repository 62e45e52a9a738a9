//! The firewall as guard sees it: timed bans of addresses and prefixes, in a set for each jail.
//!
//! Three hold them: [`nft`], the kernel's; [`ipset`], the older one; and [`memory`], which only
//! remembers. One suite of tests (`tests/firewall.rs`) runs over all of them.

pub mod blocking;
mod differences;
pub mod ipset;
pub mod memory;
mod nets;
pub mod nft;
mod program;

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

pub use blocking::{Blocking, BlockingError, Hook, Ports, Rule, Verdict};
pub(crate) use differences::differences;
pub use ipset::Ipset;
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

/// Whether others have changed what is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    /// Nobody did since the last look.
    Untouched,
    /// The rules stand; somebody, ourselves perhaps, may have changed who is banned.
    Touched,
    /// The rules are not as they were: [`Firewall::rebuild`] heals.
    Gone,
}

/// Who is banned in each jail that bans anybody, in order.
pub type Banned = BTreeMap<String, Vec<IpNet>>;

/// Packets that were dropped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dropped {
    /// The jail whose rules dropped them.
    pub by: String,
    /// How many, since the rules of the jail are there.
    pub n_packets: u64,
    /// What they were in bytes.
    pub n_bytes: u64,
}

/// Whether a target is one address alone.
pub(crate) fn is_address(target: &IpNet) -> bool {
    target.prefix_len() == target.max_prefix_len()
}

/// A firewall that holds timed bans.
pub trait Firewall: Send {
    /// What it is, for the log and for `status`.
    fn describe(&self) -> String;

    /// Whether anybody is really blocked. Where not, it is a dry run, and no command of an action
    /// runs either.
    fn blocks(&self) -> bool;

    /// Another one of its kind that shares nothing with it, for the block lists.
    fn beside(&self) -> Box<dyn Firewall>;

    /// Whether it would take the rules of these jails; changes nothing.
    ///
    /// # Errors
    ///
    /// When it would refuse them, and why.
    fn check(&mut self, jails: &[Blocking]) -> Result<(), FirewallError>;

    /// Makes it hold the rules of these jails and these bans and nothing else; packets meet what
    /// was there before until all of it is.
    ///
    /// # Errors
    ///
    /// When that cannot be done; what was there before stays then.
    fn rebuild(
        &mut self,
        jails: &[Blocking],
        bans: &mut dyn Iterator<Item = Change>,
    ) -> Result<(), FirewallError>;

    /// Makes all of `changes`, in order, or none of them. Repeating is harmless.
    ///
    /// # Errors
    ///
    /// When that cannot be done, as when others have flushed the rules; [`Self::rebuild`] heals.
    fn apply(&mut self, changes: &[Change]) -> Result<(), FirewallError>;

    /// Who is banned now.
    ///
    /// # Errors
    ///
    /// When the firewall cannot be asked.
    fn banned(&mut self) -> Result<Banned, FirewallError>;

    /// Whether others have changed it since [`Self::rebuild`].
    ///
    /// # Errors
    ///
    /// When the firewall cannot be asked.
    fn look(&mut self) -> Result<Look, FirewallError>;

    /// What the rules of each jail have dropped.
    ///
    /// # Errors
    ///
    /// When the firewall cannot be asked.
    fn dropped(&mut self) -> Result<Vec<Dropped>, FirewallError>;

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
    /// A set is full.
    #[error(
        "a set of the firewall is full, {max} is the most: {said}; make `bantime` shorter, or ban \
         prefixes instead of their addresses"
    )]
    Full {
        /// Its own words, on one line.
        said: String,
        /// What it holds.
        max: u32,
    },
    /// It could not be spoken to.
    #[error("speaking to the firewall failed")]
    Io(#[from] std::io::Error),
}
