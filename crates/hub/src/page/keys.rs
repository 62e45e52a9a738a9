//! The keys: for administrators alone, who make them for hosts and people and revoke them.

use std::collections::HashMap;

use askama::Template;
use axum::http::StatusCode;

use super::{Page, Sessions, Visit, field, html, when};
use crate::answer::{Answer, Fault};
use crate::keys::{Key, KeyRecord, KeysError, Role};
use crate::store::daily;

#[derive(Template)]
#[template(path = "keys.html")]
struct KeyList<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    keys: Vec<Kept>,
    made: Option<Made>,
    token: String,
}

/// A key on record.
struct Kept {
    record: KeyRecord,
    /// When it last brought something.
    last: String,
}

impl Kept {
    fn created(&self) -> String {
        when(self.record.created)
    }

    fn revoked(&self) -> Option<String> {
        self.record.revoked.map(when)
    }
}

/// What became of the form.
pub(super) enum Made {
    /// The key, which is shown this once.
    Key(KeyRecord, Key),
    /// Why there is none.
    Refused(KeysError),
}

impl Page<'_> {
    /// `/keys`
    pub(super) fn key_list(
        &self,
        visit: &Visit<'_>,
        holder: &KeyRecord,
        made: Option<Made>,
    ) -> Result<Answer, Fault> {
        let brought = self.store.read(|db| daily::reporters(db, 0))?;
        let last: HashMap<_, _> = brought.into_iter().map(|it| (it.reporter, it.last)).collect();
        let kept = |record: KeyRecord| {
            let last = last.get(&record.id).copied().map(when).unwrap_or_default();
            Kept { record, last }
        };
        let status = match made {
            Some(Made::Refused(_)) => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        let shown = KeyList {
            organisation: &self.store.organisation.name,
            holder,
            sought: "",
            keys: self.keys.list()?.into_iter().map(kept).collect(),
            made,
            token: Sessions::form_token(visit.headers).unwrap_or_default(),
        };
        Ok(html(status, &shown))
    }

    /// `POST /keys/add`
    pub(super) fn add_key(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let name = field(visit, "name").unwrap_or_default();
        let role = field(visit, "role").and_then(|it| it.parse::<Role>().ok());
        let made = match self.keys.add(&name, role.ok_or_else(Fault::no_right)?) {
            Ok((record, key)) => Made::Key(record, key),
            Err(error @ KeysError::Name(_)) => Made::Refused(error),
            Err(error) => return Err(error.into()),
        };
        self.key_list(visit, holder, Some(made))
    }

    /// `POST /keys/revoke`
    pub(super) fn revoke_key(&self, visit: &Visit<'_>) -> Result<Answer, Fault> {
        let id = field(visit, "id").and_then(|it| it.parse().ok());
        match self.keys.revoke(id.ok_or_else(Fault::no_right)?) {
            // Another administrator was faster: it is revoked all the same.
            Ok(_) | Err(KeysError::Unknown(_)) => {
                Ok(Answer::redirect(StatusCode::SEE_OTHER, "/keys"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
