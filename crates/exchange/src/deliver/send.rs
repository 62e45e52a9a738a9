//! Sends a batch, and finds the one item in it that a server cannot digest.

use misp::{Client, MispError, Outage, Refusal};

use super::{Broken, Deliverer, MAX_BATCH};

/// Steps with a smaller batch before a larger one is tried: one that times out costs a minute.
const CAREFUL_STEPS: u32 = 50;

/// What became of an item that was sent.
pub(super) enum Sent {
    Answered(Result<(), Refusal>),
    /// The server fails at this item alone, for this reason.
    Suspect(String),
    /// Nothing is wrong with the item; an administrator has to act first.
    NotAllowed(String),
}

impl Deliverer {
    /// Sends items in one call, and in halves where the server fails at them and not at others,
    /// down to the one that it fails at.
    pub(super) fn send<T>(
        &mut self,
        items: &[T],
        call: impl Fn(&Client, &[T]) -> Result<Vec<Result<(), Refusal>>, MispError> + Copy,
    ) -> Result<Vec<Sent>, Broken> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let error = match call(self.client()?, items) {
            Ok(answers) => return Ok(answers.into_iter().map(Sent::Answered).collect()),
            Err(MispError::Refused { why, .. }) if items.len() == 1 => {
                return Ok(vec![Sent::Answered(Err(why))]);
            }
            Err(error) => error,
        };
        let Some(too_much) = blames_the_batch(&error) else { return Err(error.into()) };
        // A server that is away fails here as well, and then nothing is wrong with the items.
        self.client()?.version()?;
        if items.len() == 1 {
            return Ok(vec![Sent::Suspect(error.to_string())]);
        }
        let (first, second) = items.split_at(items.len() / 2);
        if too_much == TooMuch::Size {
            self.batch = first.len();
            self.n_careful = CAREFUL_STEPS;
        }
        let mut sent = self.send(first, call)?;
        sent.extend(self.send(second, call)?);
        Ok(sent)
    }

    /// Tries a larger batch, some steps after one was too large.
    pub(super) fn grow_batch(&mut self) {
        match self.n_careful.checked_sub(1) {
            Some(left) => self.n_careful = left,
            None => self.batch = (self.batch * 2).min(MAX_BATCH),
        }
    }
}

/// What there may be too much of in a batch that a server fails at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TooMuch {
    /// Bytes or time: smaller calls do better.
    Size,
    /// One item that it cannot digest.
    Poison,
}

fn blames_the_batch(error: &MispError) -> Option<TooMuch> {
    match error {
        MispError::Later { why, .. } => match why {
            Outage::TooLarge | Outage::TimedOut(_) => Some(TooMuch::Size),
            Outage::Broken { .. } | Outage::CutShort(_) | Outage::Unaccounted(_) => {
                Some(TooMuch::Poison)
            }
            Outage::Unreachable(_) | Outage::RateLimited { .. } | Outage::NotMisp { .. } => None,
        },
        MispError::Refused { .. } => Some(TooMuch::Poison),
        MispError::Misconfigured { .. } => None,
    }
}
