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
    /// Files that hold more words, each with those that were read from it.
    files: Vec<(String, Self)>,
}

/// What a word begins with that names a file of words; fail2ban's from 1.1.1 on.
const FILE: &str = "file:";

impl IgnoreList {
    pub(super) fn new(words: &[String]) -> Self {
        let mut list = Self::default();
        for word in words {
            if let Some(path) = word.strip_prefix(FILE) {
                list.files.push((path.to_owned(), Self::default()));
                continue;
            }
            match subject(word) {
                Subject::Addr(addr) => drop(list.addrs.insert(addr)),
                Subject::Net(net) => list.nets.push(net),
                Subject::Id(name) => list.names.push(name),
            }
        }
        list
    }

    /// The names, those of files among them.
    pub(super) fn names(&self) -> Vec<&str> {
        let of_files = self.files.iter().flat_map(|(_, list)| &list.names);
        self.names.iter().chain(of_files).map(String::as_str).collect()
    }

    /// The addresses and prefixes, those of names and files among them.
    pub(super) fn nets(&self, resolved: &HashMap<String, Vec<IpAddr>>) -> Vec<IpNet> {
        let named = self.names.iter().filter_map(|name| resolved.get(name)).flatten();
        let mut nets = self.nets.clone();
        nets.extend(self.addrs.iter().chain(named).map(|addr| IpNet::from(*addr)));
        nets.extend(self.files.iter().flat_map(|(_, list)| list.nets(resolved)));
        nets
    }

    /// The files to be read.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| path.as_str())
    }

    /// Takes what `path` holds; a file named in it is not read.
    pub(super) fn fill(&mut self, path: &str, words: &[String]) {
        for (_, list) in self.files.iter_mut().filter(|(file, _)| file == path) {
            *list = Self { files: Vec::new(), ..Self::new(words) };
        }
    }

    /// Whether anybody in `net` is ignored.
    pub(super) fn touches(&self, net: &IpNet, resolved: &HashMap<String, Vec<IpAddr>>) -> bool {
        let named = self.names.iter().filter_map(|name| resolved.get(name)).flatten();
        self.addrs.iter().chain(named).any(|addr| net.contains(addr))
            || self.nets.iter().any(|it| it.contains(net) || net.contains(it))
            || self.files.iter().any(|(_, list)| list.touches(net, resolved))
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
        let is_named = |addr| {
            let mut addrs = self.names.iter().filter_map(|name| resolved.get(name)).flatten();
            addrs.any(|it| it == addr)
        };
        if matches!(subject, Subject::Addr(addr) if is_named(addr)) {
            return Some(IgnoredBy::Name);
        }
        self.files.iter().find_map(|(_, list)| list.covers(subject, resolved))
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
