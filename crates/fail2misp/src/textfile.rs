//! Guard's numbers in a file, for node_exporter's textfile collector, where no exchange serves them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use control::guard::{GuardClient, GuardMetrics};
use control::metrics::Page;
use tracing::warn;

/// How often the file is written: as often as Prometheus looks by default, more would be unseen.
const EVERY: Duration = Duration::from_secs(15);

/// How often guard is asked while it does not answer: it may be starting.
const SOON: Duration = Duration::from_secs(1);

/// Writes the file until it is dropped; then the file says that guard is down.
pub(crate) struct Textfile {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Textfile {
    /// Writes what the guard at `socket` counts into `path`.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(crate) fn start(path: PathBuf, socket: PathBuf) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let work = move || {
            let mut trouble = None;
            loop {
                let guard = ask(&socket);
                write(&path, guard.as_ref(), &mut trouble);
                match stopped.recv_timeout(if guard.is_some() { EVERY } else { SOON }) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            write(&path, None, &mut trouble);
        };
        let thread = thread::Builder::new().name("textfile".to_owned()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Textfile {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been said by the panic itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What guard counts; `None` where it does not answer.
fn ask(socket: &Path) -> Option<GuardMetrics> {
    GuardClient::connect(socket).and_then(|mut guard| guard.metrics()).ok()
}

/// Writes the page; says why it cannot be, unless that was said last.
fn write(path: &Path, guard: Option<&GuardMetrics>, trouble: &mut Option<String>) {
    let mut page = Page::default();
    page.guard(guard);
    match replace(path, &page.into_text()) {
        Ok(()) => *trouble = None,
        Err(error) => {
            let why = error.to_string();
            if trouble.as_ref() != Some(&why) {
                warn!(
                    "`{}` cannot be written: {why}; make its folder writable, or change \
                     `metrics.textfile`",
                    path.display()
                );
                *trouble = Some(why);
            }
        }
    }
}

/// Puts `text` into `path` in one step: the collector must never read half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut next = path.to_owned();
    // The collector reads files that end in .prom, and not this one.
    next.as_mut_os_string().push(".next");
    fs::write(&next, text)?;
    fs::rename(&next, path)
}
