//! The addresses of this host, which are never banned (`ignoreself`) and never told about, and those
//! that live sessions of administrators come from.
//!
//! Read from `/proc/thread-self/net`, as the kernel lists them for the namespace of the thread:
//! `fib_trie` for IPv4, `if_inet6` for IPv6; connections from `tcp` and `tcp6`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The state of a connection that is established (`TCP_ESTABLISHED`).
const ESTABLISHED: &str = "01";

/// Where sshd listens unless its configuration says otherwise.
const SSH_PORT: u16 = 22;

use jail::Subject;

/// The addresses that are this host's now; none where the kernel does not tell.
pub fn own() -> Vec<IpAddr> {
    let mut addrs: Vec<IpAddr> = local_of_fib_trie(&read("fib_trie")).map(IpAddr::V4).collect();
    addrs.extend(of_if_inet6(&read("if_inet6")).map(IpAddr::V6));
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

/// Where established connections to this host's sshd come from; none where the kernel does not
/// tell.
pub(crate) fn of_sessions() -> Vec<IpAddr> {
    let ports = ssh_ports();
    let mut addrs: Vec<IpAddr> = peers(&read("tcp"), &ports).collect();
    addrs.extend(peers(&read("tcp6"), &ports));
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

/// Whether `addr` is `subject`, or lies in it.
pub(crate) fn is_in(addr: &IpAddr, subject: &Subject) -> bool {
    match subject {
        Subject::Addr(it) => it == addr,
        Subject::Net(net) => net.contains(addr),
        Subject::Id(_) => false,
    }
}

/// A table of the kernel's; empty where it is absent, as those of IPv6 may be.
fn read(file: &str) -> String {
    fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default()
}

/// The ports in the configuration of sshd, whose drop-ins it reads first.
fn ssh_ports() -> Vec<u16> {
    let mut files = vec![PathBuf::from("/etc/ssh/sshd_config")];
    // Without that folder there are no drop-ins.
    let folder = fs::read_dir("/etc/ssh/sshd_config.d").into_iter().flatten();
    files.extend(folder.flatten().map(|file| file.path()));
    // What this user may not read names no port.
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let mut ports: Vec<u16> = texts.flat_map(|text| ports_of(&text)).collect();
    if ports.is_empty() {
        ports.push(SSH_PORT);
    }
    ports
}

/// `Port 22` and `ListenAddress 192.0.2.1:22` of sshd_config(5).
fn ports_of(text: &str) -> Vec<u16> {
    let port = |line: &str| {
        let (word, value) = line.trim().split_once(char::is_whitespace)?;
        let value = match word.to_ascii_lowercase().as_str() {
            "port" => value,
            "listenaddress" if value.contains("]:") || value.matches(':').count() == 1 => {
                value.rsplit_once(':')?.1
            }
            _ => return None,
        };
        value.split_whitespace().next()?.parse().ok()
    };
    text.lines().filter_map(port).collect()
}

/// The peers of established connections to one of `ports`.
///
/// `sl local_address rem_address st …`, an address as its words of four bytes in the host's order.
fn peers(table: &str, ports: &[u16]) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, peer, state) = (words.next()?, words.next()?, words.next()?);
        let (_, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == ESTABLISHED && ports.contains(&port)).then(|| address(peer.split_once(':')?.0))?
    })
}

fn address(digits: &str) -> Option<IpAddr> {
    let words = digits.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
    }
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
        let addrs: Vec<_> = peers(table, &[22]).map(|it| it.to_string()).collect();
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
