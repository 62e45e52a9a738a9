//! What to do next about one log, from what is seen of it. No I/O.

use crate::mark::FileId;

/// Where one log stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// No file is open.
    Waiting,
    /// A file is open.
    Reading {
        /// Which.
        file: FileId,
        /// How many of its bytes were read.
        done: u64,
    },
}

/// What is seen of a log at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The file that the path names now.
    pub(super) named: Option<FileId>,
    /// The size of the file that is open; 0 where none is.
    pub(super) size: u64,
    /// Whether the open file still begins as it did.
    pub(super) same_head: bool,
    /// Whether the open file still has a name anywhere.
    pub(super) linked: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing until something happens.
    Idle,
    /// Open the file that the path names.
    Open,
    /// Read the open file from here to there.
    Read {
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// The open file was overwritten: forget its unfinished line, begin anew.
    Restart,
    /// The open file is read to its end and has been replaced: put it aside, late lines may come.
    Retire,
    /// The open file is read to its end and no name leads to it any more: close it.
    Close,
}

impl State {
    /// Advances on what is seen.
    pub(super) fn next(self, seen: Seen) -> (Self, Step) {
        match (self, seen.named) {
            (Self::Waiting, None) => (self, Step::Idle),
            (Self::Waiting, Some(_)) => (self, Step::Open),
            // Truncated in place, as logrotate's copytruncate does; its first bytes tell that
            // even where the file has outgrown its old size since.
            (Self::Reading { file, done }, _) if seen.size < done || !seen.same_head => {
                (Self::Reading { file, done: 0 }, Step::Restart)
            }
            // To its end before any other file is opened: a writer may hold it after a rename.
            (Self::Reading { file, done }, _) if seen.size > done => {
                (Self::Reading { file, done: seen.size }, Step::Read { from: done, to: seen.size })
            }
            (Self::Reading { file, .. }, Some(named)) if named == file => (self, Step::Idle),
            (Self::Reading { .. }, Some(_)) => (Self::Waiting, Step::Retire),
            // Renamed, and the next one is not there yet.
            (Self::Reading { .. }, None) if seen.linked => (self, Step::Idle),
            (Self::Reading { .. }, None) => (Self::Waiting, Step::Close),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: FileId = FileId { dev: 1, ino: 1 };
    const NEW: FileId = FileId { dev: 1, ino: 2 };

    fn reading(done: u64) -> State {
        State::Reading { file: OLD, done }
    }

    #[track_caller]
    fn check(state: State, named: Option<FileId>, size: u64, want: (State, Step)) {
        let seen = Seen { named, size, same_head: true, linked: true };
        assert_eq!(state.next(seen), want, "{state:?} {named:?} {size}");
    }

    #[test]
    fn answers_every_case() {
        check(State::Waiting, None, 0, (State::Waiting, Step::Idle));
        check(State::Waiting, Some(NEW), 0, (State::Waiting, Step::Open));
        check(reading(5), Some(OLD), 5, (reading(5), Step::Idle));
        check(reading(5), Some(OLD), 9, (reading(9), Step::Read { from: 5, to: 9 }));
        check(reading(5), Some(OLD), 4, (reading(0), Step::Restart));
        // Renamed: its late lines go first.
        check(reading(5), Some(NEW), 9, (reading(9), Step::Read { from: 5, to: 9 }));
        check(reading(9), Some(NEW), 9, (State::Waiting, Step::Retire));
        check(reading(9), None, 9, (reading(9), Step::Idle));
        check(reading(5), None, 9, (reading(9), Step::Read { from: 5, to: 9 }));
    }

    #[test]
    fn knows_a_file_by_its_beginning() {
        let seen = Seen { named: Some(OLD), size: 900, same_head: false, linked: true };
        assert_eq!(reading(5).next(seen), (reading(0), Step::Restart)); // outgrown since
    }

    #[test]
    fn lets_go_of_a_deleted_file() {
        let seen = Seen { named: None, size: 5, same_head: true, linked: false };
        assert_eq!(reading(5).next(seen), (State::Waiting, Step::Close));
        let late = Seen { size: 7, ..seen };
        assert_eq!(reading(5).next(late), (reading(7), Step::Read { from: 5, to: 7 }));
    }
}
