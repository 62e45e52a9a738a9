//! Who is at the other end of a connection, by the kernel's word, and what that makes them.

use std::os::fd::AsFd;
use std::path::Path;
use std::{fs, io};

/// Members may ask for everything, as root may.
const ADMIN_GROUP: &str = "fail2misp-admin";
/// The user that exchange runs as.
const EXCHANGE_USER: &str = "fail2misp";
/// The user that guard runs as.
const GUARD_USER: &str = "fail2misp-guard";
/// The user that the decoys run as.
const DECOY_USER: &str = "fail2misp-decoy";

/// What a caller may ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// root, members of group `fail2misp-admin`, and the daemon's own user: everything.
    Operator,
    /// User `fail2misp`: what the networked half needs, no more.
    Exchange,
    /// User `fail2misp-decoy`: to report failures for the jails of decoys.
    Decoy,
    /// Anybody else: nothing.
    Nobody,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The process that connected.
    pub pid: i32,
    /// Its user then.
    pub uid: u32,
    /// What that makes it.
    pub role: Role,
}

/// The accounts of this host that matter here.
///
/// Groups are what `/etc/group` says and not what the kernel gave the process at login: whoever
/// is made an administrator is one at once, and whoever no longer is one is none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Accounts {
    /// The daemon's own user.
    own_uid: u32,
    /// The group of administrators, where this host has it.
    admin_gid: Option<u32>,
    /// Its members.
    admin_uids: Vec<u32>,
    /// The user of exchange, where this host has it.
    exchange_uid: Option<u32>,
    /// The user of the decoys, where this host has it.
    decoy_uid: Option<u32>,
}

impl Accounts {
    /// Looks the accounts up in `/etc/passwd` and `/etc/group`, where packages make them.
    ///
    /// # Errors
    ///
    /// When one of the two is there and cannot be read.
    pub fn of_host() -> io::Result<Self> {
        let passwd = read_if_there(Path::new("/etc/passwd"))?;
        let group = read_if_there(Path::new("/etc/group"))?;
        Ok(Self::from_files(rustix::process::geteuid().as_raw(), &passwd, &group))
    }

    /// Those to whom a daemon listens that does whatever guard says: root, its own user, and guard's.
    ///
    /// # Errors
    ///
    /// As [`Self::of_host`].
    pub fn of_guard() -> io::Result<Self> {
        let passwd = read_if_there(Path::new("/etc/passwd"))?;
        Ok(Self::of_guard_in(rustix::process::geteuid().as_raw(), &passwd))
    }

    fn of_guard_in(own_uid: u32, passwd: &str) -> Self {
        let admin_uids = number_of(passwd, GUARD_USER).into_iter().collect();
        Self { own_uid, admin_uids, ..Self::default() }
    }

    /// Reads the accounts from the texts of passwd(5) and group(5).
    pub fn from_files(own_uid: u32, passwd: &str, group: &str) -> Self {
        let members = field(group, ADMIN_GROUP, 3).unwrap_or_default();
        Self {
            own_uid,
            admin_gid: number_of(group, ADMIN_GROUP),
            admin_uids: members.split(',').filter_map(|name| number_of(passwd, name)).collect(),
            exchange_uid: number_of(passwd, EXCHANGE_USER),
            decoy_uid: number_of(passwd, DECOY_USER),
        }
    }

    /// What a user with this primary group may ask for.
    fn role(&self, uid: u32, gid: u32) -> Role {
        if uid == 0
            || uid == self.own_uid
            || self.admin_gid == Some(gid)
            || self.admin_uids.contains(&uid)
        {
            Role::Operator
        } else if self.exchange_uid == Some(uid) {
            Role::Exchange
        } else if self.decoy_uid == Some(uid) {
            Role::Decoy
        } else {
            Role::Nobody
        }
    }

    /// Asks the kernel who connected.
    pub(crate) fn caller(&self, connection: impl AsFd) -> io::Result<Caller> {
        let peer = rustix::net::sockopt::socket_peercred(connection)?;
        let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
        Ok(Caller { pid: peer.pid.as_raw_nonzero().get(), uid, role: self.role(uid, gid) })
    }
}

/// The number of the account `name`; both files have it in their third field.
fn number_of(file: &str, name: &str) -> Option<u32> {
    field(file, name, 2)?.parse().ok()
}

/// One field of the line of the account `name`.
fn field<'a>(file: &'a str, name: &str, n: usize) -> Option<&'a str> {
    file.lines().find(|line| line.split(':').next() == Some(name))?.split(':').nth(n)
}

fn read_if_there(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use std::os::unix::net::UnixStream;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\n\
        fail2misp:x:990:990::/:/usr/sbin/nologin\n\
        fail2misp-guard:x:991:991::/:/usr/sbin/nologin\n\
        fail2misp-decoy:x:992:992::/:/usr/sbin/nologin\n\
        alice:x:1000:1000::/:/bin/bash\n";
    const GROUP: &str = "root:x:0:\nfail2misp:x:990:\nfail2misp-admin:x:980:alice,nosuch\n";

    #[track_caller]
    fn check(uid: u32, gid: u32, want: Role) {
        let accounts = Accounts::from_files(991, PASSWD, GROUP);
        assert_eq!(accounts.role(uid, gid), want, "{uid} {gid}");
    }

    #[test]
    fn roles() {
        check(0, 0, Role::Operator);
        check(991, 991, Role::Operator); // guard's own user
        check(1000, 1000, Role::Operator); // alice, a member
        check(1001, 980, Role::Operator); // by the primary group
        check(1001, 1001, Role::Nobody);
        check(990, 990, Role::Exchange);
        check(992, 992, Role::Decoy);
        check(1002, 990, Role::Nobody); // exchange's group is not its user
    }

    #[test]
    fn who_does_as_guard_says_listens_to_guard_alone() {
        let accounts = Accounts::of_guard_in(0, PASSWD);
        assert_eq!(accounts.role(0, 0), Role::Operator);
        assert_eq!(accounts.role(991, 991), Role::Operator);
        // An administrator may tell guard, which has limits of its own, but run nothing as root.
        for (uid, gid) in [(1000, 1000), (1001, 980), (990, 990), (992, 992)] {
            assert_eq!(accounts.role(uid, gid), Role::Nobody, "{uid} {gid}");
        }
    }

    #[test]
    fn a_host_without_the_accounts_knows_operators_alone() {
        let accounts = Accounts::from_files(1000, "", "fail2misp-admin:x:many:\n");
        assert_eq!(accounts.role(0, 0), Role::Operator);
        assert_eq!(accounts.role(1000, 1000), Role::Operator);
        assert_eq!(accounts.role(990, 980), Role::Nobody);
    }

    #[test]
    fn the_kernel_knows_who_connected() {
        let (here, _there) = UnixStream::pair().unwrap();
        let caller = Accounts::of_host().unwrap().caller(&here).unwrap();
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert_eq!(caller.pid, rustix::process::getpid().as_raw_pid());
        assert_eq!(caller.role, Role::Operator);
    }
}
