//! Reads logs, ahead where a thread has nothing else to do: it unpacks while another searches.
//!
//! Threads that are out of work wait for an [`Errand`]. Whoever reads a log offers the rest of it
//! before each block, and goes on alone as long as nobody takes it. So there are never more threads
//! at work than were asked for, and the text of a log comes in its order either way.

use std::io::{self, Read};
use std::ops::ControlFlow;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::block::{Block, Blocks};

/// Blocks of a log that another thread reads, a MiB each: one is searched, one is filled, and one
/// more lets neither wait for the other.
const N_BLOCKS: usize = 3;

/// What a log is read from.
pub(crate) type Log<'l> = Box<dyn Read + Send + 'l>;

/// The rest of a log, for whoever has time to read it.
pub(crate) struct Errand<'l> {
    blocks: Blocks<Log<'l>>,
    empty: Receiver<Block>,
    full: Sender<io::Result<Block>>,
}

impl Errand<'_> {
    /// Reads until the log ends or fails, or nobody wants more of it.
    pub(crate) fn run(mut self) {
        for mut block in self.empty {
            let read = match self.blocks.next(&mut block) {
                Ok(false) => return,
                read => read.map(|_| block),
            };
            let is_over = read.is_err();
            if self.full.send(read).is_err() || is_over {
                return;
            }
        }
    }
}

/// Calls `each` with the blocks of `log`, in their order, and offers their reading to `idle`.
pub(crate) fn read<'l>(
    log: Log<'l>,
    idle: &Sender<Errand<'l>>,
    mut each: impl FnMut(&Block) -> ControlFlow<()>,
) -> io::Result<()> {
    let ((done, empty), (full, ready)) = (bounded(N_BLOCKS), bounded(N_BLOCKS));
    let mut errand = Errand { blocks: Blocks::new(log), empty, full };
    let mut block = Block::default();
    while let Err(nobody) = idle.try_send(errand) {
        errand = nobody.into_inner();
        if !errand.blocks.next(&mut block)? || each(&block).is_break() {
            return Ok(());
        }
    }
    let spare = (1..N_BLOCKS).map(|_| Block::default());
    for block in spare.chain([block]) {
        // It fails where the log has ended already, and then no block is needed.
        let _ = done.send(block);
    }
    for block in ready {
        let block = block?;
        if each(&block).is_break() {
            break;
        }
        // As above.
        let _ = done.send(block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use std::thread;

    use super::*;

    /// The text of a log and how it ends, read alone or by a thread that waits for that.
    fn text_of(log: impl Read + Send, has_helper: bool) -> (Vec<u8>, Option<String>) {
        let (idle, errands) = bounded::<Errand<'_>>(0);
        let mut text = Vec::new();
        let end = thread::scope(|scope| {
            if has_helper {
                scope.spawn(|| errands.iter().for_each(Errand::run));
            }
            let end = read(Box::new(log), &idle, |block| {
                text.extend_from_slice(block.text());
                ControlFlow::Continue(())
            });
            drop(idle);
            end
        });
        (text, end.err().map(|error| error.to_string()))
    }

    /// Some text, then a failure.
    struct Broken<'t>(&'t [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(io::Error::other("it is damaged")),
                n_bytes => Ok(n_bytes),
            }
        }
    }

    #[test]
    fn a_log_is_the_same_whoever_reads_it() {
        let text = b"a line of some length, and not of the same as a block\n".repeat(100_000);
        for has_helper in [false, true] {
            assert!(text_of(&text[..], has_helper) == (text.clone(), None), "{has_helper}");
            let (read, end) = text_of(Broken(&text), has_helper);
            assert!(read == text, "what comes before the damage counts");
            assert_eq!(end.as_deref(), Some("it is damaged"));
            assert_eq!(text_of(&b""[..], has_helper), (Vec::new(), None));
        }
    }

    #[test]
    fn whoever_wants_no_more_ends_the_reading() {
        let (idle, errands) = bounded::<Errand<'_>>(0);
        let mut n_blocks = 0;
        thread::scope(|scope| {
            scope.spawn(|| errands.iter().for_each(Errand::run));
            let end = read(Box::new(io::repeat(b'\n')), &idle, |_| {
                n_blocks += 1;
                if n_blocks < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            drop(idle);
            end.unwrap();
        });
        assert_eq!(n_blocks, 10);
    }
}
