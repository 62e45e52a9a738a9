//! Which addresses are counted and banned together: off by default, because fail2ban knows of none.
//!
//! Whoever has an IPv6 network has all of it, so its addresses are one. Those of an IPv4 network
//! belong to many; it is banned as a whole once so many of them are.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::event::Subject;

/// Which addresses are counted and banned together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Together {
    /// The length of the IPv6 prefix whose addresses count as one.
    pub ipv6_prefix: Option<u8>,
    /// An IPv4 prefix that is banned once so many of its addresses are.
    pub ipv4: Option<Crowd>,
}

/// So many addresses of one prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crowd {
    /// The length of the prefix.
    pub prefix: u8,
    /// How many of its addresses must be banned.
    pub n_banned: usize,
}

impl Together {
    /// The IPv6 prefix that `subject` counts for, where it is not to count for itself.
    pub(super) fn counted(&self, subject: &Subject) -> Option<IpNet> {
        match subject {
            Subject::Addr(addr @ IpAddr::V6(_)) => prefix(*addr, self.ipv6_prefix?),
            Subject::Addr(_) | Subject::Net(_) | Subject::Id(_) => None,
        }
    }

    /// The IPv4 prefix that may have to go with `subject`, and how many make it.
    pub(super) fn crowd(&self, subject: &Subject) -> Option<(IpNet, usize)> {
        match (subject, self.ipv4) {
            (Subject::Addr(addr @ IpAddr::V4(_)), Some(Crowd { prefix: length, n_banned })) => {
                Some((prefix(*addr, length)?, n_banned))
            }
            _ => None,
        }
    }
}

fn prefix(addr: IpAddr, length: u8) -> Option<IpNet> {
    IpNet::new(addr, length).ok().map(|net| net.trunc())
}
