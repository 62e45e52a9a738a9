//! What administrators allow: addresses and networks that no list names, and why.

use askama::Template;
use axum::http::StatusCode;
use ipnet::IpNet;
use lists::net;

use super::{Page, Sessions, Visit, field, html, when};
use crate::answer::{Answer, Fault};
use crate::keys::KeyRecord;
use crate::store::allowed::{self, Allowed};

/// Letters of a reason: a sentence.
const MAX_REASON: usize = 200;

/// Entries of the list: people write them, and every list is compared with all of them.
const MAX_ENTRIES: usize = 10_000;

#[derive(Template)]
#[template(path = "allowed.html")]
struct AllowList<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    entries: Vec<(Allowed, String)>,
    refused: Option<Refused>,
    token: String,
}

/// Why the form was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("`{0}` is neither an address nor a prefix: write it as 192.0.2.7 or 192.0.2.0/24")]
    Network(String),
    #[error("say why, in at most {MAX_REASON} letters: whoever revokes it will want to know")]
    Reason,
    #[error("{MAX_ENTRIES} entries are the most: allow a network in the place of its addresses")]
    Full,
}

impl Page<'_> {
    /// `/allowed`
    pub(super) fn allow_list(
        &self,
        visit: &Visit<'_>,
        holder: &KeyRecord,
        refused: Option<Refused>,
    ) -> Result<Answer, Fault> {
        let names = self.names()?;
        let named = |it: Allowed| {
            let name = names.get(&it.key).cloned().unwrap_or_default();
            (it, name)
        };
        let status = if refused.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let shown = AllowList {
            organisation: &self.store.organisation.name,
            holder,
            sought: "",
            entries: self.store.read(allowed::list)?.into_iter().map(named).collect(),
            refused,
            token: Sessions::form_token(visit.headers).unwrap_or_default(),
        };
        Ok(html(status, &shown))
    }

    /// `POST /allowed/add`
    pub(super) fn allow(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let refused = match wish(visit, holder) {
            Ok(wish) => {
                let done = self.store.write(move |db| -> Result<_, Fault> {
                    if allowed::list(db)?.len() >= MAX_ENTRIES {
                        return Ok(Err(Refused::Full));
                    }
                    Ok(Ok(wish.put(db)?))
                })?;
                match done {
                    Ok(()) => return Ok(to_list()),
                    Err(refused) => refused,
                }
            }
            Err(refused) => refused,
        };
        self.allow_list(visit, holder, Some(refused))
    }

    /// `POST /allowed/revoke`
    pub(super) fn disallow(&self, visit: &Visit<'_>) -> Result<Answer, Fault> {
        let net = network(visit).map_err(|_| Fault::no_right())?;
        self.store.write(move |db| -> Result<(), Fault> { Ok(allowed::revoke(db, net)?) })?;
        Ok(to_list())
    }
}

fn wish(visit: &Visit<'_>, holder: &KeyRecord) -> Result<Allowed, Refused> {
    let reason = field(visit, "reason").unwrap_or_default();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Refused::Reason);
    }
    Ok(Allowed { net: network(visit)?, reason, key: holder.id, since: visit.now })
}

fn network(visit: &Visit<'_>) -> Result<IpNet, Refused> {
    let text = field(visit, "net").unwrap_or_default();
    net::read(&text).ok_or(Refused::Network(text))
}

fn to_list() -> Answer {
    Answer::redirect(StatusCode::SEE_OTHER, "/allowed")
}

impl Allowed {
    pub(super) fn text(&self) -> String {
        net::write(self.net)
    }

    pub(super) fn date(&self) -> String {
        when(self.since)
    }
}
