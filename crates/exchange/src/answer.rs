//! Answers over the control socket: how it is, what waits, and what an operator does about it.

use std::path::{Path, PathBuf};

use control::exchange::{
    DestinationStatus, EntryState, ExchangeAnswer, ExchangeRequest, ExchangeStatus, LogPlace,
    OutboxEntry,
};
use control::pulled::{BlockListQuestion, BlockListView, SourceStatus};
use control::{Accounts, Refusal, Server, ServerError};
use jail::Subject;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::LOG;
use crate::blocklist::Keeper;
use crate::deliver::{Manner, Shared, lock};
use crate::follow::cause;
use crate::preview::preview;
use crate::report::Report;
use crate::stop::Stop;
use crate::store::{Listed, State, Store, StoreError};
use crate::{spool, state};

/// The most entries of the outbox in one answer.
const MAX_ENTRIES: u32 = 10_000;

/// Answers at `socket` until the server is dropped.
pub(crate) fn listen(
    socket: &Path,
    state: PathBuf,
    store: Shared,
    manner: Manner,
    keeper: Option<Keeper>,
    stop: Stop,
) -> Result<Server, ServerError> {
    let accounts = Accounts::of_host()
        .map_err(|source| ServerError::Io { path: socket.to_owned(), source })?;
    Server::listen(socket, accounts, move |_caller, request| {
        use ExchangeRequest::{Approve, BlockList, FalsePositive, Resume, Retry};
        if let BlockList(question) = request {
            return ask(keeper.as_ref(), question).map(ExchangeAnswer::BlockList);
        }
        let mut answer = answer(&state, &mut lock(&store), &manner, &request);
        if let Ok(ExchangeAnswer::Status(status)) = &mut answer {
            status.sources = sources(keeper.as_ref());
        }
        if matches!(request, Retry { .. } | Approve { .. } | FalsePositive { .. } | Resume) {
            stop.ring();
        }
        answer.map_err(|error| Refusal::Failed(format!("{error}: {}", cause(&error))))
    })
}

fn ask(keeper: Option<&Keeper>, question: BlockListQuestion) -> Result<BlockListView, Refusal> {
    let none = "nothing is pulled; a `[blocklist]` in the configuration switches it on";
    let keeper = keeper.ok_or_else(|| Refusal::Failed(none.to_owned()))?;
    keeper.ask(question).map_err(Refusal::Failed)
}

/// How the sources of the block lists are; a keeper that is busy leaves them out.
pub(crate) fn sources(keeper: Option<&Keeper>) -> Vec<SourceStatus> {
    match ask(keeper, BlockListQuestion::Sources) {
        Ok(BlockListView::Sources(sources)) => sources,
        _ => Vec::new(),
    }
}

fn answer(
    state: &Path,
    store: &mut Store,
    manner: &Manner,
    request: &ExchangeRequest,
) -> Result<ExchangeAnswer, StoreError> {
    Ok(match request {
        ExchangeRequest::Ping => ExchangeAnswer::Pong,
        ExchangeRequest::Status => ExchangeAnswer::Status(status(state, store)?),
        ExchangeRequest::Outbox { limit } => {
            ExchangeAnswer::Outbox(outbox(store, (*limit).min(MAX_ENTRIES))?)
        }
        ExchangeRequest::Retry { ids } => {
            ExchangeAnswer::Changed(store.change(|changes| changes.retry(ids.as_deref()))?)
        }
        ExchangeRequest::Drop { ids } => {
            ExchangeAnswer::Changed(store.change(|changes| changes.forget(ids.as_deref()))?)
        }
        ExchangeRequest::Approve { ids } => {
            ExchangeAnswer::Changed(store.change(|changes| changes.approve(ids.as_deref()))?)
        }
        ExchangeRequest::FalsePositive { subjects } => {
            let now = Timestamp::now();
            let mut mistakes = subjects.iter().map(|it| Report::mistake(it.clone(), now));
            store.change(|changes| {
                mistakes.try_for_each(|it| manner.intake.admit(changes, &it, now))
            })?;
            ExchangeAnswer::Done
        }
        ExchangeRequest::Preview { ids } => {
            ExchangeAnswer::Preview(preview(store, &manner.site, ids.as_deref())?)
        }
        ExchangeRequest::Pause => {
            warn!(target: LOG, "sharing is paused: reports wait until `outbox resume`");
            store.change(|changes| changes.pause(Some(Timestamp::now())))?;
            ExchangeAnswer::Done
        }
        ExchangeRequest::Warned { subject } => {
            ExchangeAnswer::Warned(manner.intake.warnings().hit(subject))
        }
        // Answered by the keeper of the lists.
        ExchangeRequest::BlockList(_) => ExchangeAnswer::Done,
        ExchangeRequest::Resume => {
            info!(target: LOG, "sharing is resumed");
            store.change(|changes| changes.pause(None))?;
            ExchangeAnswer::Done
        }
    })
}

fn status(state: &Path, store: &Store) -> Result<ExchangeStatus, StoreError> {
    let mut destinations = Vec::new();
    for row in store.destinations()? {
        let depth = store.depth(row.id)?;
        destinations.push(DestinationStatus {
            name: row.destination.name,
            url: row.destination.url,
            depth: depth.n_pending,
            oldest: depth.oldest,
            n_set_aside: depth.n_refused,
            n_in_review: depth.n_in_review,
            last_success: row.last_success,
            last_error: row.trouble.why,
            next_try: row.trouble.next_try,
        });
    }
    Ok(ExchangeStatus {
        version: env!("CARGO_PKG_VERSION").into(),
        place: store.place()?.map(|(log, number)| LogPlace { log, number }),
        is_paused: store.is_paused()?,
        // A spool that cannot be read is told of by the thread that takes it.
        n_spooled: spool::used(&state::spool(state)).map_or(0, |used| used.n_records),
        destinations,
        sources: Vec::new(),
    })
}

fn outbox(store: &Store, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
    let names: Vec<(i64, String)> =
        store.destinations()?.into_iter().map(|it| (it.id, it.destination.name)).collect();
    let name = |id| names.iter().find(|(it, _)| *it == id).map(|(_, name)| name.clone());
    let entry = |Listed { row, next_try, state, why }: Listed| OutboxEntry {
        state: match state {
            State::Due => EntryState::Waits,
            State::Refused => EntryState::SetAside,
            State::Review => EntryState::InReview,
        },
        id: row.id.unsigned_abs(),
        destination: name(row.ban.destination).unwrap_or_default(),
        subject: Subject::from(row.ban.value),
        jail: row.ban.jail,
        time: row.ban.time,
        n_tried: row.n_tried,
        next_try,
        why,
    };
    Ok(store.list(limit)?.into_iter().map(entry).collect())
}
