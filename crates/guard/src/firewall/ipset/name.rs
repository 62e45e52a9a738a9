//! The names of our sets: `f2m4-2-0-sshd` is the second generation's of the first jail, `sshd`.

use super::family::Family;

/// What ipset takes in a name (`IPSET_MAXNAMELEN`, less the zero).
const MAX_NAME: usize = 31;

/// What a name says that is one of ours. The jail in it is for people: it may be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Name {
    pub(super) family: Family,
    pub(super) generation: u32,
    /// The place of the jail among all.
    pub(super) place: usize,
}

impl Name {
    pub(super) fn with(self, jail: &str) -> String {
        let Self { family, generation, place } = self;
        let plain = |it: char| if it.is_ascii_alphanumeric() { it } else { '-' };
        let jail = jail.chars().map(plain);
        let name = format!("f2m{}-{generation}-{place}-", family.digit());
        name.chars().chain(jail).take(MAX_NAME).collect()
    }

    pub(super) fn read(name: &str) -> Option<Self> {
        let mut words = name.splitn(4, '-');
        let family = match words.next()? {
            "f2m4" => Family::V4,
            "f2m6" => Family::V6,
            _ => return None,
        };
        let generation = words.next()?.parse().ok()?;
        Some(Self { family, generation, place: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_short_and_read_back() {
        let name = Name { family: Family::V6, generation: u32::MAX, place: 1234 };
        for jail in ["sshd", "böse; destroy", "a-very-long-name-that-no-set-can-have"] {
            let text = name.with(jail);
            assert!(
                text.is_ascii() && text.len() <= MAX_NAME && !text.contains([' ', ';']),
                "{text}"
            );
            assert_eq!(Name::read(&text), Some(name), "{text}");
        }
        assert_eq!(Name { generation: 2, place: 0, ..name }.with("sshd"), "f2m6-2-0-sshd");
        assert_eq!(Name::read("somebody-elses"), None);
    }
}
