//! Changes of elements of sets, as the kernel reads them.
//!
//! One batch is one datagram: a message that begins it, one for each verb and run of elements, one
//! that ends it. The kernel makes all of it or none, and answers each message that asks for it
//! (`NLM_F_ACK`: the last one) or failed. Sources: linux/netlink.h, linux/netfilter/nfnetlink.h and
//! linux/netfilter/nf_tables.h.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::interval::after;
use super::message::{
    self, NFNL_SUBSYS_NFTABLES, NFPROTO_INET, NFPROTO_UNSPEC, NFT_SET_ELEM_INTERVAL_END,
    NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE,
    NFTA_SET_ELEM_TIMEOUT, NLM_F_ACK, NLM_F_CREATE, Writer,
};

/// Elements of one message: their attribute must stay below 64 KiB, and a prefix of IPv6, which is
/// two of them, takes up to 76 bytes.
pub(super) const MAX_ELEMENTS: usize = 800;

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 12;
const NFT_MSG_DELSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 14;

/// What is done to a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    Add,
    Delete,
    /// Deletes all that it holds; names no element.
    Flush,
}

/// One verb for elements of one set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) set: String,
    /// Whether the set holds prefixes, as intervals, or single addresses.
    pub(super) intervals: bool,
    /// Who, and for how long; `None` for ever.
    pub(super) elements: Vec<(IpNet, Option<Duration>)>,
}

/// Changes of sets of one table.
#[derive(Debug)]
pub(super) struct Batch {
    writer: Writer,
    table: &'static str,
    /// The set that each message is about; the first message is number 1.
    sets: Vec<String>,
}

impl Batch {
    pub(super) fn new(table: &'static str, operations: &[Operation]) -> Self {
        let mut batch = Self { writer: Writer::default(), table, sets: Vec::new() };
        batch.edge(NFNL_MSG_BATCH_BEGIN);
        for operation in operations {
            if operation.verb == Verb::Flush {
                batch.message(operation, &[]);
            }
            for elements in operation.elements.chunks(MAX_ELEMENTS) {
                batch.message(operation, elements);
            }
        }
        batch
    }

    fn message(&mut self, operation: &Operation, elements: &[(IpNet, Option<Duration>)]) {
        let (kind, flags) = match operation.verb {
            Verb::Add => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
            Verb::Delete | Verb::Flush => (NFT_MSG_DELSETELEM, 0),
        };
        let writer = &mut self.writer;
        let message = writer.begin(kind, flags, NFPROTO_INET, 0);
        writer.text(NFTA_SET_ELEM_LIST_TABLE, self.table);
        writer.text(NFTA_SET_ELEM_LIST_SET, &operation.set);
        if !elements.is_empty() {
            let list = writer.open(NFTA_SET_ELEM_LIST_ELEMENTS);
            for (net, timeout) in elements {
                element(writer, net.network(), 0, *timeout);
                if operation.intervals
                    && let Some(end) = after(net)
                {
                    element(writer, end, NFT_SET_ELEM_INTERVAL_END, None);
                }
            }
            writer.close(list);
        }
        writer.end(message);
        self.sets.push(operation.set.clone());
    }

    /// The set that message `number` is about.
    pub(super) fn set(&self, number: u32) -> &str {
        let at = usize::try_from(number).ok().and_then(|it| it.checked_sub(1));
        at.and_then(|at| self.sets.get(at)).map_or("", String::as_str)
    }

    /// The datagram, and the number of the message that is answered when all is made; nothing
    /// where nothing is to be done.
    pub(super) fn finish(&mut self) -> Option<(Vec<u8>, u32)> {
        if self.sets.is_empty() {
            return None;
        }
        let number = self.writer.flag_last(NLM_F_ACK);
        self.edge(NFNL_MSG_BATCH_END);
        Some((self.writer.take(), number))
    }

    /// One of the two messages that hold a batch together.
    fn edge(&mut self, kind: u16) {
        let message = self.writer.begin(kind, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
        self.writer.end(message);
    }
}

fn element(writer: &mut Writer, key: IpAddr, flags: u32, timeout: Option<Duration>) {
    let element = writer.open(NFTA_LIST_ELEM);
    let data = writer.open(NFTA_SET_ELEM_KEY);
    match key {
        IpAddr::V4(addr) => writer.attribute(NFTA_DATA_VALUE, &addr.octets()),
        IpAddr::V6(addr) => writer.attribute(NFTA_DATA_VALUE, &addr.octets()),
    }
    writer.close(data);
    if flags != 0 {
        writer.attribute(NFTA_SET_ELEM_FLAGS, &flags.to_be_bytes());
    }
    if let Some(timeout) = timeout {
        writer.attribute(NFTA_SET_ELEM_TIMEOUT, &message::milliseconds(timeout).to_be_bytes());
    }
    writer.close(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(verb: Verb, net: &str, intervals: bool) -> Operation {
        let net = net.parse().expect("the test holds a prefix");
        let elements = vec![(net, Some(Duration::from_millis(0x0102)))];
        Operation { verb, set: "s".to_owned(), intervals, elements }
    }

    #[test]
    fn is_what_the_kernel_reads() {
        let mut batch = Batch::new("t", &[operation(Verb::Add, "192.0.2.1/32", false)]);
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
    fn a_prefix_is_two_elements() {
        let mut batch = Batch::new("t", &[operation(Verb::Delete, "192.0.2.0/24", true)]);
        let (datagram, _) = batch.finish().expect("there is something to do");
        let end =
            [24, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 192, 0, 3, 0, 8, 0, 3, 0, 0, 0, 0, 1];
        assert_eq!(datagram[20 + 68..20 + 68 + 24], end);
        // Nothing is after the last address.
        let mut batch = Batch::new("t", &[operation(Verb::Add, "255.0.0.0/8", true)]);
        assert_eq!(batch.finish().map(|(datagram, _)| datagram.len()), Some(20 + 68 + 20));
        assert_eq!(Batch::new("t", &[]).finish(), None);
    }
}
