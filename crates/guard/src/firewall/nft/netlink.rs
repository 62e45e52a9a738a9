//! The connection to nf_tables: forty times as fast as to start `nft`. Tried on Linux 6.18.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt,
};

use super::batch::{Batch, Operation};
use super::frame::{self, Frame};
use super::interval::Edge;
use super::message::{
    self, Attributes, Message, NFNL_SUBSYS_NFTABLES, NFPROTO_INET, NFPROTO_UNSPEC,
    NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_FLAGS,
    NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, NLM_F_DUMP, Writer,
};
use crate::firewall::{Dropped, FirewallError};

/// Room for a batch of 10,000 changes, which is about a megabyte; the kernel doubles it.
const SEND_BUFFER: usize = 8 << 20;

/// Room for one answer: a header, an error and the message that it is about, or a part of a list.
const ANSWER_BYTES: usize = 64 << 10;

/// How long the kernel may take; it needs a second for 100,000 elements.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a list is asked for again that changed while it was told.
const MAX_LISTINGS: usize = 5;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Tables, chains, rules and sets, each of which names its table in its first attribute.
const NFT_MSG_GETTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 1;
const NFT_MSG_GETCHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 4;
const NFT_MSG_GETRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 7;
const NFT_MSG_GETSET: u16 = NFNL_SUBSYS_NFTABLES << 8 | 10;
const NFT_MSG_GETSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 13;
const NFT_MSG_GETGEN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 16;
const NFT_MSG_GETOBJ: u16 = NFNL_SUBSYS_NFTABLES << 8 | 19;

