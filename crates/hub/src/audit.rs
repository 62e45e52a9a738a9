//! The audit log: who asked for which change, and what became of it.

use std::fmt::Debug;

use axum::http::Method;

use crate::answer::Answer;
use crate::keys::KeyRecord;

/// Notes a request that may have changed something. `what` is told beside the path, and printed in
/// a way that no text in it can break a line.
pub(crate) fn note(
    holder: &KeyRecord,
    method: &Method,
    target: &str,
    what: &dyn Debug,
    answer: &Answer,
) {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let (key, who, status) = (holder.id, &*holder.name, answer.status.as_u16());
        tracing::info!(key, who, %method, ?target, ?what, status, "asked");
    }
}
