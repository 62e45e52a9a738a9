//! What exchange is asked, and answers.

use std::path::Path;

use jail::Subject;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pulled::{BlockListQuestion, BlockListView, SourceStatus};
use crate::{Client, ClientError, Request, Role};

/// What exchange can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExchangeRequest {
    /// Whether it is there.
    Ping,
    /// How it is.
    Status,
    /// What MISP has not confirmed yet, oldest first.
    Outbox {
        /// The most entries to answer with.
        limit: u32,
    },
    /// Try entries again at once, also those that were set aside.
    Retry {
        /// Which; all that were set aside where it is missing.
        ids: Option<Vec<u64>>,
    },
    /// Forget entries: MISP is not told.
    Drop {
        /// Which; all that were set aside where it is missing.
        ids: Option<Vec<u64>>,
    },
    /// Let entries go that wait for approval.
    Approve {
        /// Which; all of them where it is missing.
        ids: Option<Vec<u64>>,
    },
    /// Tell MISP that these are no indicators, whatever was said of them.
    FalsePositive {
        /// Who was banned by mistake.
        subjects: Vec<Subject>,
    },
    /// What would be sent, word by word.
    Preview {
        /// For which entries; for all that wait where it is missing.
        ids: Option<Vec<u64>>,
    },
    /// Tell nobody anything, across restarts too; what comes in waits.
    Pause,
    /// Tell again what waits.
    Resume,
    /// Which of MISP's warninglists names somebody.
    Warned {
        /// Who.
        subject: Subject,
    },
    /// A question about the block lists.
    BlockList(BlockListQuestion),
}

impl Request for ExchangeRequest {
    type Answer = ExchangeAnswer;

    fn allows(&self, role: Role) -> bool {
        role == Role::Operator
    }
}

/// What exchange answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeAnswer {
    /// To [`ExchangeRequest::Ping`].
    Pong,
    /// To [`ExchangeRequest::Status`].
    Status(ExchangeStatus),
    /// To [`ExchangeRequest::Outbox`].
    Outbox(Vec<OutboxEntry>),
    /// To [`ExchangeRequest::Retry`], [`ExchangeRequest::Drop`] and [`ExchangeRequest::Approve`]:
    /// how many entries that changed.
    Changed(u64),
    /// To [`ExchangeRequest::Preview`].
    Preview(Vec<PreviewedCall>),
    /// To [`ExchangeRequest::Warned`]: the list's name, if any names him.
    Warned(Option<String>),
    /// To [`ExchangeRequest::BlockList`].
    BlockList(BlockListView),
    /// To what asks for nothing back.
    Done,
}

/// How exchange is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExchangeStatus {
    /// The release that runs.
    pub version: String,
    /// How far guard's log of bans is taken care of; `None` before the first ban.
    pub place: Option<LogPlace>,
    /// Whether an operator has paused all sharing.
    #[serde(default)]
    pub is_paused: bool,
    /// Reports that wait in the spool.
    pub n_spooled: u64,
    /// Each destination.
    pub destinations: Vec<DestinationStatus>,
    /// Each source of the block lists.
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
}

/// A place in guard's log of bans.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct LogPlace {
    /// Which log.
    pub log: String,
    /// The last number that was taken care of.
    pub number: u64,
}

/// How one destination is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its address, without any secret.
    pub url: String,
    /// What it has not confirmed yet.
    pub depth: u64,
    /// When the oldest of that was accepted.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub oldest: Option<Timestamp>,
    /// What it refused for good and was set aside.
    pub n_set_aside: u64,
    /// What waits for an operator's approval.
    #[serde(default)]
    pub n_in_review: u64,
    /// When it last confirmed anything.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub last_success: Option<Timestamp>,
    /// What it last answered that was no success, and is not mended since.
    pub last_error: Option<String>,
    /// When it is tried next.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub next_try: Option<Timestamp>,
}

/// One entry of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Its number in the outbox.
    pub id: u64,
    /// Where it goes.
    pub destination: String,
    /// Who was banned.
    pub subject: Subject,
    /// In which jail.
    pub jail: String,
    /// When the ban began.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub time: Timestamp,
    /// How often it was tried.
    pub n_tried: u32,
    /// What it waits for.
    #[serde(default)]
    pub state: EntryState,
    /// When it is tried next; `None` where nothing tries it.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub next_try: Option<Timestamp>,
    /// Why it is still here.
    pub why: Option<String>,
}

/// What an entry of the outbox waits for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Its turn.
    #[default]
    Waits,
    /// An operator who looks why it was refused.
    SetAside,
    /// An operator's approval.
    InReview,
}