const NFTA_GEN_ID: u16 = 1;
const NFTA_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_HANDLE: u16 = 16;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_DATA: u16 = 4;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// A connection to nf_tables in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        Self::to(netlink::NETFILTER)
    }

    /// A connection to any part of the kernel.
    pub(super) fn to(protocol: Protocol) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(protocol),
        )?;
        // Without the right to more the default does, for batches of some hundred.
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Has the kernel make the operations: all of them or none.
    ///
    /// After an error, answers may be left that nobody asked for: open another one.
    pub(super) fn make(
        &mut self,
        table: &'static str,
        operations: &[Operation],
    ) -> Result<(), FirewallError> {
        let mut batch = Batch::new(table, operations);
        let Some((datagram, last)) = batch.finish() else { return Ok(()) };
        self.send(&datagram)?;
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            for message in self.receive(&mut answer)?.filter(|it| it.kind == NLMSG_ERROR) {
                match message.error() {
                    Some(0) | None if message.number == last => return Ok(()),
                    Some(0) | None => {}
                    Some(error) => return Err(refusal(error, batch.set(message.number))),
                }
            }
        }
    }

    /// The number of the rule set: another one after every change that anybody made.
    pub(super) fn generation(&mut self) -> Result<u32, FirewallError> {
        let mut writer = Writer::default();
        let request = writer.begin(NFT_MSG_GETGEN, 0, NFPROTO_UNSPEC, 0);
        writer.end(request);
        self.send(&writer.take())?;
        let mut answer = vec![0; ANSWER_BYTES];
        let found = self.receive(&mut answer)?.find_map(|it| it.attributes().u32(NFTA_GEN_ID));
        found.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData).into())
    }

    /// The addresses in a set, or the edges of its intervals.
    pub(super) fn elements(&mut self, table: &str, set: &str) -> Result<Vec<Edge>, FirewallError> {
        let request = |writer: &mut Writer| {
            writer.text(NFTA_SET_ELEM_LIST_TABLE, table);
            writer.text(NFTA_SET_ELEM_LIST_SET, set);
        };
        self.list(NFT_MSG_GETSETELEM, request, set, |message, found| {
            let list = message.attributes().inside(NFTA_SET_ELEM_LIST_ELEMENTS);
            for element in list.into_iter().flat_map(|it| it.each(NFTA_LIST_ELEM)) {
                let key = element.inside(NFTA_SET_ELEM_KEY).and_then(|it| it.find(NFTA_DATA_VALUE));
                let flags = element.u32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
                let begins = flags & NFT_SET_ELEM_INTERVAL_END == 0;
                found.extend(key.and_then(addr).map(|key| Edge { key, begins }));
            }
        })
    }

    /// What the counters of a table have counted.
    pub(super) fn counters(&mut self, table: &str) -> Result<Vec<Dropped>, FirewallError> {
        self.objects(NFT_MSG_GETOBJ, table, |attributes, found| {
            let data = attributes.inside(NFTA_OBJ_DATA);
            let count = |kind| data.and_then(|it| it.u64(kind)).unwrap_or(0);
            found.extend(attributes.text(NFTA_OBJ_NAME).map(|name| Dropped {
                by: name.to_owned(),
                n_packets: count(NFTA_COUNTER_PACKETS),
                n_bytes: count(NFTA_COUNTER_BYTES),
            }));
        })
    }

    /// What a table is made of.
    pub(super) fn frame(&mut self, table: &str) -> Result<Frame, FirewallError> {
        let whole = |it: Attributes<'_>, found: &mut Vec<Vec<u8>>| found.push(it.bytes().to_vec());
        let tables = self.objects(NFT_MSG_GETTABLE, table, whole)?;
        if tables.is_empty() {
            return Err(gone(table));
        }
        let chains = self.objects(NFT_MSG_GETCHAIN, table, whole)?;
        let rules = self.objects(NFT_MSG_GETRULE, table, whole)?;
        // Of a set the kernel also tells how much it holds.
        let sets = self.objects(NFT_MSG_GETSET, table, |it, found| {
            let name = it.text(NFTA_SET_NAME).unwrap_or_default();
            found.push((name.to_owned(), it.u64(NFTA_SET_HANDLE)));
        })?;
        let counters = self.counters(table)?;
        Ok(Frame {
            digest: frame::digest((tables, chains, rules, &sets)),
            sets: sets.into_iter().map(|(name, _)| name).collect(),
            counters: counters.into_iter().map(|it| it.by).collect(),
        })
    }

    /// Gathers what `read` finds in each object of one kind in a table.
    fn objects<T>(
        &mut self,
        kind: u16,
        table: &str,
        read: impl Fn(Attributes<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, FirewallError> {
        let request = |writer: &mut Writer| writer.text(NFTA_TABLE, table);
        self.list(kind, request, table, |message, found| {
            // The kernel tells of all tables' chains, whatever it is asked.
            if message.attributes().text(NFTA_TABLE) == Some(table) {
                read(message.attributes(), found);
            }
        })
    }

    /// Asks for a list of `what`, and gathers what `read` finds in each message of it.
    fn list<T>(
        &mut self,
        kind: u16,
        request: impl Fn(&mut Writer),
        what: &str,
        read: impl Fn(Message<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, FirewallError> {
        let mut answer = vec![0; ANSWER_BYTES];
        'again: for _ in 0..MAX_LISTINGS {
            let mut writer = Writer::default();
            let message = writer.begin(kind, NLM_F_DUMP, NFPROTO_INET, 0);
            request(&mut writer);
            writer.end(message);
            self.send(&writer.take())?;
            let mut found = Vec::new();
            let mut changed = false;
            loop {
                for message in self.receive(&mut answer)? {
                    changed |= message.flags & NLM_F_DUMP_INTR != 0;
                    match (message.kind, message.error()) {
                        (NLMSG_DONE, _) if changed => continue 'again,
                        (NLMSG_DONE, _) => return Ok(found),
                        (NLMSG_ERROR, Some(error)) if error != 0 => {
                            return Err(refusal(error, what));
                        }
                        _ => read(message, &mut found),
                    }
                }
            }
        }
        Err(io::Error::from(io::ErrorKind::Interrupted).into())
    }

    fn send(&self, datagram: &[u8]) -> Result<(), FirewallError> {
        rustix::net::send(&self.0, datagram, SendFlags::empty()).map_err(fault)?;
        Ok(())
    }

    fn receive<'a>(
        &self,
        answer: &'a mut [u8],
    ) -> Result<impl Iterator<Item = Message<'a>>, FirewallError> {
        let (n_bytes, _) =
            rustix::net::recv(&self.0, &mut *answer, RecvFlags::empty()).map_err(fault)?;
        Ok(message::messages(&answer[..n_bytes]))
    }
}

fn addr(key: &[u8]) -> Option<IpAddr> {
    match key.len() {
        4 => Some(IpAddr::from(*key.first_chunk::<4>()?)),
        _ => Some(IpAddr::from(*key.first_chunk::<16>()?)),
    }
}

/// What the kernel means by an error about a set or a table.
fn refusal(error: i32, what: &str) -> FirewallError {
    match Errno::from_raw_os_error(error) {
        Errno::NOENT => gone(what),
        error => fault(error),
    }
}

fn gone(what: &str) -> FirewallError {
    FirewallError::Refused { said: format!("`{what}` of ours is gone") }
}

fn fault(error: Errno) -> FirewallError {
    match error {
        Errno::PERM => FirewallError::Denied,
        error => FirewallError::Io(error.into()),
    }
}
