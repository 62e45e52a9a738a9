//! Who is logged in at the page: a random token in a cookie, kept here in memory alone.
//!
//! A restart logs everybody out. The cookie is `HttpOnly` and `SameSite=Strict`: no script reads
//! it, and no other site's link or form carries it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};

use ring::digest;

use crate::keys::{Key, KeyRecord, Keys, KeysError};

/// Seconds until one must log in anew: a working day.
const LIFETIME: i64 = 12 * 3_600;

/// Sessions at once; past that the oldest ends.
const MAX_SESSIONS: usize = 1_000;

const COOKIE: &str = "hub_session";

/// The sessions of one hub, by token.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Clone, Copy, Debug)]
struct Session {
    key: u32,
    ends: i64,
}

impl Sessions {
    /// Begins a session, and gives the cookie that carries it.
    pub(crate) fn begin(&self, holder: &KeyRecord, now: i64) -> Result<HeaderValue, KeysError> {
        let token = Key::random()?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, it| it.ends > now);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, it)| it.ends).map(|(it, _)| it.clone());
            oldest.and_then(|it| sessions.remove(&it));
        }
        let session = Session { key: holder.id, ends: now + LIFETIME };
        sessions.insert(token.reveal().to_owned(), session);
        Ok(cookie(token.reveal(), LIFETIME))
    }

    /// Who is logged in with these headers; a revoked key ends its sessions.
    pub(crate) fn holder(
        &self,
        headers: &HeaderMap,
        keys: &Keys,
        now: i64,
    ) -> Result<Option<KeyRecord>, KeysError> {
        let Some(token) = token(headers) else { return Ok(None) };
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(token).copied().filter(|it| it.ends > now);
        drop(sessions);
        session.map_or(Ok(None), |it| keys.numbered(it.key))
    }

    /// What a form of this session carries, so that no other site can send it: the digest of the
    /// token, which the form's reader cannot turn back into a session.
    pub(crate) fn form_token(headers: &HeaderMap) -> Option<String> {
        let digest = digest::digest(&digest::SHA256, token(headers)?.as_bytes());
        Some(digest.as_ref().iter().map(|it| format!("{it:02x}")).collect())
    }

    /// Ends the session of these headers, and gives the cookie that says so.
    pub(crate) fn end(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(token) = token(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
        }
        cookie("", 0)
    }
}

fn cookie(token: &str, seconds: i64) -> HeaderValue {
    let text = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    HeaderValue::from_str(&text).expect("tokens are letters and digits")
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split(';').filter_map(|it| it.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token)
}
