//! What guard is asked, and answers.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use jail::{Ban, BanTime, Failure, NumberedBan, Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::block_list::{
    BlockEntry, BlockListAnswer, BlockListRequest, BlockListStatus, MAX_BLOCK_STEP,
};
use crate::config::{ConfigRequest, JailChange, JailOption, Reload};
use crate::look_back::{HitOutcome, LookBackAnswer, LookBackRequest};
use crate::metrics::Histogram;
use crate::{Client, ClientError, Request, Role};

/// The jails that a decoy may report failures for begin with this.
const DECOY_JAILS: &str = "decoy-";

/// What guard can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum GuardRequest {
    /// Whether it is there.
    Ping,
    /// How it is.
    Status,
    /// How one jail is.
    JailStatus {
        /// The jail.
        jail: String,
    },
    /// Who is banned now, in every jail; only these subjects where any are named.
    Banned {
        /// The subjects, or none for all.
        subjects: Vec<Subject>,
    },
    /// The bans of a jail, without their evidence.
    Standing {
        /// The jail.
        jail: String,
    },
    /// Ban by hand.
    Ban {
        /// The jail that bans.
        jail: String,
        /// Whom.
        subjects: Vec<Subject>,
        /// Even an address that guard would rather not ban.
        force: bool,
    },
    /// Lift bans.
    Unban {
        /// In this jail; in all where it is missing.
        jail: Option<String>,
        /// Whose; everybody's where it is missing. A prefix lifts the bans of all in it.
        subjects: Option<Vec<Subject>>,
    },
    /// A part of the log of bans. Waits where there is none after `after` yet.
    BansSince {
        /// The last number that the caller has; 0 for none.
        after: u64,
        /// The most bans to answer with; guard has a limit of its own.
        limit: u32,
        /// How long to wait for a ban before answering with none.
        wait_ms: u32,
    },
    /// The caller has taken care of every ban up to `number`; guard may forget them.
    Reached {
        /// The log that the number belongs to.
        log: String,
        /// The last number that was taken care of.
        number: u64,
    },
    /// A step of a change of the block lists, or a question about them.
    BlockList(BlockListRequest),
    /// A step of a search in old logs, or the question what came of it.
    LookBack(LookBackRequest),
    /// Lift the bans of whom a source calls a false positive; guard does so where its own
    /// configuration trusts that source.
    FalsePositive {
        /// Who; a prefix stands for all in it.
        net: IpNet,
        /// Whose word it is.
        who: String,
    },
    /// What it counts, without any address.
    Metrics,
    /// Counts a failure that a decoy saw.
    Failure(Failure),
    /// Counts a failure that an operator reports (`set JAIL attempt`).
    Attempt {
        /// The jail that counts it.
        jail: String,
        /// Who failed.
        subject: Subject,
        /// The lines that prove it; each counts once, none counts as one.
        matches: Vec<String>,
    },
    /// What is configured: asked, changed, read again.
    Config(ConfigRequest),
}

impl Request for GuardRequest {
    type Answer = GuardAnswer;

    fn allows(&self, role: Role) -> bool {
        match role {
            Role::Operator => true,
            Role::Exchange => {
                use GuardRequest::{BansSince, BlockList, FalsePositive, LookBack};
                use GuardRequest::{Metrics, Ping, Reached};
                let follows = matches!(self, BansSince { .. } | Reached { .. });
                let asks = matches!(self, BlockList(_) | FalsePositive { .. } | LookBack(_));
                follows || asks || matches!(self, Ping | Metrics)
            }
            Role::Decoy => match self {
                Self::Ping => true,
                Self::Failure(failure) => failure.jail.starts_with(DECOY_JAILS),
                _ => false,
            },
            Role::Nobody => false,
        }
    }
}

/// What guard answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardAnswer {
    /// To [`GuardRequest::Ping`].
    Pong,
    /// To [`GuardRequest::Status`].
    Status(GuardStatus),
    /// To [`GuardRequest::JailStatus`].
    JailStatus(JailStatus),
    /// To [`GuardRequest::Banned`].
    Banned(Vec<Ban>),
    /// To [`GuardRequest::Standing`], in the order in which they were made.
    Standing(Vec<StandingBan>),
    /// To [`GuardRequest::Ban`], [`GuardRequest::Unban`] and [`GuardRequest::FalsePositive`]: how
    /// many bans that changed.
    Changed(u64),
    /// To [`GuardRequest::BansSince`].
    BanLog(BanLog),
    /// To [`GuardRequest::BlockList`].
    BlockList(BlockListAnswer),
    /// To [`GuardRequest::LookBack`].
    LookBack(LookBackAnswer),
    /// To [`GuardRequest::Metrics`].
    Metrics(GuardMetrics),
    /// To [`GuardRequest::Config`]: a value as fail2ban would answer; to a change the one that is
    /// in force then.
    Value(Value),
    /// To what asks for nothing back.
    Done,
}

