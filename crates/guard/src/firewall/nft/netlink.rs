//! Elements of sets by netlink, spoken by ourselves: forty times as fast as to start `nft`.
//!
//! One batch is one datagram: a message that begins it, one for each verb and run of elements, one
//! that ends it. The kernel makes all of it or none, and answers each message that asks for it
//! (`NLM_F_ACK`: the last one) or failed. Sources: linux/netlink.h, linux/netfilter/nfnetlink.h and
//! linux/netfilter/nf_tables.h. Tried on Linux 6.18.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

use crate::firewall::FirewallError;

/// Room for a batch of 10,000 changes, which is about a megabyte; the kernel doubles it.
const SEND_BUFFER: usize = 8 << 20;

/// Room for one answer: a header, an error and the message that it is about.
const ANSWER_BYTES: usize = 64 << 10;

/// How long the kernel may take; it needs a second for 100,000 elements.
const PATIENCE: Duration = Duration::from_secs(30);

/// Elements of one message: their attribute must stay below 64 KiB, and each takes up to 48 bytes.
const MAX_ELEMENTS: usize = 1000;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 12;
const NFT_MSG_DELSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 14;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;

const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_DATA_VALUE: u16 = 1;

/// The length of a message's header.
const HEADER_BYTES: usize = 16;

/// What is done to elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    Add,
    Delete,
}

/// Changes of elements, as the kernel reads them.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    n_messages: u32,
    /// Where the last message begins.
    last: usize,
    table: &'static str,
}

impl Batch {
    pub(super) fn new(table: &'static str) -> Self {
        let mut batch = Self { bytes: Vec::new(), n_messages: 0, last: 0, table };
        batch.edge(NFNL_MSG_BATCH_BEGIN);
        batch
    }

    /// Adds or deletes these elements of `set`; a timeout of `None` is none.
    pub(super) fn elements(
        &mut self,
        verb: Verb,
        set: &str,
        elements: &[(IpAddr, Option<Duration>)],
    ) {
        for elements in elements.chunks(MAX_ELEMENTS) {
            let (kind, flags) = match verb {
                Verb::Add => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
                Verb::Delete => (NFT_MSG_DELSETELEM, 0),
            };
            let message = self.begin(kind, flags, NFPROTO_INET, 0);
            let table = self.table;
            self.attribute(NFTA_SET_ELEM_LIST_TABLE, &text(table));
            self.attribute(NFTA_SET_ELEM_LIST_SET, &text(set));
            let list = self.open(NFTA_SET_ELEM_LIST_ELEMENTS);
            for (addr, timeout) in elements {
                let element = self.open(NFTA_LIST_ELEM);
                let key = self.open(NFTA_SET_ELEM_KEY);
                match addr {
                    IpAddr::V4(addr) => self.attribute(NFTA_DATA_VALUE, &addr.octets()),
                    IpAddr::V6(addr) => self.attribute(NFTA_DATA_VALUE, &addr.octets()),
                }
                self.close(key);
                if let Some(timeout) = timeout {
                    // Zero would be for ever.
                    let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
                    self.attribute(NFTA_SET_ELEM_TIMEOUT, &ms.to_be_bytes());
                }
                self.close(element);
            }
            self.close(list);
            self.end(message);
        }
    }

    /// The datagram, and the number of the message that is answered when all is made; nothing
    /// where nothing is to be done.
    fn finish(mut self) -> Option<(Vec<u8>, u32)> {
        let (number, flags) = (self.n_messages - 1, self.last + 6);
        if number == 0 {
            return None;
        }
        self.bytes[flags] |= NLM_F_ACK.to_ne_bytes()[0];
        self.bytes[flags + 1] |= NLM_F_ACK.to_ne_bytes()[1];
        self.edge(NFNL_MSG_BATCH_END);
        Some((self.bytes, number))
    }

