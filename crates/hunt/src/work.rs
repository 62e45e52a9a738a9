//! Parts the search into units: a packed log is one, a plain log as many as it has segments.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::finding::LogId;
use crate::input::{FileId, Input, STDIN};
use crate::packing::{self, Packing};

/// A plain log is parted into segments of so many bytes: small enough for all cores to end
/// together, large enough that beginning one costs nothing.
const SEGMENT_BYTES: u64 = 16 << 20;

/// What one thread does at a time.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) log: LogId,
    pub(crate) part: Part,
}

/// How much of a log.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// All of it, from its beginning to wherever it ends.
    Whole,
    /// The lines that begin from the one byte on and before the other.
    Segment(Arc<File>, u64, u64),
}

/// A part of a log that was searched to its end, for going on later.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Which.
    file: FileId,
    /// From this byte on.
    from: u64,
    /// And before this one.
    to: u64,
}

/// All units that are not begun yet.
pub(crate) struct Queue<'i> {
    inputs: &'i [Input],
    state: Mutex<State>,
}

struct State {
    /// The next log to part.
    next: usize,
    /// Segments of the last one.
    ready: VecDeque<Unit>,
    done: Vec<Done>,
}

impl<'i> Queue<'i> {
    /// Units of `inputs`, but for what was `done` before.
    pub(crate) fn new(inputs: &'i [Input], done: Vec<Done>) -> Self {
        Self { inputs, state: Mutex::new(State { next: 0, ready: VecDeque::new(), done }) }
    }

    /// The next unit; a log that cannot be opened comes with the reason.
    pub(crate) fn next(&self) -> Option<Result<Unit, (LogId, std::io::Error)>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(unit) = state.ready.pop_front() {
                return Some(Ok(unit));
            }
            let log = state.next;
            let input = self.inputs.get(log)?;
            state.next += 1;
            match part(log as LogId, input, &state.done) {
                Ok(units) => state.ready.extend(units),
                Err(error) => return Some(Err((log as LogId, error))),
            }
        }
    }

    /// Notes that a unit was searched to its end.
    pub(crate) fn finish(&self, unit: &Unit) {
        let input = &self.inputs[unit.log as usize];
        let (from, to) = match unit.part {
            Part::Whole => (0, input.size),
            Part::Segment(_, from, to) => (from, to),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.push(Done { file: input.file, from, to });
    }

    /// What was searched to its end.
    pub(crate) fn into_done(self) -> Vec<Done> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).done
    }
}

/// The units of one log that are not done.
fn part(log: LogId, input: &Input, done: &[Done]) -> std::io::Result<Vec<Unit>> {
    let whole = || Unit { log, part: Part::Whole };
    if input.path.as_os_str() == STDIN || input.size == 0 {
        return Ok(vec![whole()]);
    }
    let done: Vec<_> = done.iter().filter(|it| it.file == input.file).collect();
    let file = input.open()?;
    let (packing, _) = packing::tell(&file)?;
    if packing != Packing::Plain {
        let is_done = done.iter().any(|it| it.from == 0 && it.to == input.size);
        return Ok(if is_done { Vec::new() } else { vec![whole()] });
    }
    let file = Arc::new(file);
    let mut units = Vec::new();
    let mut from = 0;
    while from < input.size {
        if let Some(it) = done.iter().find(|it| it.from <= from && from < it.to) {
            from = it.to;
            continue;
        }
        let next_done = done.iter().map(|it| it.from).filter(|it| *it > from).min();
        let to = (from + SEGMENT_BYTES).min(input.size).min(next_done.unwrap_or(u64::MAX));
        units.push(Unit { log, part: Part::Segment(Arc::clone(&file), from, to) });
        from = to;
    }
    Ok(units)
}