/// A ban that stands, without its evidence.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct StandingBan {
    /// Who is banned.
    pub subject: Subject,
    /// When the ban began.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub time: Timestamp,
    /// How long it stands, from `time` on.
    pub bantime: BanTime,
}

/// A part of guard's append-only log of bans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BanLog {
    /// Which log this is; another one after guard.db was made anew, and then numbers start again.
    pub log: String,
    /// Bans after the number that was asked for, in order.
    pub bans: Vec<NumberedBan>,
}

/// How guard is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardStatus {
    /// The release that runs.
    pub version: String,
    /// When it started.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub started: Timestamp,
    /// What holds the bans, in words: `nftables, table inet fail2misp`.
    pub firewall: String,
    /// The jails that guard, in the order of the configuration.
    pub jails: Vec<JailStatus>,
    /// The jails that do not, and why.
    pub disabled: Vec<DisabledJail>,
    /// The log of bans.
    pub ban_log: BanLogStatus,
}

/// How one jail is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JailStatus {
    /// Its name.
    pub jail: String,
    /// Subjects with failures that still count.
    pub currently_failed: u64,
    /// Failures since the start.
    pub total_failed: u64,
    /// The files that are followed.
    pub files: Vec<String>,
    /// The patterns of `logpath` that name no file yet.
    pub awaited: Vec<String>,
    /// What is read from the journal; empty where files are.
    pub journal_matches: Vec<String>,
    /// Bans that stand.
    pub currently_banned: u64,
    /// Bans since the start, restored ones included.
    pub total_banned: u64,
    /// Who is banned, in the order of the bans.
    pub banned: Vec<Subject>,
    /// What its administrator should know, a sentence each.
    pub notes: Vec<String>,
}

/// A jail that does not guard.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DisabledJail {
    /// Its name.
    pub jail: String,
    /// Why not, with the remedy.
    pub why: String,
}

/// How the log of bans is.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct BanLogStatus {
    /// Which log.
    pub log: String,
    /// The number of the last ban; 0 for none.
    pub last: u64,
    /// The number that its follower has taken care of.
    pub reached: u64,
}

/// What guard counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardMetrics {
    /// The jails that guard, in the order of the configuration.
    pub jails: Vec<JailMetrics>,
    /// From reading the line that completed a ban to its element in the firewall, in seconds.
    pub log_to_ban: Histogram,
    /// Bans in the log that its follower has not taken care of.
    pub ban_log_waiting: u64,
    /// What was found by looking back, since the start.
    #[serde(default)]
    pub look_back: LookBackMetrics,
}

/// What guard counts of looking back, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LookBackMetrics {
    /// Searches that are over.
    pub n_searches: u64,
    /// Bytes of text that were searched.
    pub n_bytes: u64,
    /// Indicators that were found, by [`HitOutcome::ALL`].
    pub n_hits: [u64; HitOutcome::ALL.len()],
}

/// What guard counts for one jail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JailMetrics {
    /// Its name.
    pub jail: String,
    /// Lines and entries that were looked at.
    pub n_lines: u64,
    /// Subjects with failures that still count.
    pub currently_failed: u64,
    /// Failures since the start.
    pub total_failed: u64,
    /// Bans that stand.
    pub currently_banned: u64,
    /// Bans since the start, restored ones included.
    pub total_banned: u64,
    /// `bantime` in seconds; -1 for ever.
    pub ban_time: i64,
    /// `findtime` in seconds.
    pub find_time: i64,
    /// `maxretry`.
    pub max_retry: u32,
}

/// Guard, as its callers see it.
#[derive(Debug)]
pub struct GuardClient(Client);

