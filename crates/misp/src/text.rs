//! Texts as MISP's database can hold them.
//!
//! MISP 2.5.1 answers 500 to characters beyond the Basic Multilingual Plane (its tables are
//! utf8mb3), to comments past 65,535 bytes and to sources past 255: the item would be lost, and the
//! batch with it.

/// The longest comment, in bytes.
pub const MAX_COMMENT_BYTES: usize = 65_535;
/// The longest source of a sighting, in bytes.
pub const MAX_SOURCE_BYTES: usize = 255;

/// How much of a peer's text is repeated in a message.
const MAX_SHORT_CHARS: usize = 200;

/// A text of a peer for a message: short, on one line, without what moves a terminal.
pub fn short(text: &str) -> String {
    let mut clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = clean.by_ref().take(MAX_SHORT_CHARS).collect();
    if clean.next().is_some() {
        short.push('…');
    }
    short
}

/// Makes of `text` one that MISP can store: without characters beyond U+FFFF, without control
/// characters but line ends and tabs, and at most `max_bytes` long.
pub fn clean(text: &str, max_bytes: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max_bytes));
    for char in text.chars() {
        let char = match char {
            '\n' | '\t' => char,
            _ if char.is_control() => ' ',
            '\u{10000}'.. => char::REPLACEMENT_CHARACTER,
            _ => char,
        };
        if clean.len() + char.len_utf8() > max_bytes {
            break;
        }
        clean.push(char);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, max_bytes: usize, want: &str) {
        assert_eq!(clean(text, max_bytes), want);
    }

    #[test]
    fn cleans() {
        check("jail \"sshd\" on häst\nline 2", 100, "jail \"sshd\" on häst\nline 2");
        check("😀 ok", 100, "\u{fffd} ok"); // beyond utf8mb3
        check("a\0b\x1b[2J", 100, "a b [2J");
        check("häst", 2, "h"); // never half a character
        check("häst", 3, "hä");
    }
}
