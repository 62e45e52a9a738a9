//! A log that is open: a file, or a FIFO, which is read as it comes and has no place to go back to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::OFlags;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::lines::Lines;
use crate::mark::{self, FileId, HEAD_BYTES, Mark};

/// How much of what was dealt with in the last life is shown to the filters again, so that they
/// remember the connections that were open then.
const RECALL_BYTES: u64 = 64 << 10;

/// Descriptors that are left for all else: files that were rotated away, the database, the socket and
/// who is connected to it, programs.
const SPARE_DESCRIPTORS: usize = 256;

/// File systems of other machines, by the numbers of statfs(2): the kernel tells nothing of what is
/// written there by others. NFS, SMB, CIFS, SMB2, 9P, Ceph, AFS, and FUSE, which may be any of them.
const REMOTE: [u32; 8] =
    [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x00C3_6400, 0x5346_414F, 0x6573_5546];

/// How many files can be open for long, at most `wanted`. systemd gives a service 1,024 descriptors,
/// and lets it have more.
pub(super) fn room_for(wanted: usize) -> usize {
    let mut limits = getrlimit(Resource::Nofile);
    let needed = (wanted + SPARE_DESCRIPTORS) as u64;
    if limits.current.is_some_and(|it| it < needed) {
        limits.current = Some(limits.maximum.map_or(needed, |it| it.min(needed)));
        // Where that is refused, fewer files are followed.
        let _ = setrlimit(Resource::Nofile, limits);
    }
    let n_open = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |it| it as usize);
    n_open.saturating_sub(SPARE_DESCRIPTORS).max(n_open / 2).min(wanted)
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    pub(super) id: FileId,
    pub(super) done: u64,
    pub(super) head: Vec<u8>,
    pub(super) lines: Lines,
    /// Whether it is a FIFO.
    pub(super) is_stream: bool,
    /// Whether the kernel may not tell of what is written to it.
    pub(super) is_remote: bool,
    /// Whether nobody was asked yet where reading begins.
    pub(super) is_new: bool,
    /// Whether some of it was read in this life.
    pub(super) is_read: bool,
    /// Since when it is read from its beginning.
    pub(super) begun: SystemTime,
    /// Whether it was a file without a line when it was opened.
    pub(super) was_empty: bool,
}

impl Open {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let is_stream = path.metadata()?.file_type().is_fifo();
        // A FIFO must not make the follower wait for its writer, nor end with each of them: it does
        // neither where we could write, too.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).write(is_stream).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            let name = path.display();
            let why = format!("it is a directory; name the files in it, as in `{name}/*.log`");
            return Err(io::Error::other(why));
        }
        if !metadata.is_file() && !is_stream {
            return Err(io::Error::other("it is neither a file nor a FIFO"));
        }
        // The type is as wide as the system's C has it; the numbers are 32 bits.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let is_remote =
            rustix::fs::fstatfs(&file).is_ok_and(|it| REMOTE.contains(&(it.f_type as u32)));
        Ok(Self {
            file,
            id: FileId::of(&metadata),
            done: 0,
            head: Vec::new(),
            lines: Lines::default(),
            is_stream,
            is_remote,
            is_new: true,
            is_read: false,
            begun: SystemTime::now(),
            was_empty: !is_stream && metadata.len() == 0,
        })
    }

    /// How many bytes there are, what was read of a FIFO among them.
    pub(super) fn size(&self) -> io::Result<u64> {
        match self.is_stream {
            true => Ok(self.done + rustix::io::ioctl_fionread(&self.file)?),
            false => Ok(self.file.metadata()?.len()),
        }
    }

    /// Reads the last whole lines before the place where reading begins.
    pub(super) fn recall(&self) -> io::Result<Vec<u8>> {
        let from = self.done.saturating_sub(RECALL_BYTES);
        let mut lines = mark::bytes(&self.file, from..self.done)?;
        let is_end = |&byte: &u8| byte == b'\n';
        if from > 0 {
            let end = lines.iter().position(is_end);
            lines.drain(..end.map_or(lines.len(), |end| end + 1));
        }
        lines.truncate(lines.iter().rposition(is_end).map_or(0, |end| end + 1));
        Ok(lines)
    }

    /// Whether this is the file that `mark` speaks of: the same one, or a copy of it that shares
    /// its whole first line.
    pub(super) fn is_the_one_of(&self, mark: &Mark) -> io::Result<bool> {
        let telling = mark.file == self.id || mark.head.contains(&b'\n');
        let size = self.file.metadata()?.len();
        Ok(telling && mark.offset <= size && mark::begins_with(&self.file, &mark.head)?)
    }

    /// Reads on, at most to `to`; returns how many bytes. Of a file that is overwritten meanwhile, it
    /// reads none.
    pub(super) fn fill(&mut self, from: u64, to: u64) -> io::Result<u64> {
        let n_left = to.saturating_sub(from);
        let Self { file, head, lines, .. } = self;
        let n_read = match self.is_stream {
            true => lines.fill(n_left, |room| (&*file).read(room))?,
            false => lines.fill(n_left, |room| {
                let n_read = file.read_at(room, from)?;
                if !mark::begins_with(file, head)? {
                    return Ok(0);
                }
                if let Some(known) = (head.len() as u64).checked_sub(from) {
                    let new = room[..n_read].iter().skip(usize::try_from(known).unwrap_or(n_read));
                    head.extend(new.take(HEAD_BYTES - head.len()));
                }
                Ok(n_read)
            })?,
        };
        self.done = from + n_read;
        self.is_read |= n_read > 0;
        Ok(n_read)
    }

    /// Learns the first bytes of what was dealt with in another life, to know the file again.
    pub(super) fn learn_head(&mut self) -> io::Result<()> {
        if self.is_stream {
            return Ok(());
        }
        let n_known = usize::try_from(self.done).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        if self.head.len() < n_known {
            self.head = mark::first_bytes(&self.file, n_known)?;
        }
        Ok(())
    }

    /// How far the file is dealt with once its whole lines are; what a FIFO told is gone.
    pub(super) fn mark(&self, path: &Path) -> Option<Mark> {
        let offset = self.done - self.lines.n_unfinished();
        let (file, head) = (self.id, self.head.clone());
        (!self.is_stream).then(|| Mark { path: path.to_owned(), file, head, offset })
    }

    pub(super) fn restart(&mut self) {
        self.done = 0;
        self.is_read = false;
        self.begun = SystemTime::now();
        self.head.clear();
        self.lines = Lines::default();
    }
}
