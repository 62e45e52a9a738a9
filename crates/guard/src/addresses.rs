//! The addresses of this host, which are never banned (`ignoreself`) and never told about, and those
//! that live sessions of administrators come from.
//!
//! Read from `/proc/thread-self/net`, as the kernel lists them for the namespace of the thread:
//! `fib_trie` for IPv4, `if_inet6` for IPv6; connections from `tcp` and `tcp6`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jail::Subject;

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

/// Where established connections to this host's port 22 come from; none where the kernel does not
/// tell.
pub(crate) fn of_sessions() -> Vec<IpAddr> {
    let read =
        |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    of_tcp(&read("tcp")).chain(of_tcp(&read("tcp6"))).collect::<Vec<_>>()
}

/// Whether `addr` is `subject`, or lies in it.
pub(crate) fn is_in(addr: &IpAddr, subject: &Subject) -> bool {
    match subject {
        Subject::Addr(it) => it == addr,
        Subject::Net(net) => net.contains(addr),
        Subject::Id(_) => false,
    }
}

/// The far ends of connections that are established (`01`) with a local port 22 (`0016`): second
/// to fourth word of each line, an address as words of 32 bits in the host's order.
fn of_tcp(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        let (addr, _port) = remote.split_once(':')?;
        let is_session = local.ends_with(":0016") && state == "01";
        is_session.then(|| of_words(addr))?
    })
}

fn of_words(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok();
    Some(match digits.len() {
        8 => IpAddr::from(word(0)?.to_ne_bytes()),
        32 => {
            let mut bytes = [0; 16];
            for (n, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(8 * n)?.to_ne_bytes());
            }
            IpAddr::from(bytes).to_canonical()
        }
        _ => return None,
    })
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
    fn reads_sessions() {
        let little = cfg!(target_endian = "little");
        let table = "  sl  local_address rem_address   st tx_queue\n   \
            0: 0100007F:0016 00000000:0000 0A 0\n   \
            1: 020200C0:0016 070200C0:CB20 01 0\n   \
            2: 020200C0:0050 080200C0:CB20 01 0\n   \
            3: 0000000000000000FFFF0000020200C0:0016 0000000000000000FFFF0000090200C0:CB20 01 0\n";
        let addrs: Vec<_> = of_tcp(table).map(|it| it.to_string()).collect();
        if little {
            assert_eq!(addrs, ["192.0.2.7", "192.0.2.9"]);
        }
        assert_eq!(addrs.len(), 2);
    }

    #[test]
    fn knows_the_loopback() {
        assert!(own().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
