//! What a table is made of, beside what its sets hold and its counters have counted.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// The frame of a table of ours.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) sets: Vec<String>,
    pub(super) counters: Vec<String>,
    /// Another one once anybody has changed the table, a chain, a rule, or has made a set anew.
    pub(super) digest: u64,
}

impl Frame {
    /// Of a listing by `nft -s -t`.
    pub(super) fn listed(listing: &[u8]) -> Self {
        let text = String::from_utf8_lossy(listing);
        let names = |kind: &str| {
            let name =
                |line: &str| Some(line.trim().strip_prefix(kind)?.strip_suffix(" {")?.to_owned());
            text.lines().filter_map(name).collect()
        };
        Self { sets: names("set "), counters: names("counter "), digest: digest(listing) }
    }
}

/// A number that stands for `parts` and their order.
pub(super) fn digest(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listings() {
        let listing = b"table inet fail2misp {\n\tcounter sshd {\n\t}\n\n\tset addr4-sshd.1 {\n\
            \t\ttype ipv4_addr\n\t}\n\n\tchain input {\n\t\tcounter name \"sshd\" drop\n\t}\n}\n";
        let frame = Frame::listed(listing);
        assert_eq!(
            (frame.sets, frame.counters),
            (vec!["addr4-sshd.1".into()], vec!["sshd".into()])
        );
        assert_ne!(frame.digest, Frame::listed(&listing[1..]).digest);
    }
}
