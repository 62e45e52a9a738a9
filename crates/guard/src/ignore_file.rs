//! A file of addresses that are never banned: `ignoreip = file:/path`.
//!
//! Words between white space and commas; what follows `#` or `;` in a line is a comment.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What is read of it at most: some hundred thousand addresses.
const MAX_BYTES: u64 = 4 << 20;

/// The words of the file at `path`.
///
/// # Errors
///
/// When it cannot be read, or is larger than any such list.
pub(crate) fn words(path: &Path) -> io::Result<Vec<String>> {
    let mut text = String::new();
    if File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split(|it: char| it == ',' || it.is_whitespace()));
    Ok(words.filter(|it| !it.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    #[test]
    fn reads_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("friends");
        std::fs::write(&path, "192.0.2.1, 192.0.2.2 # ours\n\n; none\n2001:db8::/32").unwrap();
        assert_eq!(words(&path).unwrap(), ["192.0.2.1", "192.0.2.2", "2001:db8::/32"]);
        assert!(words(folder.path()).is_err());
    }
}
