//! Byte parsers for the forms of dates that most logs have.
//!
//! They read what their template's expression would, and nothing else: wherever the expression
//! could take more of the line, or less, they leave the line to it. A test compares both.

use super::pattern::Years;
use super::stamp::{Moment, Stamp};

/// A form that is read byte by byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hot {
    /// `Jan 23 21:59:59`, as syslog writes it.
    Syslog,
    /// `2005-01-23T21:59:59.981746+02:00` and its kin.
    Iso(Years),
    /// `[31/Oct/2006:09:22:55 +0000]`, after the first bracket of a line, as web servers write it.
    Access(Years),
}

impl Hot {
    /// Bytes behind a date that decide whether it is one.
    pub(crate) const LOOKS_BEYOND: usize = 2;

    /// Whether something of the line stands before the date.
    pub(crate) fn cuts_inside(self) -> bool {
        matches!(self, Self::Access(_))
    }

    /// Where a date of this form can begin in `line`; none where that is not to be told from
    /// ASCII characters alone.
    pub(crate) fn start(self, line: &[u8]) -> Option<usize> {
        match self {
            Self::Syslog | Self::Iso(_) => Some(0),
            Self::Access(_) => Some(first_bracket(line)? + 1),
        }
    }

    /// The date in `line`: where it begins and ends, and what it says.
    pub(crate) fn read(self, line: &[u8]) -> Option<(usize, usize, Moment)> {
        let (start, len, stamp) = match self {
            Self::Syslog => syslog(line).map(|(len, stamp)| (0, len, stamp))?,
            Self::Iso(years) => iso(line, years).map(|(len, stamp)| (0, len, stamp))?,
            Self::Access(years) => {
                let bracket = memchr::memchr(b'[', line)?;
                let (len, stamp) = access(&line[bracket + 1..], years)?;
                (bracket + 1, len, stamp)
            }
        };
        Some((start, start + len, Moment::Civil(stamp)))
    }
}

/// The place of the first `[` of a line, if all before it is ASCII: so near to the beginning that
/// it is found eight bytes at a time before a search for longer ways has begun.
fn first_bracket(line: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let (words, rest) = line.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let differs = word ^ (b'[' as u64 * EACH);
        // The high bit of each byte that is a bracket, at least up to the first one.
        let brackets = differs.wrapping_sub(EACH) & !differs & HIGH;
        let found = brackets | (word & HIGH);
        if found != 0 {
            let first = found.trailing_zeros();
            return (brackets >> first & 1 == 1).then_some(8 * place + first as usize / 8);
        }
    }
    let at = rest.iter().position(|&byte| byte == b'[' || !byte.is_ascii())?;
    (rest[at] == b'[').then_some(8 * words.len() + at)
}

fn syslog(line: &[u8]) -> Option<(usize, Stamp)> {
    const LEN: usize = "Jan 23 21:59:59".len();
    let (stamp, rest) = line.split_at_checked(LEN)?;
    let month = Some(month(&stamp[..3])?);
    let day = match [stamp[4], stamp[5]] {
        [b' ', low] => pair([b'0', low], 1, 9)?,
        digits => pair(digits, 1, 31)?,
    };
    if [stamp[3], stamp[6]] != *b"  " {
        return None;
    }
    let (hour, minute, second) = clock(&stamp[7..], 29)?;
    // A fraction or a year would belong to it, and a letter would change where it ends.
    match rest {
        [] | [b' ', b'\x21'..=b'1' | b'3'..=b'~', ..] => {}
        [found, ..] if found.is_ascii() && !is_word(*found) && !matches!(found, b' ' | b'.') => {}
        _ => return None,
    }
    Some((LEN, Stamp { month, day: Some(day), hour, minute, second, ..Stamp::default() }))
}

fn iso(line: &[u8], years: Years) -> Option<(usize, Stamp)> {
    const LEN: usize = "2005-01-23T21:59:59".len();
    let (stamp, rest) = line.split_at_checked(LEN)?;
    let separator = stamp[4];
    if !matches!(separator, b'-' | b'/' | b'.')
        || stamp[7] != separator
        || !matches!(stamp[10], b'T' | b' ')
    {
        return None;
    }
    let year = year(&stamp[..4], years)?;
    let month = Some(pair([stamp[5], stamp[6]], 1, 12)?);
    let day = Some(pair([stamp[8], stamp[9]], 1, 31)?);
    let (hour, minute, second) = clock(&stamp[11..], 23)?;
    let (n_fraction, rest) = fraction(rest)?;
    let (n_zone, offset) = zone(rest)?;
    let stamp =
        Stamp { year: Some(year), month, day, hour, minute, second, offset, ..Stamp::default() };
    Some((LEN + n_fraction + n_zone, stamp))
}

