//! Where a log begins to matter: found by its dates, which rise, so that a start need not read what
//! counts no more.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::mark;

/// What is read rather than looked through: it takes a second at most.
const READ_BYTES: u64 = 1 << 20;

/// How much is looked at in one place for a line with a date.
const LOOK_BYTES: u64 = 64 << 10;

/// How far before the place that was found reading begins: the dates of a log rise, but for some
/// lines that were written by several at once.
const SLACK_BYTES: u64 = 64 << 10;

/// The beginning of a line in `part` of `file` before which all lines are old, if dates rise.
/// `is_old` judges one line, and gives `None` where it bears no date; where dates are missing, more
/// is left to be read.
pub(crate) fn begin(
    file: &File,
    part: Range<u64>,
    mut is_old: impl FnMut(&[u8]) -> Option<bool>,
) -> io::Result<u64> {
    let (mut old, mut end) = (part.start, part.end);
    while end.saturating_sub(old) > READ_BYTES {
        let middle = old + (end - old) / 2;
        let bytes = mark::bytes(file, middle..(middle + LOOK_BYTES).min(end))?;
        let lines = whole_lines(&bytes);
        match lines.split_inclusive(|&byte| byte == b'\n').find_map(&mut is_old) {
            Some(true) => old = middle,
            Some(false) => end = middle,
            None => break,
        }
    }
    let begin = old.saturating_sub(SLACK_BYTES).max(part.start);
    if begin == part.start {
        return Ok(begin);
    }
    let bytes = mark::bytes(file, begin..begin + LOOK_BYTES)?;
    let line_end = bytes.iter().position(|&byte| byte == b'\n');
    Ok(line_end.map_or(part.start, |at| begin + at as u64 + 1))
}

/// The lines that begin and end in `bytes`.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let ends = |byte: &u8| *byte == b'\n';
    let first = bytes.iter().position(ends).map_or(bytes.len(), |at| at + 1);
    let last = bytes.iter().rposition(ends).map_or(first, |at| at + 1);
    &bytes[first..last.max(first)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use std::io::Write;

    use super::*;

    /// A log of so many lines, of which `text` makes each; the offsets of all lines.
    fn log(n_lines: u64, text: impl Fn(u64) -> String) -> (File, Vec<u64>) {
        let mut file = std::io::BufWriter::new(tempfile::tempfile().unwrap());
        let (mut offsets, mut offset) = (Vec::new(), 0);
        for n in 0..n_lines {
            let line = text(n);
            file.write_all(line.as_bytes()).unwrap();
            offsets.push(offset);
            offset += line.len() as u64;
        }
        offsets.push(offset);
        (file.into_inner().unwrap(), offsets)
    }

    /// Where reading begins if the lines before number `first` are old.
    #[track_caller]
    fn check(file: &File, offsets: &[u64], from: usize, first: u64) {
        let mut n_looks = 0;
        let is_old = |line: &[u8]| {
            n_looks += 1;
            let number: u64 = str::from_utf8(line).unwrap().split(' ').next()?.parse().ok()?;
            Some(number < first)
        };
        let part = offsets[from]..*offsets.last().unwrap();
        let begin = begin(file, part, is_old).unwrap();
        assert!(offsets.contains(&begin), "{begin} is the beginning of a line");
        let wanted = offsets[(first as usize).clamp(from, offsets.len() - 1)];
        assert!(begin <= wanted, "{begin} is beyond {wanted}");
        let much = READ_BYTES + 2 * SLACK_BYTES;
        assert!(wanted - begin <= much, "{} bytes are read in vain", wanted - begin);
        assert!(n_looks < 2000, "{n_looks} lines are looked at");
    }

    #[test]
    fn finds_the_first_line_that_matters() {
        // Half of the lines bear no date.
        let (file, offsets) = log(200_000, |n| match n % 2 {
            0 => format!("{n} {}\n", "x".repeat(n as usize % 97)),
            _ => "at some other line\n".to_owned(),
        });
        for first in [0, 1, 2, 77_777, 120_000, 199_998, 200_000, 999_999] {
            check(&file, &offsets, 0, first);
            check(&file, &offsets, 100_000, first);
        }
    }

    #[test]
    fn reads_all_where_there_are_no_dates() {
        let (file, offsets) = log(100_000, |_| "nothing but words, again and again\n".to_owned());
        assert_eq!(begin(&file, 0..*offsets.last().unwrap(), |_| None).unwrap(), 0);
        // Nor does one line without an end stop it.
        let (file, _) = log(1, |_| "x".repeat(3 << 20));
        assert_eq!(begin(&file, 0..3 << 20, |_| Some(true)).unwrap(), 0);
    }
}
