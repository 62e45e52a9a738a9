//! Whether a client already has what it would get: ETags of lists and feeds.
//!
//! A tag is the digest of a body. Beside it stands for which state of the store it was made; while
//! the store has not changed, a question with the same tag is answered without a look at it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use ring::digest;

use crate::answer::Answer;

/// Files whose tags are kept: each query is a file of its own, and anybody may make up queries.
const MAX_KEPT: usize = 256;

/// Seconds after which a tag is made anew though nothing has changed: entries age out of lists.
const MAX_AGE: i64 = 60;

/// The tags of files, by path and query.
#[derive(Debug, Default)]
pub(crate) struct Tags(Mutex<HashMap<String, Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    generation: u64,
    made: i64,
    tag: HeaderValue,
}

impl Tags {
    /// 304, when the client's tag is known to be that of the file as the store has it now.
    pub(crate) fn unchanged(
        &self,
        target: &str,
        headers: &HeaderMap,
        generation: u64,
        now: i64,
    ) -> Option<Answer> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(target)?;
        let is_current = kept.generation == generation && now - kept.made < MAX_AGE;
        (is_current && asks_for(headers, &kept.tag)).then(|| not_modified(kept.tag.clone()))
    }

    /// Tags an answer that was made for `generation`, and leaves its body away when the client has
    /// it.
    pub(crate) fn tagged(
        &self,
        target: &str,
        headers: &HeaderMap,
        generation: u64,
        now: i64,
        answer: Answer,
    ) -> Answer {
        let digest = digest::digest(&digest::SHA256, &answer.body);
        let digits: String = digest.as_ref()[..16].iter().map(|it| format!("{it:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{digits}\"")).expect("digits in quotes");
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT && !kept.contains_key(target) {
            kept.clear();
        }
        kept.insert(target.to_owned(), Kept { generation, made: now, tag: tag.clone() });
        drop(kept);
        match asks_for(headers, &tag) {
            true => not_modified(tag),
            false => answer.with(header::ETAG, tag).with(header::CACHE_CONTROL, revalidated()),
        }
    }
}

/// A proxy weakens a tag when it packs the body; it names the same file.
fn asks_for(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let asked = headers.get(header::IF_NONE_MATCH).and_then(|it| it.to_str().ok());
    let asked = asked.unwrap_or_default();
    asked.split(',').any(|it| it.trim().trim_start_matches("W/") == tag)
}

fn not_modified(tag: HeaderValue) -> Answer {
    let headers = vec![(header::ETAG, tag), (header::CACHE_CONTROL, revalidated())];
    Answer { status: StatusCode::NOT_MODIFIED, headers, body: Vec::new(), rest: None }
}

/// A copy may be kept, and must be asked about before it is used.
fn revalidated() -> HeaderValue {
    HeaderValue::from_static("private, no-cache")
}
