//! The configuration changes while guard runs: what changed changes, and nothing else does.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::ClientError;
use control::Refusal;
use control::config::{JailChange, JailOption, Reload, ServerOption};
use control::guard::{DisabledJail, GuardAnswer, GuardRequest};
use guard::{Guard, Program};
use host::{Host, eventually, stop};
use jail::BanTime;
use jail::config::Jail;
use serde_json::{Value, json};

/// A configuration that a test changes.
#[derive(Clone, Debug, Default)]
struct Configured(Arc<Mutex<(Vec<Jail>, Vec<DisabledJail>)>>);

impl Configured {
    fn write(&self, jails: Vec<Jail>) {
        *self.0.lock().unwrap() = (jails, Vec::new());
    }

    fn break_jail(&self, jail: &str) {
        let fault = DisabledJail { jail: jail.to_owned(), why: format!("{jail} is odd") };
        self.0.lock().unwrap().1.push(fault);
    }
}

impl Program for Configured {
    fn jails(&self) -> Result<(Vec<Jail>, Vec<DisabledJail>), String> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn follow_jails(&self) {}

    fn option(&self, _: ServerOption) -> Value {
        Value::Null
    }

    fn set_option(&self, _: ServerOption, value: &str) -> Result<(), String> {
        Err(format!("`{value}` is not taken"))
    }

    fn flush_logs(&self) -> &'static str {
        "flushed"
    }

    fn stop(&self) -> Result<(), String> {
        Err("nobody ends this one".to_owned())
    }
}

/// A guard whose configuration can be changed.
fn start(host: &Host, jails: Vec<Jail>) -> (Guard, Configured) {
    let configured = Configured::default();
    configured.write(jails.clone());
    let program: Option<Arc<dyn Program>> = Some(Arc::new(configured.clone()));
    let setup = host.setup(jails, host.memory.clone());
    (Guard::start(guard::Setup { program, ..setup }).unwrap(), configured)
}

fn reload(host: &Host, how: Reload) -> Result<(), ClientError> {
    host.client().reload(how)
}

fn names(host: &Host) -> Vec<String> {
    host.status().jails.into_iter().map(|it| it.jail).collect()
}

#[test]
fn a_reload_changes_what_changed_and_keeps_the_rest() {
    let host = Host::new();
    for jail in ["sshd", "web", "mail"] {
        host.write(jail, "");
    }
    let (guard, configured) = start(&host, vec![host.jail("sshd"), host.jail("web")]);
    host.fail("sshd", "203.0.113.1", 3);
    host.fail("sshd", "203.0.113.2", 2); // one more bans it
    host.fail("web", "203.0.113.3", 3);
    host.bans(&[("sshd", "203.0.113.1"), ("web", "203.0.113.3")]);
    eventually("all was read", || host.status().jails[0].total_failed == 5);

    // web is gone, mail is new, sshd bans for longer.
    let longer = Jail { ban_time: BanTime::Seconds(4000), ..host.jail("sshd") };
    configured.write(vec![longer, host.jail("mail")]);
    reload(&host, Reload::default()).unwrap();
    assert_eq!(names(&host), ["sshd", "mail"]);
    host.bans(&[("sshd", "203.0.113.1")]);
    host.fail("sshd", "203.0.113.2", 1);
    host.fail("mail", "203.0.113.4", 3);
    host.fail("web", "203.0.113.5", 3); // nobody looks
    host.bans(&[("mail", "203.0.113.4"), ("sshd", "203.0.113.1"), ("sshd", "203.0.113.2")]);
    let banned = host.client().banned(&["203.0.113.2".into()]).unwrap();
    assert_eq!(banned[0].bantime, BanTime::Seconds(4000));
    let status = host.client().jail_status("sshd").unwrap();
    assert_eq!((status.total_failed, status.total_banned), (6, 2)); // no line was read twice
    assert_eq!(status.files.len(), 1);

    // web comes back: so does its ban, and what was written meanwhile is read.
    configured.write(vec![host.jail("sshd"), host.jail("web")]);
    reload(&host, Reload::default()).unwrap();
    host.bans(&[
        ("sshd", "203.0.113.1"),
        ("sshd", "203.0.113.2"),
        ("web", "203.0.113.3"),
        ("web", "203.0.113.5"),
    ]);
    let told = host.client().bans_since(0, 100, Duration::ZERO).unwrap();
    assert_eq!(told.bans.len(), 5); // what was restored is no new ban
    stop(guard);
}

#[test]
fn a_broken_configuration_is_refused_with_all_its_faults() {
    let host = Host::new();
    let (guard, configured) = start(&host, vec![host.jail("sshd")]);
    host.fail("sshd", "203.0.113.1", 3);
    host.bans(&[("sshd", "203.0.113.1")]);
    let mut web = host.jail("web");
    web.filter.failregex = vec!["(unclosed <HOST>".to_owned()];
    configured.write(vec![web]);
    configured.break_jail("mail");
    let refusal = reload(&host, Reload::default()).unwrap_err();
    let ClientError::Refused(Refusal::Broken(faults)) = &refusal else { panic!("{refusal}") };
    let jails: Vec<_> = faults.iter().map(|it| it.jail.as_str()).collect();
    assert_eq!(jails, ["mail", "web"]);
    let said = refusal.to_string();
    assert!(said.starts_with("the configuration is broken, nothing has changed; "), "{said}");
    assert!(said.contains("mail is odd") && said.contains("failregex 0"), "{said}");
    assert_eq!(names(&host), ["sshd"]);
    host.fail("sshd", "203.0.113.2", 3);
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2")]);
    stop(guard);
}

