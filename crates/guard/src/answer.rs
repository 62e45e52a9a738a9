//! Answers the control socket: each request is put to the loop, on the connection's own thread.
//!
//! Who waits for a ban waits here, so that the loop never does.

use std::fs;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::config::ConfigRequest;
use control::guard::{GuardAnswer, GuardRequest};
use control::look_back::{LookBackAnswer, LookBackRequest};
use control::{Caller, Refusal, Role};
use jail::Subject;

use crate::addresses;
use crate::block_list::{BlockLists, Limits};
use crate::event::Event;
use crate::feed::Feed;
use crate::look_back::{Followed, Past};
use crate::program::Program;
use crate::roster::Roster;

/// The longest wait for a ban; a follower asks again.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Failures that decoys may tell in a second. A ban comes after one or a few of them, so no scan needs
/// more; a decoy that was broken into would flood guard.
const MAX_DECOY_FAILURES: u32 = 1000;

/// Where callers are answered.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) inbox: SyncSender<Event>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) program: Option<Arc<dyn Program>>,
    pub(crate) lists: BlockLists,
    /// What searches old logs; `None` where nothing does.
    pub(crate) past: Option<Past>,
    pub(crate) limits: Limits,
    pub(crate) decoys: Rate,
}

/// How many failures decoys have told in this second.
#[derive(Debug, Default)]
pub(crate) struct Rate(Mutex<(Option<Instant>, u32)>);

impl Rate {
    /// Counts one more, unless it is one too many.
    fn allow(&self) -> bool {
        let mut lock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, n_told) = &mut *lock;
        if since.is_none_or(|it| it.elapsed() >= Duration::from_secs(1)) {
            (*since, *n_told) = (Some(Instant::now()), 0);
        }
        *n_told = n_told.saturating_add(1);
        *n_told <= MAX_DECOY_FAILURES
    }
}

impl Desk {
    /// Answers `request`; what is about bans and failures is put to the loop.
    pub(crate) fn answer(
        &self,
        caller: &Caller,
        request: GuardRequest,
    ) -> Result<GuardAnswer, Refusal> {
        match request {
            GuardRequest::Ping => Ok(GuardAnswer::Pong),
            GuardRequest::BlockList(step) => self.lists.ask(step).map(GuardAnswer::BlockList),
            GuardRequest::LookBack(step) => self.look_back(step).map(GuardAnswer::LookBack),
            GuardRequest::Metrics => self.metrics(),
            GuardRequest::FalsePositive { net, who } => {
                self.limits.may_lift(&net, &who).map_err(Refusal::Failed)?;
                let subjects = Some(vec![Subject::from(net)]);
                self.put(GuardRequest::Unban { jail: None, subjects })
            }
            GuardRequest::Config(request) => self.configure(request),
            GuardRequest::BansSince { after, wait_ms, .. } => {
                let patience = Duration::from_millis(wait_ms.into()).min(MAX_WAIT);
                self.feed.wait_beyond(after, patience);
                self.put(request)
            }
            GuardRequest::Ban { ref subjects, force: false, .. } => {
                spare_the_caller(caller, subjects)?;
                self.put(request)
            }
            GuardRequest::Failure(_) if caller.role == Role::Decoy && !self.decoys.allow() => {
                Err(Refusal::Busy)
            }
            request => self.put(request),
        }
    }

    fn look_back(&self, step: LookBackRequest) -> Result<LookBackAnswer, Refusal> {
        let off = || Refusal::Failed("this guard does not look back; see `[look_back]`".to_owned());
        self.past.as_ref().ok_or_else(off)?.ask(step, || match self.put(GuardRequest::Status)? {
            GuardAnswer::Status(status) => Ok(Followed::from(status)),
            other => {
                Err(Refusal::Failed(format!("guard's loop answered {other:?} for its status")))
            }
        })
    }

    fn metrics(&self) -> Result<GuardAnswer, Refusal> {
        let mut answer = self.put(GuardRequest::Metrics)?;
        if let (GuardAnswer::Metrics(metrics), Some(past)) = (&mut answer, &self.past) {
            metrics.look_back = past.counts();
        }
        Ok(answer)
    }

    fn configure(&self, request: ConfigRequest) -> Result<GuardAnswer, Refusal> {
        let value = match request {
            ConfigRequest::Reload(how) => {
                return self.roster.reload(&how).map(|()| GuardAnswer::Done);
            }
            ConfigRequest::StopJail { jail } => {
                return self.roster.stop(jail.as_deref()).map(|()| GuardAnswer::Done);
            }
            ConfigRequest::Get { jail, option } => self.roster.get(&jail, &option)?,
            ConfigRequest::Set { jail, change } => self.roster.set(&jail, &change)?,
            ConfigRequest::GetServer { option } => self.program()?.option(option),
            ConfigRequest::SetServer { option, value } => {
                self.program()?.set_option(option, &value).map_err(Refusal::Failed)?;
                self.program()?.option(option)
            }
            ConfigRequest::FlushLogs => self.program()?.flush_logs().into(),
            ConfigRequest::Stop => {
                return self.program()?.stop().map(|()| GuardAnswer::Done).map_err(Refusal::Failed);
            }
        };
        Ok(GuardAnswer::Value(value))
    }

    /// Puts `request` to the loop and waits for its answer.
    fn put(&self, request: GuardRequest) -> Result<GuardAnswer, Refusal> {
        let (reply, answer) = sync_channel(1);
        self.inbox.send(Event::Asked(request, reply)).map_err(|_| Refusal::Stopping)?;
        answer.recv().map_err(|_| Refusal::Stopping)?
    }

    fn program(&self) -> Result<&dyn Program, Refusal> {
        let none = || Refusal::Failed("this guard has no program around it to ask".to_owned());
        self.program.as_deref().ok_or_else(none)
    }
}

/// Refuses to ban the address that the caller's own session comes from.
fn spare_the_caller(caller: &Caller, subjects: &[Subject]) -> Result<(), Refusal> {
    // Without the right to look, or without such a session, nobody is to be spared.
    let environment = fs::read(format!("/proc/{}/environ", caller.pid)).unwrap_or_default();
    let Some(session) = session_address(&environment) else { return Ok(()) };
    match subjects.iter().find(|it| addresses::is_in(&session, it)) {
        Some(own) => Err(Refusal::Failed(format!(
            "your own session comes from {session}, and {own} would end it; `--force` bans it all \
             the same"
        ))),
        None => Ok(()),
    }
}

/// The client's address in `SSH_CONNECTION`, as sshd(8) sets it.
fn session_address(environment: &[u8]) -> Option<IpAddr> {
    let mut variables = environment.split(|&byte| byte == 0);
    let connection = variables.find_map(|it| it.strip_prefix(b"SSH_CONNECTION="))?;
    let client = str::from_utf8(connection).ok()?.split(' ').next()?;
    Some(client.parse::<IpAddr>().ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoys_tell_so_many_and_no_more() {
        let rate = Rate::default();
        // Faster than a second, and still more than it allows.
        let n_allowed = (0..3000).filter(|_| rate.allow()).count();
        assert!((1000..3000).contains(&n_allowed), "{n_allowed}");
    }

    #[test]
    fn knows_where_a_session_comes_from() {
        let environment = b"HOME=/root\0SSH_CONNECTION=192.0.2.7 52000 192.0.2.1 22\0A=b\0";
        assert_eq!(session_address(environment), "192.0.2.7".parse().ok());
        assert_eq!(session_address(b"SSH_CONNECTION=UNKNOWN\0"), None);
        assert_eq!(session_address(b""), None);
    }
}
