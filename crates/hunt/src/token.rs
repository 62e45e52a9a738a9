//! Finds addresses in text, exact by token.
//!
//! An IPv4 address is four numbers up to 255 without leading zeros. No letter, digit or `_` stands
//! next to it, nor beyond a dot next to it: `1.2.3.4` is not in `11.2.3.4`, `1.2.3.4.5` or
//! `v1.2.3.4`, but it is in `1.2.3.4.` and `1.2.3.4:22`.
//!
//! An IPv6 address is the longest run of hexadecimal digits and colons, perhaps with an IPv4
//! address at its end, that [`Ipv6Addr`] reads. Behind a letter that is no such digit it begins
//! after the first colon (`IPv6:2001:db8::1`), and one colon at either end belongs to the sentence.
//! A mapped one (`::ffff:1.2.3.4`) is IPv4. Brackets, ports behind them and zones (`%eth0`) stand
//! outside the run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

/// The longest text of an IPv6 address, `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const MAX_V6_BYTES: usize = 45;

/// Bytes of which the dots and colons are looked at together, a bit for each.
const CHUNK: usize = u64::BITS as usize;

/// Calls `each` with every address in `text` and the place where its token begins.
pub fn for_each_address(text: &[u8], mut each: impl FnMut(usize, IpAddr)) {
    // Most dots and colons stand in names, versions and times. Only where three dots, or four colons,
    // follow each other as closely as an address has them, or two colons stand together, is it worth
    // a look at the letters.
    let mut done = 0;
    let mut next = Marks::of(text, 0);
    for base in (0..text.len()).step_by(CHUNK) {
        let here = std::mem::replace(&mut next, Marks::of(text, base + CHUNK));
        let mut places = here.first_dots(next) | here.colons(next);
        while places != 0 {
            let place = base + places.trailing_zeros() as usize;
            places &= places - 1;
            if place >= done {
                done = match text[place] {
                    b'.' => at_dot(text, place, &mut each),
                    _ => at_colon(text, place, &mut each),
                };
            }
        }
    }
}

/// Where the dots and colons of a chunk are.
#[derive(Clone, Copy)]
struct Marks {
    dots: u64,
    colons: u64,
}

impl Marks {
    #[inline]
    fn of(text: &[u8], base: usize) -> Self {
        let rest = text.get(base..).unwrap_or_default();
        let mut padded = [0; CHUNK];
        let chunk = rest.first_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        Self { dots: places(chunk, b'.'), colons: places(chunk, b':') }
    }

    /// The dots that have two more behind them, as far as an octet is long.
    #[inline]
    fn first_dots(self, next: Self) -> u64 {
        let dots = wide(self.dots, next.dots);
        let near = |marks: u128| marks >> 2 | marks >> 3 | marks >> 4;
        (dots & near(dots & near(dots))) as u64
    }

    /// The colons that are doubled, or have three more behind them, as far as a group is long.
    #[inline]
    fn colons(self, next: Self) -> u64 {
        if self.colons == 0 {
            return 0;
        }
        let colons = wide(self.colons, next.colons);
        let near = |marks: u128| {
            let pairs = marks >> 1 | marks >> 2;
            pairs | pairs >> 2 | marks >> 5
        };
        let chain = near(colons & near(colons & near(colons)));
        (colons & (colons >> 1 | chain)) as u64
    }
}

fn wide(low: u64, high: u64) -> u128 {
    u128::from(high) << u64::BITS | u128::from(low)
}

/// A bit for every place of `byte` in `chunk`.
#[inline]
fn places(chunk: &[u8; CHUNK], byte: u8) -> u64 {
    // Multiplied by this, the lowest bits of eight bytes meet in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let equal = chunk.map(|it| u8::from(it == byte));
    let (words, _none) = equal.as_chunks();
    words.iter().rev().fold(0, |places, word| {
        places << 8 | u64::from_le_bytes(*word).wrapping_mul(GATHER) >> (u64::BITS - 8)
    })
}

