//! Netlink messages of nf_tables: their headers and attributes, written and read.
//!
//! Sources: linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.

use std::time::Duration;

const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// The bits of an attribute's kind that say something about its value.
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10;
pub(super) const NFPROTO_UNSPEC: u8 = 0;
pub(super) const NFPROTO_INET: u8 = 1;

pub(super) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(super) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const NFTA_LIST_ELEM: u16 = 1;
pub(super) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(super) const NFTA_SET_ELEM_FLAGS: u16 = 3;
pub(super) const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
pub(super) const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// The length of a message's first header (nlmsghdr).
const HEADER_BYTES: usize = 16;
/// The length of the second one (nfgenmsg).
const FAMILY_BYTES: usize = 4;
/// The length of an attribute's header.
const ATTRIBUTE_BYTES: usize = 4;

/// Writes messages, one after the other; the number of each is its place.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    n_messages: u32,
    /// Where the last message begins.
    last: usize,
}

impl Writer {
    /// The headers of a message.
    pub(super) fn begin(&mut self, kind: u16, flags: u16, family: u8, resource: u16) -> usize {
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

    pub(super) fn end(&mut self, start: usize) {
        let length = u32::try_from(self.bytes.len() - start).expect("a message is below 64 KiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open_plain(kind);
        self.bytes.extend(value);
        self.close(start);
    }

    /// A string, which ends with a zero.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat());
    }

    pub(super) fn open(&mut self, kind: u16) -> usize {
        self.open_plain(kind | NLA_F_NESTED)
    }

    fn open_plain(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend(0_u16.to_ne_bytes()); // the length, known when it is closed
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    pub(super) fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        let length = u16::try_from(length).expect("the most elements of a message fit");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Adds flags to the last message, and returns its number.
    pub(super) fn flag_last(&mut self, flags: u16) -> u32 {
        let at = self.last + 6;
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
        self.n_messages - 1
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// A timeout as the kernel takes it; zero would be for ever.
pub(super) fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A message that was received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    /// The number of the message that it answers.
    pub(super) number: u32,
    /// What follows the first header.
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The error of an answer that is one, 0 for none.
    pub(super) fn error(&self) -> Option<i32> {
        let code = self.body.first_chunk::<4>()?;
        Some(i32::from_ne_bytes(*code).saturating_neg())
    }

    /// The attributes of a message of nf_tables.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.body.get(FAMILY_BYTES..).unwrap_or_default())
    }
}

/// The messages of a datagram; one that is cut short ends them.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = datagram.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = usize::try_from(u32::from_ne_bytes(word(0))).ok()?;
        let body = datagram.get(HEADER_BYTES..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        let number = u32::from_ne_bytes(word(8));
        Some(Message { kind: half(4), flags: half(6), number, body })
    })
}

/// Attributes, one after the other; one that is cut short ends them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// All of them, as they were received.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value of the first one of this kind.
    pub(super) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(it, value)| (it == kind).then_some(value))
    }

    /// The attributes in the first one of this kind.
    pub(super) fn inside(self, kind: u16) -> Option<Self> {
        self.find(kind).map(Self)
    }

    /// The attributes in each one of this kind.
    pub(super) fn each(self, kind: u16) -> impl Iterator<Item = Self> {
        self.filter(move |(it, _)| *it == kind).map(|(_, value)| Self(value))
    }

    /// A string, without the zero that ends it.
    pub(super) fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.find(kind)?;
        str::from_utf8(value.strip_suffix(b"\0").unwrap_or(value)).ok()
    }

    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(*self.find(kind)?.first_chunk()?))
    }

    pub(super) fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(*self.find(kind)?.first_chunk()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<ATTRIBUTE_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut writer = Writer::default();
        let first = writer.begin(7, NLM_F_DUMP, NFPROTO_INET, 0);
        writer.text(1, "sshd");
        let list = writer.open(3);
        writer.attribute(2, &9_u32.to_be_bytes());
        writer.attribute(2, &[]);
        writer.close(list);
        writer.end(first);
        let second = writer.begin(8, 0, NFPROTO_UNSPEC, 0);
        writer.end(second);
        assert_eq!(writer.flag_last(NLM_F_ACK), 1);
        let bytes = writer.take();

        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!(
            read.iter().map(|it| (it.kind, it.flags)).collect::<Vec<_>>(),
            [(7, 0x301), (8, 5)]
        );
        let attributes = read[0].attributes();
        assert_eq!(attributes.text(1), Some("sshd"));
        assert_eq!(attributes.inside(3).and_then(|it| it.u32(2)), Some(9));
        assert_eq!(attributes.u64(1), None);
        for cut in 0..bytes.len() {
            // Whatever is missing, nothing panics.
            messages(&bytes[..cut])
                .for_each(|it| _ = it.attributes().inside(3).map(Iterator::count));
        }
    }
}