/// A call to MISP that was not made. Its head is the same for all of them: `Authorization` with the
/// key, `Accept` and `Content-Type: application/json`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PreviewedCall {
    /// Where it would go.
    pub destination: String,
    /// `GET` or `POST`.
    pub method: String,
    /// The address.
    pub url: String,
    /// The JSON that would be posted, byte by byte.
    pub body: Option<String>,
}

/// Exchange, as its callers see it.
#[derive(Debug)]
pub struct ExchangeClient(Client);

impl ExchangeClient {
    /// Connects to the exchange that listens at `path`.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).map(Self)
    }

    /// Whether it answers.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`], here and in all that follows.
    pub fn ping(&mut self) -> Result<(), ClientError> {
        match self.0.ask(&ExchangeRequest::Ping)? {
            ExchangeAnswer::Pong => Ok(()),
            _ => Err(self.0.unexpected()),
        }
    }

    /// How it is.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn status(&mut self) -> Result<ExchangeStatus, ClientError> {
        match self.0.ask(&ExchangeRequest::Status)? {
            ExchangeAnswer::Status(status) => Ok(status),
            _ => Err(self.0.unexpected()),
        }
    }

    /// The name of a warninglist of MISP that names `subject`.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn warned(&mut self, subject: &Subject) -> Result<Option<String>, ClientError> {
        match self.0.ask(&ExchangeRequest::Warned { subject: subject.clone() })? {
            ExchangeAnswer::Warned(list) => Ok(list),
            _ => Err(self.0.unexpected()),
        }
    }

    /// What MISP has not confirmed yet, oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn outbox(&mut self, limit: u32) -> Result<Vec<OutboxEntry>, ClientError> {
        match self.0.ask(&ExchangeRequest::Outbox { limit })? {
            ExchangeAnswer::Outbox(entries) => Ok(entries),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Has entries tried again at once, all that were set aside where none is named; tells how
    /// many.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn retry(&mut self, ids: Option<&[u64]>) -> Result<u64, ClientError> {
        self.changed(&ExchangeRequest::Retry { ids: ids.map(<[_]>::to_vec) })
    }

    /// Has entries forgotten, all that were set aside where none is named; tells how many.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn drop_entries(&mut self, ids: Option<&[u64]>) -> Result<u64, ClientError> {
        self.changed(&ExchangeRequest::Drop { ids: ids.map(<[_]>::to_vec) })
    }

    /// Lets entries go that wait for approval, all of them where none is named; tells how many.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn approve(&mut self, ids: Option<&[u64]>) -> Result<u64, ClientError> {
        self.changed(&ExchangeRequest::Approve { ids: ids.map(<[_]>::to_vec) })
    }

    /// Has MISP told that these are no indicators; when this returns, it will be.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn false_positive(&mut self, subjects: &[Subject]) -> Result<(), ClientError> {
        self.done(&ExchangeRequest::FalsePositive { subjects: subjects.to_owned() })
    }

    /// What would be sent for entries, for all that wait where none is named.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn preview(&mut self, ids: Option<&[u64]>) -> Result<Vec<PreviewedCall>, ClientError> {
        match self.0.ask(&ExchangeRequest::Preview { ids: ids.map(<[_]>::to_vec) })? {
            ExchangeAnswer::Preview(calls) => Ok(calls),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Pauses all sharing, until [`Self::resume`].
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn pause(&mut self) -> Result<(), ClientError> {
        self.done(&ExchangeRequest::Pause)
    }

    /// Shares again, and first what waits.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn resume(&mut self) -> Result<(), ClientError> {
        self.done(&ExchangeRequest::Resume)
    }

    /// Asks about the block lists, or does something about them.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where nothing is pulled.
    pub fn block_lists(
        &mut self,
        question: BlockListQuestion,
    ) -> Result<BlockListView, ClientError> {
        match self.0.ask(&ExchangeRequest::BlockList(question))? {
            ExchangeAnswer::BlockList(view) => Ok(view),
            _ => Err(self.0.unexpected()),
        }
    }

    fn changed(&mut self, request: &ExchangeRequest) -> Result<u64, ClientError> {
        match self.0.ask(request)? {
            ExchangeAnswer::Changed(n) => Ok(n),
            _ => Err(self.0.unexpected()),
        }
    }

    fn done(&mut self, request: &ExchangeRequest) -> Result<(), ClientError> {
        match self.0.ask(request)? {
            ExchangeAnswer::Done => Ok(()),
            _ => Err(self.0.unexpected()),
        }
    }
}
