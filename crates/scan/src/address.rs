//! What an id is, and its canonical form: as fail2ban's `IPAddr` reads it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a failure's id is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdKind {
    /// An address or a prefix, in its canonical form.
    Address,
    /// A host's name: whether it is resolved is for `usedns` to say.
    Name,
    /// Any other id, as the filter caught it.
    Id,
}

/// Reads what a group for addresses caught; `prefix` is what `<CIDR>` did.
///
/// Text that is no address after all (`999.1.1.1`) is an id, as in fail2ban.
pub(crate) fn address(text: &str, prefix: Option<u32>) -> (String, IdKind) {
    if prefix.is_none() && is_canonical_ipv4(text) {
        return (text.to_owned(), IdKind::Address);
    }
    match text.parse::<IpAddr>() {
        Ok(addr) => (canonical(addr, prefix), IdKind::Address),
        Err(_) => (text.to_owned(), IdKind::Id),
    }
}

/// Whether text is an IPv4 address as it is written back: what nearly every id is.
fn is_canonical_ipv4(text: &str) -> bool {
    let (mut n_dots, mut n_digits, mut octet) = (0, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if n_digits < 3 && (n_digits == 0 || octet > 0) => {
                n_digits += 1;
                octet = 10 * octet + u16::from(byte - b'0');
            }
            b'.' if n_dots < 3 && n_digits > 0 && octet < 256 => {
                n_dots += 1;
                (n_digits, octet) = (0, 0);
            }
            _ => return false,
        }
    }
    n_dots == 3 && n_digits > 0 && octet < 256
}

/// Reads an id that may be an address, with a prefix length or a mask, or in brackets.
pub(crate) fn free_form(text: &str) -> (String, IdKind) {
    let inner = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let bare = inner.filter(|inner| !inner.is_empty()).unwrap_or(text);
    let (addr, prefix) = match bare.split_once('/') {
        None => (bare, None),
        Some((addr, prefix)) => match prefix_length(prefix) {
            Some(prefix) => (addr, Some(prefix)),
            None => return (text.to_owned(), IdKind::Id),
        },
    };
    match addr.parse::<IpAddr>() {
        Ok(addr) => (canonical(addr, prefix), IdKind::Address),
        Err(_) => (text.to_owned(), IdKind::Id),
    }
}

/// A prefix length as a number, or as a mask with its ones in front.
fn prefix_length(text: &str) -> Option<u32> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(mask)) => {
            let ones = mask.to_bits().leading_ones();
            (mask.to_bits().count_ones() == ones).then_some(ones)
        }
        Ok(IpAddr::V6(mask)) => {
            let ones = mask.to_bits().leading_ones();
            (mask.to_bits().count_ones() == ones).then_some(ones)
        }
        Err(_) => text.parse().ok(),
    }
}

fn canonical(addr: IpAddr, prefix: Option<u32>) -> String {
    match (addr, prefix) {
        (IpAddr::V4(addr), None) => addr.to_string(),
        (IpAddr::V4(addr), Some(prefix)) => {
            let mask = !u32::MAX.checked_shr(prefix).unwrap_or(0);
            let net = Ipv4Addr::from_bits(addr.to_bits() & mask);
            with_prefix(net.to_string(), prefix, 32)
        }
        (IpAddr::V6(addr), None) => match addr.to_ipv4_mapped() {
            Some(mapped) => mapped.to_string(),
            None => ipv6_text(addr),
        },
        (IpAddr::V6(addr), Some(prefix)) => {
            let mask = !u128::MAX.checked_shr(prefix).unwrap_or(0);
            let net = Ipv6Addr::from_bits(addr.to_bits() & mask);
            with_prefix(ipv6_text(net), prefix, 128)
        }
    }
}

/// fail2ban names no prefix that is the whole address, nor one of no bits at all.
fn with_prefix(net: String, prefix: u32, whole: u32) -> String {
    if (1..whole).contains(&prefix) { format!("{net}/{prefix}") } else { net }
}

/// IPv6 as C's `inet_ntop` writes it: `::102:304` ends in dots.
fn ipv6_text(addr: Ipv6Addr) -> String {
    match addr.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            format!("::{}", Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => addr.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        #[track_caller]
        fn check(text: &str, prefix: Option<u32>, want: &str, kind: IdKind) {
            assert_eq!(address(text, prefix), (want.to_owned(), kind), "{text}");
        }
        check("192.0.2.7", None, "192.0.2.7", IdKind::Address);
        check("192.0.2.7", Some(24), "192.0.2.0/24", IdKind::Address);
        check("192.0.2.7", Some(32), "192.0.2.7", IdKind::Address);
        check("192.0.2.7", Some(64), "192.0.2.7", IdKind::Address); // as there
        check("192.0.2.7", Some(0), "0.0.0.0", IdKind::Address);
        check("2001:DB8::0:1", None, "2001:db8::1", IdKind::Address);
        check("2001:db8::1", Some(32), "2001:db8::/32", IdKind::Address);
        check("::ffff:192.0.2.7", None, "192.0.2.7", IdKind::Address);
        check("::102:304", None, "::1.2.3.4", IdKind::Address);
        check("999.0.2.7", None, "999.0.2.7", IdKind::Id);
    }

    #[test]
    fn reads_free_form_ids() {
        #[track_caller]
        fn check(text: &str, want: &str, kind: IdKind) {
            assert_eq!(free_form(text), (want.to_owned(), kind), "{text}");
        }
        check("[2001:db8::1]", "2001:db8::1", IdKind::Address);
        check("192.0.2.7/255.255.255.0", "192.0.2.0/24", IdKind::Address);
        check("192.0.2.7/24", "192.0.2.0/24", IdKind::Address);
        check("mallory", "mallory", IdKind::Id);
        check("a/b", "a/b", IdKind::Id);
    }
}