/// Looks at the first dot of what may be an IPv4 address, and tells where to go on.
#[inline]
fn at_dot(text: &[u8], dot: usize, each: &mut impl FnMut(usize, IpAddr)) -> usize {
    let Some((start, first)) = octet_before(text, dot) else { return dot + 1 };
    let mut bits = u32::from(first);
    let mut at = dot;
    for _ in 0..3 {
        if text.get(at) != Some(&b'.') {
            return at;
        }
        let Some((octet, len)) = octet(&text[at + 1..]) else { return at + 1 };
        bits = bits << 8 | u32::from(octet);
        at += 1 + len;
    }
    if ends_token(text, at) && begins_token(text, start) {
        let addr = Ipv4Addr::from_bits(bits);
        if start == 0 || text[start - 1] != b':' {
            each(start, IpAddr::V4(addr));
        } else {
            behind_colon(text, start, addr, each);
        }
    }
    at
}

/// Tells of an IPv4 address behind a colon, which may be the end of an IPv6 address.
#[cold]
fn behind_colon(text: &[u8], start: usize, addr: Ipv4Addr, each: &mut impl FnMut(usize, IpAddr)) {
    match v6_around(text, start - 1).parsed {
        Some((start, v6)) => each(start, IpAddr::V6(v6).to_canonical()),
        None => each(start, IpAddr::V4(addr)),
    }
}

/// Looks at a colon of what may be an IPv6 address, and tells where to go on.
#[cold]
fn at_colon(text: &[u8], colon: usize, each: &mut impl FnMut(usize, IpAddr)) -> usize {
    let run = v6_around(text, colon);
    if let Some((start, addr)) = run.parsed {
        each(start, IpAddr::V6(addr).to_canonical());
    }
    run.end
}

/// A run of hexadecimal digits and colons, and the address in it.
struct Run {
    /// Where the address begins, and what it is.
    parsed: Option<(usize, Ipv6Addr)>,
    /// Where to go on: behind it, but in front of an IPv4 address at its end that is no part of it.
    end: usize,
}

/// Reads the IPv6 address around a colon.
fn v6_around(text: &[u8], colon: usize) -> Run {
    let in_run = |byte: &u8| matches!(CLASS[usize::from(*byte)], HEX | COLON);
    let mut start = colon - text[..colon].iter().rev().take_while(|byte| in_run(byte)).count();
    let mut end = colon + text[colon..].iter().take_while(|byte| in_run(byte)).count();
    let none = Run { parsed: None, end };
    if text.get(end) == Some(&b'.') {
        end += text[end..].iter().take_while(|it| it.is_ascii_digit() || **it == b'.').count();
        // A dot at the end is the sentence's.
        end -= text[start..end].iter().rev().take_while(|byte| **byte == b'.').count();
    }
    if start > 0 && is_word(text[start - 1]) {
        match memchr(b':', &text[start..end]) {
            Some(label) => start += label + 1,
            None => return none,
        }
    }
    let (token_start, token_end) = without_colons(text, start, end);
    let Some(token) = text.get(token_start..token_end) else { return none };
    if token.len() > MAX_V6_BYTES
        || !ends_token(text, token_end)
        || !begins_token(text, token_start)
    {
        return none;
    }
    match std::str::from_utf8(token).map(str::parse) {
        Ok(Ok(addr)) => Run { parsed: Some((token_start, addr)), end },
        _ => none,
    }
}

/// A run without the one colon at either end that is the sentence's.
fn without_colons(text: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    if text[start..end].starts_with(b":") && !text[start..end].starts_with(b"::") {
        start += 1;
    }
    if text[start..end].ends_with(b":") && !text[start..end].ends_with(b"::") {
        end -= 1;
    }
    (start, end)
}

/// The IPv4 address that a text is, without anything around it.
pub(crate) fn whole_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let (first, len) = octet(text)?;
    let (mut bits, mut rest) = (u32::from(first), &text[len..]);
    for _ in 0..3 {
        let (octet, len) = octet(rest.strip_prefix(b".")?)?;
        bits = bits << 8 | u32::from(octet);
        rest = &rest[1 + len..];
    }
    rest.is_empty().then(|| Ipv4Addr::from_bits(bits))
}

