//! The addresses of this host, which are never banned (`ignoreself`) and never told about.
//!
//! Read from `/proc/thread-self/net`, as the kernel lists them for the namespace of the thread:
//! `fib_trie` for IPv4, `if_inet6` for IPv6.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that are this host's now; none where the kernel does not tell.
pub fn own() -> Vec<IpAddr> {
    // A kernel without IPv6 lacks the second file.
    let read =
        |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let mut addrs: Vec<IpAddr> = local_of_fib_trie(&read("fib_trie")).map(IpAddr::V4).collect();
    addrs.extend(of_if_inet6(&read("if_inet6")).map(IpAddr::V6));
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

/// Every address that is followed by `/32 host LOCAL`.
fn local_of_fib_trie(table: &str) -> impl Iterator<Item = Ipv4Addr> {
    let pairs = table.lines().zip(table.lines().skip(1));
    pairs.filter_map(|(addr, what)| {
        let addr = addr.trim_start().strip_prefix("|-- ")?;
        (what.trim() == "/32 host LOCAL").then(|| addr.parse().ok())?
    })
}

/// The first word of each line: 32 digits of an address.
fn of_if_inet6(table: &str) -> impl Iterator<Item = Ipv6Addr> {
    table.lines().filter_map(|line| {
        let digits = line.split(' ').next().filter(|it| it.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_tables() {
        let fib_trie = "Main:\n     +-- 192.0.2.0/24 2 0 2\n        |-- 192.0.2.0\n           /24 \
            link UNICAST\n        |-- 192.0.2.2\n           /32 host LOCAL\n        |-- \
            192.0.2.255\n           /32 link BROADCAST\n";
        let addrs: Vec<_> = local_of_fib_trie(fib_trie).collect();
        assert_eq!(addrs, [Ipv4Addr::new(192, 0, 2, 2)]);
        let if_inet6 = "20010db8000000000000000000000002 04 40 00 82     eth0\nodd\n";
        let addrs: Vec<_> = of_if_inet6(if_inet6).map(|it| it.to_string()).collect();
        assert_eq!(addrs, ["2001:db8::2"]);
    }

    #[test]
    fn knows_the_loopback() {
        assert!(own().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
