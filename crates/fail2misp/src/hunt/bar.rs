//! Shows on standard error how far a search is, if that is a terminal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hunt::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often it is drawn; more is a flicker.
const EVERY: Duration = Duration::from_millis(100);

/// A bar that moves until it is ended.
pub(super) struct Bar {
    bar: ProgressBar,
    drawing: Option<JoinHandle<()>>,
}

/// Draws how far `progress` is on the way to `total` bytes.
pub(super) fn show(progress: &Arc<Progress>, total: u64) -> Bar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if bar.is_hidden() {
        return Bar { bar, drawing: None };
    }
    let form = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}";
    bar.set_style(
        ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (drawn, progress) = (bar.clone(), Arc::clone(progress));
    let drawing = std::thread::spawn(move || {
        while !drawn.is_finished() {
            drawn.set_position(progress.bytes.load(Ordering::Relaxed));
            drawn.set_message(format!("{} hits", progress.hits.load(Ordering::Relaxed)));
            std::thread::park_timeout(EVERY);
        }
    });
    Bar { bar, drawing: Some(drawing) }
}

impl Bar {
    /// Takes the bar off the screen.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
        if let Some(drawing) = self.drawing {
            drawing.thread().unpark();
            // A bar that could not be drawn is no reason to lose the answer.
            let _ = drawing.join();
        }
    }
}
