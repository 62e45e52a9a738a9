//! What can make guard act: everything that others send to the one inbox of its loop.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use control::Refusal;
use control::guard::{DisabledJail, GuardAnswer, GuardRequest};
use jail::Failure;
use jail::judge::Reading;

use crate::batch::Batch;
use crate::mark::Progress;
use crate::ready::Ready;

/// Everything that can make guard act.
#[derive(Debug)]
pub(crate) enum Event {
    /// Lines of a log were looked at.
    Read(Batch),
    /// A file is followed, for these sources and their jails; from where, if it was not before.
    Followed { path: PathBuf, sources: Vec<(usize, String)>, begin: Option<Progress> },
    /// The pattern of a jail's source names no file yet.
    Awaited { source: usize, jail: String, pattern: String },
    /// A file cannot be followed, for these sources and their jails.
    Trouble { path: PathBuf, sources: Vec<(usize, String)>, why: String },
    /// The journal cannot be read for these jails.
    JournalTrouble { jails: Vec<String>, why: String },
    /// What a name of `ignoreip` stands for now.
    Resolved { name: String, addrs: Vec<IpAddr> },
    /// What the `ignorecommand` of a failure's jail said of it.
    Judged { failure: Failure, reading: Reading, is_ignored: bool },
    /// Somebody asks at the control socket.
    Asked(GuardRequest, SyncSender<Result<GuardAnswer, Refusal>>),
    /// Other jails, or other rules for them; answered with the names of `ignoreip`.
    Reform(Reform, SyncSender<Result<Vec<String>, Refusal>>),
    /// The end; rules are left in the firewall where a crash is played.
    Stop { leave_rules: bool },
}

/// What guard is to be from now on.
#[derive(Debug, Default)]
pub(crate) struct Reform {
    /// All jails, in their order.
    pub(crate) jails: Vec<Ready>,
    /// Those whose bans are lifted first.
    pub(crate) unbanned: Vec<String>,
    /// Those that are stopped and started although they stay.
    pub(crate) restarted: Vec<String>,
    /// What keeps others from starting, where that is known anew.
    pub(crate) disabled: Option<Vec<DisabledJail>>,
    /// Whether the configuration was read again, which actions may want to know.
    pub(crate) is_reload: bool,
}