/// The number that ends before `dot`, and where it begins.
#[inline]
fn octet_before(text: &[u8], dot: usize) -> Option<(usize, u8)> {
    let is_digit = |back: usize| dot >= back && text[dot - back].is_ascii_digit();
    let n_digits = (1..=3).take_while(|back| is_digit(*back)).count();
    let (octet, len) = octet(&text[dot - n_digits..dot])?;
    (len == n_digits).then_some((dot - n_digits, octet))
}

/// The number up to 255 that `text` begins with, and its length.
#[inline]
fn octet(text: &[u8]) -> Option<(u8, usize)> {
    let digit = |at: usize| text.get(at).map(|it| it.wrapping_sub(b'0')).filter(|it| *it < 10);
    let first = digit(0)?;
    let Some(second) = digit(1) else { return Some((first, 1)) };
    if first == 0 {
        return None;
    }
    let two = first * 10 + second;
    let Some(third) = digit(2) else { return Some((two, 2)) };
    let three = u16::from(two) * 10 + u16::from(third);
    u8::try_from(three).ok().map(|three| (three, 3))
}

/// Whether a token may begin at `start`.
#[inline]
fn begins_token(text: &[u8], start: usize) -> bool {
    match text[..start] {
        [.., before, b'.'] => !is_word(before),
        [.., before] => !is_word(before),
        [] => true,
    }
}

/// Whether a token may end at `end`.
#[inline]
fn ends_token(text: &[u8], end: usize) -> bool {
    match text[end..] {
        [b'.', after, ..] => !is_word(after),
        [after, ..] => !is_word(after),
        [] => true,
    }
}

/// Whether a byte belongs to a word, and a number, a name or a version with it.
#[inline]
pub(crate) fn is_word(byte: u8) -> bool {
    matches!(CLASS[usize::from(byte)], HEX | WORD)
}

const OTHER: u8 = 0;
const WORD: u8 = 1;
const HEX: u8 = 2;
const COLON: u8 = 3;

