//! The last lines of a log, for filters that look at several at once (`maxlines`).

/// A line with its date cut out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct CutLine {
    pub(crate) before: String,
    pub(crate) date: String,
    pub(crate) after: String,
}

impl CutLine {
    /// The line as it was written.
    pub(crate) fn whole(&self) -> String {
        format!("{}{}{}", self.before, self.date, self.after)
    }

    fn without_date(&self) -> String {
        format!("{}{}", self.before, self.after)
    }
}

/// Which lines of a buffer a match is in, and which it leaves for later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parted {
    pub(crate) matched: Vec<CutLine>,
    pub(crate) unmatched: Vec<CutLine>,
}

/// The text that expressions search: all lines without their dates, each with its end.
pub(crate) fn join(lines: &[CutLine]) -> String {
    lines.iter().map(|line| line.without_date() + "\n").collect()
}

/// Parts `lines`, of which `text` is the joined text, by the bytes that an expression matched.
///
/// The lines that `<SKIPLINES>` passed over, `skipped`, are between them and yet unmatched.
pub(crate) fn part(lines: &[CutLine], text: &str, span: (usize, usize), skipped: &str) -> Parted {
    if lines.len() <= 1 {
        return Parted { matched: lines.to_vec(), unmatched: Vec::new() };
    }
    let bytes = text.as_bytes();
    let (start, end) = span;
    let up_to_start = &bytes[..(start + 1).min(bytes.len())];
    let first_byte = memchr::memrchr(b'\n', up_to_start).map_or(0, |at| at + 1);
    let from = end.checked_sub(1).unwrap_or(bytes.len().saturating_sub(1));
    let last_byte = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1);
    let count = |to: usize| memchr::memchr_iter(b'\n', &bytes[..to]).count().min(lines.len());
    let (first, last) = (count(first_byte), count(last_byte));
    let mut matched = lines[first..last.max(first)].to_vec();
    let mut unmatched = lines[..first].to_vec();
    let mut done = 0;
    for skip in skipped.split_terminator(ends_line) {
        let place = matched[done..].iter().position(|line| line.without_date() == skip);
        if let Some(offset) = place {
            done += offset;
            unmatched.push(matched.remove(done));
        }
    }
    unmatched.extend_from_slice(&lines[last..]);
    Parted { matched, unmatched }
}

/// What Python's `splitlines` splits at.
fn ends_line(found: char) -> bool {
    matches!(
        found,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}