    /// One of the two messages that hold a batch together.
    fn edge(&mut self, kind: u16) {
        let message = self.begin(kind, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
        self.end(message);
    }

    /// The headers of a message (nlmsghdr, nfgenmsg); its number is its place in the batch.
    fn begin(&mut self, kind: u16, flags: u16, family: u8, resource: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend(0_u32.to_ne_bytes()); // the length, known at the end
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.n_messages.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes()); // to the kernel
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.n_messages += 1;
        self.last = start;
        start
    }

    fn end(&mut self, start: usize) {
        let length = u32::try_from(self.bytes.len() - start).expect("a message is below 64 KiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open_plain(kind);
        self.bytes.extend(value);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        self.open_plain(kind | NLA_F_NESTED)
    }

    fn open_plain(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend(0_u16.to_ne_bytes()); // the length, known when it is closed
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).expect("MAX_ELEMENTS bounds it");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A string as attributes hold it.
fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// A connection to nf_tables in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )?;
        // Without the right to more the default does, for batches of some hundred.
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Has the kernel make the batch: all of it or nothing.
    ///
    /// After an error, answers may be left that nobody asked for: open another one.
    pub(super) fn make(&mut self, batch: Batch) -> Result<(), FirewallError> {
        let Some((datagram, last)) = batch.finish() else { return Ok(()) };
        rustix::net::send(&self.0, &datagram, SendFlags::empty()).map_err(fault)?;
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let (n_bytes, _) =
                rustix::net::recv(&self.0, &mut answer, RecvFlags::empty()).map_err(fault)?;
            for (number, error) in errors(&answer[..n_bytes]) {
                if error != 0 {
                    return Err(fault(Errno::from_raw_os_error(error)));
                }
                if number == last {
                    return Ok(());
                }
            }
        }
    }
}

/// The number of each message that is answered, with its error, or 0 for none.
fn errors(mut answer: &[u8]) -> Vec<(u32, i32)> {
    let mut errors = Vec::new();
    while let Some((header, rest)) = answer.split_first_chunk::<HEADER_BYTES>() {
        let length = word(header, 0) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == NLMSG_ERROR && rest.len() >= 4 {
            errors.push((word(header, 8), word(rest, 0).cast_signed().saturating_neg()));
        }
        let next = length.next_multiple_of(4).max(HEADER_BYTES);
        answer = answer.get(next..).unwrap_or_default();
    }
    errors
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn fault(error: Errno) -> FirewallError {
    match error {
        Errno::PERM => FirewallError::Denied,
        Errno::NOENT => FirewallError::Refused { said: "a set of ours is gone".to_owned() },
        error => FirewallError::Io(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_the_kernel_reads() {
        let mut batch = Batch::new("t");
        batch.elements(
            Verb::Add,
            "s",
            &[(IpAddr::from([192, 0, 2, 1]), Some(Duration::from_millis(0x0102)))],
        );
        let (datagram, number) = batch.finish().expect("there is something to do");
        assert_eq!((datagram.len(), number), (20 + 68 + 20, 1));
        let message = &datagram[20..88];
        let expected: [&[u8]; 9] = [
            &[64 + 4, 0, 0, 0],                      // its length
            &[12, 10, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0], // new element, request|ack|create, number 1
            &[1, 0, 0, 0],                           // inet
            &[6, 0, 1, 0, b't', 0, 0, 0],            // the table, padded
            &[6, 0, 2, 0, b's', 0, 0, 0],            // the set
            &[32, 0, 3, 0x80, 28, 0, 1, 0x80],       // the list, its only element
            &[12, 0, 1, 0x80, 8, 0, 1, 0],           // the key
            &[192, 0, 2, 1],
            &[12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 2], // the timeout
        ];
        assert_eq!(message, expected.concat());
    }

    #[test]
    fn reads_answers() {
        let ack = |number: u8, error: i32| {
            let mut bytes = vec![36, 0, 0, 0, 2, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(error.to_ne_bytes());
            bytes.resize(36, 0);
            bytes
        };
        let answer = [ack(1, -2), ack(2, 0)].concat();
        assert_eq!(errors(&answer), [(1, 2), (2, 0)]);
        assert_eq!(errors(&answer[..17]), []); // cut short
    }
}
