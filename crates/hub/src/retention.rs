//! Retention: what is older than the administrator wants to keep is forgotten, little by little.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::store::{Store, StoreError, retention};

/// How often somebody should look: days are kept, an hour more does not matter.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Rows that go in one change: others write in between.
const PORTION: u16 = 2_000;

/// Forgets what is older than `keep`, until nothing is or `stop` turns true.
pub(crate) fn forget(store: &Store, keep: Duration, stop: &watch::Receiver<bool>) {
    match forget_all(store, keep, stop) {
        Ok(0) => {}
        Ok(n_rows) => tracing::info!(n_rows, "forgot what is older than it is to be kept"),
        Err(error) => tracing::error!("what is old is not forgotten: {error}"),
    }
}

fn forget_all(
    store: &Store,
    keep: Duration,
    stop: &watch::Receiver<bool>,
) -> Result<usize, StoreError> {
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let before = Timestamp::now().as_second().saturating_sub(keep);
    let mut n_rows = 0;
    while !*stop.borrow() {
        let n = store.write(move |db| retention::forget(db, before, PORTION))?;
        n_rows += n;
        if n < usize::from(PORTION) {
            break;
        }
    }
    Ok(n_rows)
}