impl GuardClient {
    /// Connects to the guard that listens at `path`.
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
        match self.0.ask(&GuardRequest::Ping)? {
            GuardAnswer::Pong => Ok(()),
            _ => Err(self.0.unexpected()),
        }
    }

    /// How it is.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn status(&mut self) -> Result<GuardStatus, ClientError> {
        match self.0.ask(&GuardRequest::Status)? {
            GuardAnswer::Status(status) => Ok(status),
            _ => Err(self.0.unexpected()),
        }
    }

    /// How one jail is.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where there is no such jail.
    pub fn jail_status(&mut self, jail: &str) -> Result<JailStatus, ClientError> {
        match self.0.ask(&GuardRequest::JailStatus { jail: jail.to_owned() })? {
            GuardAnswer::JailStatus(status) => Ok(status),
            _ => Err(self.0.unexpected()),
        }
    }

    /// The bans that stand, in every jail; only of `subjects` where any are named.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn banned(&mut self, subjects: &[Subject]) -> Result<Vec<Ban>, ClientError> {
        match self.0.ask(&GuardRequest::Banned { subjects: subjects.to_owned() })? {
            GuardAnswer::Banned(bans) => Ok(bans),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Bans by hand, and tells how many were not banned before.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where there is no such jail.
    pub fn ban(
        &mut self,
        jail: &str,
        subjects: &[Subject],
        force: bool,
    ) -> Result<u64, ClientError> {
        let (jail, subjects) = (jail.to_owned(), subjects.to_owned());
        self.changed(&GuardRequest::Ban { jail, subjects, force })
    }

    /// Lifts bans, of all jails and of everybody where none is named, and tells how many.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where there is no such jail.
    pub fn unban(
        &mut self,
        jail: Option<&str>,
        subjects: Option<&[Subject]>,
    ) -> Result<u64, ClientError> {
        let (jail, subjects) = (jail.map(str::to_owned), subjects.map(<[_]>::to_vec));
        self.changed(&GuardRequest::Unban { jail, subjects })
    }

    /// Has the bans of `net` lifted, whom `who` calls a false positive, and tells how many.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where guard does not trust `who` so far.
    pub fn false_positive(&mut self, net: IpNet, who: &str) -> Result<u64, ClientError> {
        self.changed(&GuardRequest::FalsePositive { net, who: who.to_owned() })
    }

    /// The bans after number `after`, at most `limit`; waits for one where there is none yet.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn bans_since(
        &mut self,
        after: u64,
        limit: u32,
        wait: Duration,
    ) -> Result<BanLog, ClientError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let request = GuardRequest::BansSince { after, limit, wait_ms };
        match self.0.ask_patiently(&request, wait)? {
            GuardAnswer::BanLog(log) => Ok(log),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Tells that every ban of `log` up to `number` is taken care of.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn reached(&mut self, log: &str, number: u64) -> Result<(), ClientError> {
        self.done(&GuardRequest::Reached { log: log.to_owned(), number })
    }

    /// How the block lists are.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn block_lists(&mut self) -> Result<Vec<BlockListStatus>, ClientError> {
        match self.block_step(BlockListRequest::Status)? {
            BlockListAnswer::Status(lists) => Ok(lists),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Changes the block list of `source` from the version `base`, or makes it anew, and tells what
    /// became of it: [`BlockListAnswer::Committed`], or [`BlockListAnswer::OtherBase`] before
    /// anything was sent.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; then the list is what it was.
    pub fn change_block_list(
        &mut self,
        source: &str,
        version: &str,
        base: Option<&str>,
        add: &[BlockEntry],
        remove: &[IpNet],
    ) -> Result<BlockListAnswer, ClientError> {
        let source = source.to_owned();
        let begin = BlockListRequest::Begin {
            source: source.clone(),
            version: version.to_owned(),
            base: base.map(str::to_owned),
        };
        match self.block_step(begin)? {
            BlockListAnswer::Taken => {}
            other => return Ok(other),
        }
        for nets in remove.chunks(MAX_BLOCK_STEP) {
            let (source, nets) = (source.clone(), nets.to_vec());
            self.block_step(BlockListRequest::Remove { source, nets })?;
        }
        for entries in add.chunks(MAX_BLOCK_STEP) {
            let (source, entries) = (source.clone(), entries.to_vec());
            self.block_step(BlockListRequest::Add { source, entries })?;
        }
        self.block_step(BlockListRequest::Commit { source })
    }

    /// Forgets the block list of `source`.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn forget_block_list(&mut self, source: &str) -> Result<(), ClientError> {
        self.block_step(BlockListRequest::Forget { source: source.to_owned() }).map(drop)
    }

    fn block_step(&mut self, step: BlockListRequest) -> Result<BlockListAnswer, ClientError> {
        match self.0.ask(&GuardRequest::BlockList(step))? {
            GuardAnswer::BlockList(answer) => Ok(answer),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Has a failure counted.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where there is no such jail.
    pub fn failure(&mut self, failure: Failure) -> Result<(), ClientError> {
        self.done(&GuardRequest::Failure(failure))
    }

    /// What it counts.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn metrics(&mut self) -> Result<GuardMetrics, ClientError> {
        match self.0.ask(&GuardRequest::Metrics)? {
            GuardAnswer::Metrics(metrics) => Ok(metrics),
            _ => Err(self.0.unexpected()),
        }
    }

    /// Has the configuration read again.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where the configuration is broken, and then nothing changed.
    pub fn reload(&mut self, reload: Reload) -> Result<(), ClientError> {
        self.done(&GuardRequest::Config(ConfigRequest::Reload(reload)))
    }

    /// An option of a jail as it is in force.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where there is no such jail.
    pub fn get(&mut self, jail: &str, option: JailOption) -> Result<Value, ClientError> {
        self.value(ConfigRequest::Get { jail: jail.to_owned(), option })
    }

    /// Changes an option of a jail until the configuration is read again; returns its new value.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; refused where the value is no sound one, and then nothing changed.
    pub fn set(&mut self, jail: &str, change: JailChange) -> Result<Value, ClientError> {
        self.value(ConfigRequest::Set { jail: jail.to_owned(), change })
    }

    /// Ends it, and waits for that.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn stop(mut self) -> Result<(), ClientError> {
        match self.done(&GuardRequest::Config(ConfigRequest::Stop)) {
            // It ended before it could answer.
            Err(ClientError::Broken { .. }) => Ok(()),
            asked => asked.and_then(|()| self.0.wait_for_end()),
        }
    }

    /// The error for an answer that does not belong to the request.
    pub(crate) fn unexpected(&self) -> ClientError {
        self.0.unexpected()
    }

    /// Asks whatever can be asked.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn ask(&mut self, request: &GuardRequest) -> Result<GuardAnswer, ClientError> {
        self.0.ask(request)
    }

    fn value(&mut self, request: ConfigRequest) -> Result<Value, ClientError> {
        match self.0.ask(&GuardRequest::Config(request))? {
            GuardAnswer::Value(value) => Ok(value),
            _ => Err(self.0.unexpected()),
        }
    }

    fn changed(&mut self, request: &GuardRequest) -> Result<u64, ClientError> {
        match self.0.ask(request)? {
            GuardAnswer::Changed(n) => Ok(n),
            _ => Err(self.0.unexpected()),
        }
    }

    fn done(&mut self, request: &GuardRequest) -> Result<(), ClientError> {
        match self.0.ask(request)? {
            GuardAnswer::Done => Ok(()),
            _ => Err(self.0.unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    #[track_caller]
    fn check(request: &str, may: [bool; 4]) {
        let request: GuardRequest = serde_json::from_str(request).unwrap();
        let roles = [Role::Operator, Role::Exchange, Role::Decoy, Role::Nobody];
        assert_eq!(roles.map(|role| request.allows(role)), may, "{request:?}");
    }

    #[test]
    fn who_may_ask_what() {
        check(r#"{"ask":"ping"}"#, [true, true, true, false]);
        check(r#"{"ask":"status"}"#, [true, false, false, false]);
        check(r#"{"ask":"metrics"}"#, [true, true, false, false]);
        check(
            r#"{"ask":"bans_since","after":0,"limit":9,"wait_ms":0}"#,
            [true, true, false, false],
        );
        check(r#"{"ask":"reached","log":"x","number":9}"#, [true, true, false, false]);
        check(
            r#"{"ask":"ban","jail":"sshd","subjects":["192.0.2.1"],"force":false}"#,
            [true, false, false, false],
        );
        check(r#"{"ask":"unban","jail":null,"subjects":null}"#, [true, false, false, false]);
        check(
            r#"{"ask":"block_list","step":"begin","source":"hub","version":"2","base":"1"}"#,
            [true, true, false, false],
        );
        check(
            r#"{"ask":"block_list","step":"add","source":"hub",
            "entries":[{"net":"192.0.2.0/24"},{"net":"2001:db8::1/128","until":1780000000}]}"#,
            [true, true, false, false],
        );
        check(r#"{"ask":"look_back","step":"begin"}"#, [true, true, false, false]);
        check(
            r#"{"ask":"false_positive","net":"192.0.2.1/32","who":"CERT"}"#,
            [true, true, false, false],
        );
        check(&failure("decoy-ssh"), [true, false, true, false]);
        check(&failure("sshd"), [true, false, false, false]); // a decoy speaks for decoys alone
    }

    fn failure(jail: &str) -> String {
        format!(
            r#"{{"ask":"failure","jail":"{jail}","subject":"192.0.2.1","time":1,"n_attempts":1,
            "matches":[],"fields":[]}}"#
        )
    }
}
