//! Logs whose patterns are the same ones: a file that goes by several of their names, at once by links
//! or one after the other by rotation, is read once.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Follower, Log};
use crate::mark::{FileId, Mark};

/// What a path names, and what is known of it.
pub(super) struct Found {
    /// How far it was dealt with, or the file that had the name before.
    pub(super) mark: Option<Mark>,
    /// Whether nobody remembers how far the path was read.
    pub(super) is_new: bool,
    /// The files that are read by other names.
    pub(super) of_others: Vec<FileId>,
}

impl Follower {
    /// What `path` names now; nothing where there is no such file, or it is read by another name.
    pub(super) fn found(&mut self, path: &Path) -> Option<Found> {
        let file = named(path)?;
        if self.kin(path).any(|(other, log)| log.reads(file) && named(other) == Some(file)) {
            return None;
        }
        let Log { sources, is_begun, .. } = self.logs.get(path)?;
        let (sources, is_begun) = (sources.clone(), *is_begun);
        let mut kin = self.logs.values_mut().filter(|it| it.sources == sources);
        let left = kin.find_map(|log| log.let_go(file, path));
        let own = if is_begun || left.is_some() { None } else { self.marks.remove(path) };
        let is_new = own.is_none() && !is_begun;
        // A name that leads nowhere any more may be another one of his.
        let is_kin = |it: &&Mark| self.logs.get(&it.path).is_none_or(|log| log.sources == sources);
        let marks = || self.marks.values().filter(|it| it.path != path).filter(is_kin);
        let renamed = marks().filter(|it| it.file == file && is_new).max_by_key(|it| it.offset);
        let renamed = renamed.map(|it| Mark { path: path.to_owned(), ..it.clone() });
        let open = self.kin(path).filter_map(|(_, log)| Some(log.open.as_ref()?.id));
        let of_others = open.chain(marks().map(|it| it.file)).collect();
        Some(Found { mark: left.or(own).or(renamed), is_new, of_others })
    }

    /// The other logs that the same sources name.
    fn kin(&self, path: &Path) -> impl Iterator<Item = (&PathBuf, &Log)> {
        let sources = self.logs.get(path).map(|log| &log.sources);
        self.logs.iter().filter(move |(other, log)| *other != path && Some(&log.sources) == sources)
    }
}

impl Log {
    fn reads(&self, file: FileId) -> bool {
        self.open.as_ref().is_some_and(|it| it.id == file)
    }

    /// Gives up a file that has another name now; returns how far it was dealt with.
    fn let_go(&mut self, file: FileId, path: &Path) -> Option<Mark> {
        let place = self.retired.iter().position(|it| it.open.id == file);
        let open = match place {
            Some(place) => Some(self.retired.remove(place).open),
            None => self.open.take_if(|it| it.id == file),
        };
        open?.mark(path)
    }
}

fn named(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|it| FileId::of(&it))
}