fn access(line: &[u8], years: Years) -> Option<(usize, Stamp)> {
    const LEN: usize = "31/Oct/2006:09:22:55".len();
    const ZONE_LEN: usize = " +0000".len();
    let (stamp, rest) = line.split_at_checked(LEN)?;
    if [stamp[2], stamp[6], stamp[11]] != *b"//:" {
        return None;
    }
    let day = Some(pair([stamp[0], stamp[1]], 1, 31)?);
    let month = Some(month(&stamp[3..6])?);
    let year = Some(year(&stamp[7..11], years)?);
    let (hour, minute, second) = clock(&stamp[12..], 23)?;
    let (len, offset) = match rest {
        [b']', ..] => (LEN, None),
        [b' ', sign @ (b'+' | b'-'), h1 @ b'0'..=b'1', h0, m1, m0, b']', ..] => {
            let minutes =
                60 * i32::from(pair([*h1, *h0], 0, 19)?) + i32::from(pair([*m1, *m0], 0, 99)?);
            (LEN + ZONE_LEN, Some(if *sign == b'-' { -minutes } else { minutes }))
        }
        _ => return None,
    };
    Some((len, Stamp { year, month, day, hour, minute, second, offset, ..Stamp::default() }))
}

fn year(digits: &[u8], years: Years) -> Option<i16> {
    let [b'2', b'0', decade, year] = *digits else { return None };
    let year = 2000 + i16::from(pair([decade, year], 0, 99)?);
    years.accept(year).then_some(year)
}

/// The length of a fraction of a second, and what follows it.
fn fraction(rest: &[u8]) -> Option<(usize, &[u8])> {
    match rest {
        [b'.' | b',', after @ ..] => match digits(after) {
            0 => Some((0, rest)),
            n @ 1..=6 => Some((n + 1, &after[n..])),
            _ => None,
        },
        _ => Some((0, rest)),
    }
}

/// The length of a zone that follows at once, and its minutes ahead of UTC.
fn zone(rest: &[u8]) -> Option<(usize, Option<i32>)> {
    let (len, offset) = match rest {
        [b'Z', ..] => (1, Some(0)),
        [sign @ (b'+' | b'-'), h1 @ b'0'..=b'1', h0, after @ ..] => {
            let (n_colon, minutes) = match after {
                [b':', m1, m0, ..] => (1, [*m1, *m0]),
                [m1, m0, ..] => (0, [*m1, *m0]),
                _ => return None,
            };
            let minutes =
                60 * i32::from(pair([*h1, *h0], 0, 19)?) + i32::from(pair(minutes, 0, 99)?);
            (5 + n_colon, Some(if *sign == b'-' { -minutes } else { minutes }))
        }
        // A zone may follow a space, or be a word.
        [b' ', b'!'..=b'*' | b','..=b',' | b'.'..=b'F' | b'H'..=b'T' | b'V'..=b'Y', ..] => {
            (0, None)
        }
        [b' ', b'['..=b'~', ..] => (0, None),
        [found, ..] if !found.is_ascii() || is_word(*found) || found.is_ascii_whitespace() => {
            return None;
        }
        [b'+' | b'-' | b'\x0b' | b'\x1c'..=b'\x1f', ..] => return None,
        _ => (0, None),
    };
    match rest.get(len) {
        Some(found) if !found.is_ascii() || (len > 0 && is_word(*found)) => None,
        _ => Some((len, offset)),
    }
}

/// `21:59:59`.
fn clock(text: &[u8], last_hour: i8) -> Option<(i8, i8, i8)> {
    let [h1, h0, b':', m1, m0, b':', s1, s0] = *text else { return None };
    Some((pair([h1, h0], 0, last_hour)?, pair([m1, m0], 0, 59)?, pair([s1, s0], 0, 59)?))
}

/// Two digits that make a number of this range.
fn pair(digits: [u8; 2], least: i8, most: i8) -> Option<i8> {
    if !digits[0].is_ascii_digit() || !digits[1].is_ascii_digit() {
        return None;
    }
    let number = i8::try_from((digits[0] - b'0') * 10 + (digits[1] - b'0')).ok()?;
    (least..=most).contains(&number).then_some(number)
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The month that these three letters mean, the first one large.
fn month(name: &[u8]) -> Option<i8> {
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bracket_is_found_wherever_it_is() {
        #[track_caller]
        fn check(line: &str, want: Option<usize>) {
            assert_eq!(first_bracket(line.as_bytes()), want, "{line}");
        }
        for n_before in 0..20 {
            let before = "a]Z\\ -.".repeat(3)[..n_before].to_owned();
            check(&before, None);
            check(&format!("{before}["), Some(n_before));
            check(&format!("{before}[[é"), Some(n_before));
            check(&format!("{before}[ and [ much [ more"), Some(n_before));
            check(&format!("{before}é[ and much more"), None);
            check(&format!("{before}\u{6db}[[["), None); // its last byte is a bracket's and the high bit
        }
    }
}
