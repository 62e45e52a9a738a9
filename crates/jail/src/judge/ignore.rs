//! Who is never banned: the words of `ignoreip`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::IgnoredBy;
use crate::event::Subject;

/// The words of `ignoreip`, sorted by what they are.
#[derive(Debug, Default)]
pub(super) struct IgnoreList {
    addrs: HashSet<IpAddr>,
    nets: Vec<IpNet>,
    /// Names, and ids of a jail that bans no addresses: a word does not tell which.
    names: Vec<String>,
}

impl IgnoreList {
    pub(super) fn new(words: &[String]) -> Self {
        let mut list = Self::default();
        for word in words {
            match subject(word) {
                Subject::Addr(addr) => drop(list.addrs.insert(addr)),
                Subject::Net(net) => list.nets.push(net),
                Subject::Id(name) => list.names.push(name),
            }
        }
        list
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether all of `subject` is ignored; `resolved` says what the names stand for.
    pub(super) fn covers(
        &self,
        subject: &Subject,
        resolved: &HashMap<String, Vec<IpAddr>>,
    ) -> Option<IgnoredBy> {
        let is_covered = match subject {
            Subject::Addr(addr) => {
                self.addrs.contains(addr) || self.nets.iter().any(|net| net.contains(addr))
            }
            Subject::Net(inner) => self.nets.iter().any(|net| net.contains(inner)),
            Subject::Id(id) => self.names.contains(id),
        };
        if is_covered {
            return Some(IgnoredBy::Address);
        }
        let Subject::Addr(addr) = subject else { return None };
        let mut addrs = self.names.iter().filter_map(|name| resolved.get(name)).flatten();
        addrs.any(|it| it == addr).then_some(IgnoredBy::Name)
    }
}

/// A word of `ignoreip`; beside what [`Subject`] reads, a mask in dots (`192.0.2.0/255.255.255.0`).
fn subject(word: &str) -> Subject {
    let with_mask = || {
        let (addr, mask) = word.split_once('/')?;
        IpNet::with_netmask(addr.parse().ok()?, mask.parse().ok()?).ok()
    };
    match with_mask() {
        Some(net) => Subject::from(net.to_string()),
        None => Subject::from(word),
    }
}
