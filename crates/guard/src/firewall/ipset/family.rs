//! IPv4 and IPv6 apart, as ipset and iptables have them.

use std::path::Path;

use ipnet::IpNet;

use crate::firewall::program::Program;

/// One of the two families.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Those that this kernel has: it may lack IPv6.
    pub(super) fn all() -> Vec<Self> {
        match Path::new("/proc/thread-self/net/if_inet6").exists() {
            true => vec![Self::V4, Self::V6],
            false => vec![Self::V4],
        }
    }

    pub(super) fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// As ipset names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "inet",
            Self::V6 => "inet6",
        }
    }

    /// The program that writes rules.
    pub(super) fn restore(self) -> Program {
        let name = match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        };
        Program { name, package: "iptables" }
    }

    /// The program that lists them.
    pub(super) fn save(self) -> Program {
        let name = match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        };
        Program { name, package: "iptables" }
    }

    /// How a port is said to be unreachable.
    pub(super) fn unreachable(self) -> &'static str {
        match self {
            Self::V4 => "icmp-port-unreachable",
            Self::V6 => "icmp6-port-unreachable",
        }
    }
}
