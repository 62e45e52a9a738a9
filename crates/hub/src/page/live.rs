//! The live feed: what came last, looked at anew every few seconds by the browser itself.

use askama::Template;
use axum::http::{HeaderName, HeaderValue, StatusCode};

use super::{Page, html, when};
use crate::answer::{Answer, Fault};
use crate::keys::KeyRecord;
use crate::store::latest::{self, Arrival};

/// Arrivals that are shown.
const ARRIVALS: i64 = 60;

/// Seconds between two looks.
const REFRESH: &str = "5";

#[derive(Template)]
#[template(path = "live.html")]
struct Live<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    arrivals: Vec<(Arrival, String)>,
}

impl Page<'_> {
    /// `/live`
    pub(super) fn live(&self, holder: &KeyRecord) -> Result<Answer, Fault> {
        let names = self.names()?;
        let name = |it: Arrival| {
            let name = names.get(&it.reporter).cloned().unwrap_or_default();
            (it, name)
        };
        let arrivals = self.store.read(|db| latest::arrivals(db, ARRIVALS))?;
        let arrivals = arrivals.into_iter().map(name).collect();
        let organisation = &self.store.organisation.name;
        let answer = html(StatusCode::OK, &Live { organisation, holder, sought: "", arrivals });
        Ok(answer.with(HeaderName::from_static("refresh"), HeaderValue::from_static(REFRESH)))
    }
}

impl Arrival {
    fn when(&self) -> String {
        when(self.time)
    }
}
