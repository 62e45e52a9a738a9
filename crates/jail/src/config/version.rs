//! Which fail2ban a folder was written for, as far as the files tell that each release added.

use std::fmt;
use std::path::Path;

use super::Files;

/// A release of fail2ban from which on configuration reads differently.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Version {
    /// 1.0.2, or one that is not known.
    #[default]
    Old,
    /// 1.1.0.
    Newer,
    /// 1.1.1 or later: what a jail gives an option of an action, it gives it for every family.
    Newest,
}

impl Version {
    /// Filters that came with a release, and that none of our own is named for.
    const FILTERS: [(&str, Self); 4] = [
        ("proxmox.conf", Self::Newest),
        ("xrdp.conf", Self::Newest),
        ("dante.conf", Self::Newer),
        ("routeros-auth.conf", Self::Newer),
    ];

    /// The version of the folder `root`.
    pub(super) fn of(files: &dyn Files, root: &Path) -> Self {
        // A folder that cannot be listed is told of where its files are read.
        let filters = files.list(&root.join("filter.d")).unwrap_or_default();
        let there = Self::FILTERS.iter().filter(|(file, _)| filters.iter().any(|it| it == file));
        there.map(|&(_, version)| version).max().unwrap_or_default()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Old => "1.0.2",
            Self::Newer => "1.1.0",
            Self::Newest => "1.1.1",
        })
    }
}