/// What a byte is to an address.
static CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => HEX,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' => WORD,
            b':' => COLON,
            _ => OTHER,
        };
        byte += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for_each_address(text, |_, addr| found.push(addr.to_string()));
        found
    }

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        assert_eq!(found(text.as_bytes()), want, "{text}");
    }

    #[test]
    fn addresses_are_whole_tokens() {
        check("1.2.3.4", &["1.2.3.4"]);
        check("from 192.0.2.7 port 22", &["192.0.2.7"]);
        check("(192.0.2.7) [192.0.2.7]:22 192.0.2.7, 192.0.2.7.", &["192.0.2.7"; 4]);
        check("192.0.2.7:443 192.0.2.7/24 rip=192.0.2.7", &["192.0.2.7"; 3]);
        check("192.0.2.7-192.0.2.9", &["192.0.2.7", "192.0.2.9"]);
        check("11.2.3.45 1.2.3.4.5 1.2.3 1.2.3.4x v1.2.3.4 1.2.3.4_", &["11.2.3.45"]);
        check("01.2.3.4 1.2.3.04 256.1.1.1 1.1.1.256 1.2.3.1234 1234.1.2.3", &[]);
        check("1.2.3.4.example.org host.1.2.3.4", &[]); // a name, not an address
        check("1..2.3.4.5 ..1.2.3.4..", &["2.3.4.5", "1.2.3.4"]);
        check("0.0.0.0 255.255.255.255", &["0.0.0.0", "255.255.255.255"]);
        check("\u{e9}1.2.3.4\u{e9}", &["1.2.3.4"]); // not ASCII, so no word
    }

    #[test]
    fn every_spelling_of_ipv6_is_read() {
        check("2001:db8::1", &["2001:db8::1"]);
        check("2001:0DB8:0000:0000:0000:0000:0000:0001", &["2001:db8::1"]);
        check("2001:db8:1:2:3:4:5:6 x", &["2001:db8:1:2:3:4:5:6"]);
        check("[2001:db8::1]:22 fe80::1%eth0 ::1 ::", &["2001:db8::1", "fe80::1", "::1", "::"]);
        check("IPv6:2001:db8::1 addr:2001:db8::1", &["2001:db8::1"; 2]);
        check("from 2001:db8::1: refused, 2001:db8::2.", &["2001:db8::1", "2001:db8::2"]);
        check("::ffff:192.0.2.7 [::FFFF:192.0.2.7]:1 ::ffff:c000:207", &["192.0.2.7"; 3]);
        check("64:ff9b::192.0.2.7 0:0:0:0:0:ffff:1.2.3.4", &["64:ff9b::c000:207", "1.2.3.4"]);
        check("client:192.0.2.7 at 12:192.0.2.7", &["192.0.2.7"; 2]);
        check("06:05:09 00:11:22:33:44:55 std::deque a::bz 1:2:3:4:5:6:7:8:9", &[]);
        check("2001:db8::1x x2001:db8::1", &["db8::1"]); // behind a label it begins anew
        check("2001:db8::12345 2001:db8::1.443", &[]);
        check("2001:db8::1/64", &["2001:db8::1"]);
    }

    /// A token ends where no word goes on, and a dot is the word's if another character follows.
    #[test]
    fn every_byte_at_either_edge() {
        let holds =
            |text: &[&[u8]], token: &str| found(&text.concat()).iter().any(|it| it == token);
        for byte in 0..=255_u8 {
            let free = !(byte.is_ascii_alphanumeric() || byte == b'_');
            for token in ["192.0.2.7", "2001:db8::7"] {
                let bytes = token.as_bytes();
                assert_eq!(holds(&[bytes, &[byte]], token), free, "{token}, then {byte:#x}");
                assert_eq!(holds(&[bytes, b".", &[byte]], token), free, "{token}., then {byte:#x}");
            }
            let token = b"192.0.2.7";
            assert_eq!(holds(&[&[byte], token], "192.0.2.7"), free, "{byte:#x} in front");
            assert_eq!(holds(&[&[byte], b".", token], "192.0.2.7"), free, "{byte:#x}. in front");
        }
    }

    proptest! {
        #[test]
        fn any_ipv4_address_is_found_between_anything_that_is_no_word(
            bits: u32,
            before in "[^0-9A-Za-z_.:]?",
            after in "[^0-9A-Za-z_.]?",
        ) {
            let addr = Ipv4Addr::from_bits(bits).to_string();
            let text = format!("{before}{addr}{after}");
            prop_assert_eq!(found(text.as_bytes()), vec![addr]);
            prop_assert_eq!(whole_v4(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn any_ipv6_address_is_found_in_any_spelling(
            bits: u128,
            zeros in 0..8_u32,
            at in 0..8_u32,
            upper: bool,
            before in "[^0-9A-Za-z_.:]?",
            after in "[^0-9A-Za-z_.:]?",
        ) {
            let hole = (0..zeros).fold(0, |mask, n| mask | 0xffff_u128 << (16 * ((at + n) % 8)));
            let addr = Ipv6Addr::from_bits(bits & !hole);
            let full: Vec<_> = addr.segments().iter().map(|it| format!("{it:04x}")).collect();
            for spelling in [addr.to_string(), full.join(":")] {
                let spelling = if upper { spelling.to_uppercase() } else { spelling };
                let text = format!("{before}{spelling}{after}");
                let want = IpAddr::V6(addr).to_canonical().to_string();
                prop_assert_eq!(found(text.as_bytes()), vec![want]);
            }
        }

        #[test]
        fn no_text_breaks_it(text in "[0-9a-f:.x \\[\\]-]{0,80}") {
            for_each_address(text.as_bytes(), |at, addr| {
                assert!(at < text.len(), "{addr}");
            });
        }

        #[test]
        fn a_whole_address_is_read_as_by_the_standard_library(text in "[0-9]{0,4}([.][0-9]{0,4}){3}") {
            prop_assert_eq!(whole_v4(text.as_bytes()), text.parse().ok());
        }
    }
}