#[test]
fn one_jail_is_reloaded_restarted_and_stopped() {
    let host = Host::new();
    for jail in ["sshd", "web"] {
        host.write(jail, "");
    }
    let (guard, configured) = start(&host, vec![host.jail("sshd"), host.jail("web")]);
    host.fail("sshd", "203.0.113.1", 3);
    host.fail("web", "203.0.113.2", 3);
    host.bans(&[("sshd", "203.0.113.1"), ("web", "203.0.113.2")]);

    // The other jail's change, and its faults, are none of this one's.
    let patient = |name: &str| Jail { max_retry: 9, ..host.jail(name) };
    configured.write(vec![patient("sshd"), patient("web")]);
    configured.break_jail("mail");
    let of = |jail: &str| Reload { jail: Some(jail.to_owned()), ..Reload::default() };
    reload(&host, of("sshd")).unwrap();
    let retry = |jail| host.client().get(jail, JailOption::MaxRetry).unwrap();
    assert_eq!((retry("sshd"), retry("web")), (json!(9), json!(3)));

    let refusal = reload(&host, of("mail")).unwrap_err();
    assert!(matches!(refusal, ClientError::Refused(Refusal::NoJail(_))), "{refusal}");

    // Started anew, the jail has forgotten its failures and restores its ban.
    reload(&host, Reload { restart: true, ..of("sshd") }).unwrap();
    let status = host.client().jail_status("sshd").unwrap();
    assert_eq!((status.total_failed, status.total_banned, status.currently_banned), (0, 1, 1));
    reload(&host, Reload { unban: true, ..of("sshd") }).unwrap();
    host.bans(&[("web", "203.0.113.2")]);

    let stop_jail = |jail: &str| {
        let request = control::config::ConfigRequest::StopJail { jail: Some(jail.to_owned()) };
        host.client().ask(&GuardRequest::Config(request)).unwrap()
    };
    assert_eq!(stop_jail("web"), GuardAnswer::Done);
    assert_eq!(names(&host), ["sshd"]);
    host.bans(&[]);
    let back = Reload { if_exists: true, ..of("web") };
    reload(&host, back).unwrap();
    host.bans(&[("web", "203.0.113.2")]);
    stop(guard);
}

#[test]
fn options_change_at_once_until_the_next_reload() {
    let host = Host::new();
    host.write("sshd", "");
    let (guard, _configured) = start(&host, vec![host.jail("sshd")]);
    let set = |change| host.client().set("sshd", change).unwrap();
    assert_eq!(set(JailChange::MaxRetry(1)), json!(1));
    assert_eq!(set(JailChange::BanTime("1h".into())), json!(3600));
    host.fail("sshd", "203.0.113.1", 1);
    host.bans(&[("sshd", "203.0.113.1")]);

    let list = set(JailChange::AddIgnoreIp(vec!["203.0.113.2".into()]));
    assert_eq!(list, json!(["203.0.113.200", "203.0.113.2"]));
    assert_eq!(set(JailChange::DelIgnoreIp("203.0.113.200".into())), json!(["203.0.113.2"]));
    let expression = r"^\s*oops <HOST>$".to_owned();
    let list = set(JailChange::AddFailRegex(expression.clone()));
    assert_eq!(list[1], json!(expression));
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
    host.write("sshd", &format!("{now} oops 203.0.113.3\n"));
    host.fail("sshd", "203.0.113.2", 1); // ignored now
    host.fail("sshd", "203.0.113.200", 1); // no longer
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.3"), ("sshd", "203.0.113.200")]);

    // What is no expression changes nothing.
    let refusal = host.client().set("sshd", JailChange::AddFailRegex("(".into())).unwrap_err();
    assert!(refusal.to_string().starts_with("failregex 2: "), "{refusal}");
    set(JailChange::DelFailRegex(1));
    assert_eq!(
        host.client().get("sshd", JailOption::FailRegex).unwrap().as_array().unwrap().len(),
        1
    );

    // Another log, and none at all for a while.
    host.write("other", "");
    let path = host.path("other.log").display().to_string();
    let files = set(JailChange::AddLogPath { path: path.clone(), from_end: false });
    assert_eq!(files.as_array().unwrap().len(), 2);
    host.fail("other", "203.0.113.4", 1);
    eventually("it is banned", || host.memory.bans().len() == 4);
    assert_eq!(set(JailChange::Idle(true)), json!(true));
    host.fail("other", "203.0.113.5", 1);
    host.fail("sshd", "203.0.113.6", 1);
    assert_eq!(set(JailChange::Idle(false)), json!(false));
    eventually("both are banned", || host.memory.bans().len() == 6);
    let files = set(JailChange::DelLogPath(path));
    assert_eq!(files.as_array().unwrap().len(), 1);

    reload(&host, Reload::default()).unwrap();
    assert_eq!(host.client().get("sshd", JailOption::MaxRetry).unwrap(), json!(3));
    stop(guard);
}

#[test]
fn a_file_of_friends_is_read() {
    let host = Host::new();
    let friends = host.path("friends");
    fs::write(&friends, "# ours\n203.0.113.1, 203.0.113.2\n").unwrap();
    let mut jail = host.jail("sshd");
    jail.ignore_ip = vec![format!("file:{}", friends.display())];
    let (guard, _configured) = start(&host, vec![jail]);
    host.fail("sshd", "203.0.113.1", 3);
    host.fail("sshd", "203.0.113.3", 3);
    host.bans(&[("sshd", "203.0.113.3")]);
    fs::write(&friends, "203.0.113.1\n").unwrap();
    reload(&host, Reload::default()).unwrap();
    host.fail("sshd", "203.0.113.2", 3);
    host.bans(&[("sshd", "203.0.113.2"), ("sshd", "203.0.113.3")]);
    stop(guard);
}
