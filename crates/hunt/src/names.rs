//! Finds IPv4 addresses inside the names of hosts, where providers write them: `ip-192-0-2-7`,
//! `7.2.0.192.in-addr.arpa`, `7-2-0-192.dyn.example.net`. Only on demand: a version or a date can
//! look the same.
//!
//! Four numbers up to 255 with the same mark between them, `-` or `.`, with no number on either side
//! and a letter near: in front with a mark or without, or behind with one. Which end of an address
//! comes first, a name does not tell, so both are looked for; in `in-addr.arpa` it is the last.

use std::net::Ipv4Addr;

/// Calls `each` with every address in a name, and the place where it begins.
pub(crate) fn for_each_address(text: &[u8], mut each: impl FnMut(usize, Ipv4Addr)) {
    let mut at = 0;
    while let Some(step) = text[at..].iter().position(u8::is_ascii_digit) {
        let start = at + step;
        let end = start + text[start..].iter().take_while(|it| it.is_ascii_digit()).count();
        at = match quad(text, start) {
            Some((octets, end)) if in_name(text, start, end) => {
                let [a, b, c, d] = octets;
                each(start, Ipv4Addr::new(d, c, b, a));
                if !text[end..].starts_with(b".in-addr.arpa") {
                    each(start, Ipv4Addr::new(a, b, c, d));
                }
                end
            }
            // What is no address from here on may be one from the next number on.
            _ => end,
        };
    }
}

/// Four numbers with the same mark between them, and where they end.
fn quad(text: &[u8], start: usize) -> Option<([u8; 4], usize)> {
    let mut octets = [0; 4];
    let mut at = start;
    let mut mark = None;
    for (n, octet) in octets.iter_mut().enumerate() {
        if n > 0 {
            let found = text.get(at).copied().filter(|it| matches!(it, b'-' | b'.'))?;
            if *mark.get_or_insert(found) != found {
                return None;
            }
            at += 1;
        }
        let n_digits = text[at..].iter().take(4).take_while(|it| it.is_ascii_digit()).count();
        let digits = std::str::from_utf8(&text[at..at + n_digits]).ok()?;
        *octet = digits.parse().ok()?;
        at += n_digits;
    }
    Some((octets, at))
}

/// Whether letters stand beside four numbers, and no fifth number.
fn in_name(text: &[u8], start: usize, end: usize) -> bool {
    let is_mark = |byte: u8| matches!(byte, b'-' | b'.');
    let before = match text[..start] {
        [.., number, mark] if is_mark(mark) && number.is_ascii_digit() => return false,
        [.., letter, mark] if is_mark(mark) => letter.is_ascii_alphabetic(),
        [.., letter] => letter.is_ascii_alphabetic(),
        [] => false,
    };
    let after = match text[end..] {
        [mark, number, ..] if is_mark(mark) && number.is_ascii_digit() => return false,
        [mark, letter, ..] if is_mark(mark) => letter.is_ascii_alphabetic(),
        _ => false,
    };
    before || after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let mut found = Vec::new();
        for_each_address(text.as_bytes(), |_, addr| found.push(addr.to_string()));
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn addresses_in_names() {
        check("ip-192-0-2-7.internal", &["7.2.0.192", "192.0.2.7"]);
        check("7.2.0.192.in-addr.arpa", &["192.0.2.7"]);
        check("from 192-0-2-7.dyn.example.net", &["7.2.0.192", "192.0.2.7"]);
        check("p192.0.2.7.example.net", &["7.2.0.192", "192.0.2.7"]);
        check("192.0.2.7 1-2-3-4 2026-11-22", &[]); // no name
        check("x-1-2-3-4-5 a-1.2-3.4", &[]);
    }
}
