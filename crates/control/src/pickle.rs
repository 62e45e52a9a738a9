//! fail2ban's own protocol, for programs that speak it to fail2ban's socket: a pickled list of words
//! and an end mark in, a pickled `(0, value)` or `(1, exception)` and the mark out.
//!
//! Pickle (Python's `pickletools`) is a program for a machine with a stack. Of what comes in only
//! the words of a flat list are understood, and nothing is ever called. What goes out is of protocol
//! 2, which everybody reads. A conversation ends with the other end, or with its close mark
//! (`fail2ban/server/asyncserver.py`).

use std::io::{self, Read, Write};

use serde_json::Value;

use crate::fail2ban::CommandError;
use crate::frame::MAX_REQUEST_BYTES;
use crate::server::Refusal;

/// Ends every message.
const END: &[u8] = b"<F2B_END_COMMAND>";
/// Ends the conversation, in place of a message.
const CLOSE: &[u8] = b"<F2B_CLOSE_COMMAND>";

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// Why a message is none that is understood.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum PickleError {
    /// It ends too early.
    #[error("the message is cut off")]
    Cut,
    /// It is more than a list of words.
    #[error("the message is more than a list of words: it holds byte {0:#04x}")]
    Unknown(u8),
    /// A word is no UTF-8.
    #[error("a word of the message is no UTF-8")]
    Text,
}

/// Answers messages with what `answer` makes of their words, until the other end has enough.
pub(crate) fn converse(
    mut stream: impl Read + Write,
    mut answer: impl FnMut(&[&str]) -> Result<Value, CommandError<Refusal>>,
) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        let Some(end) = position(&received, END) else {
            if position(&received, CLOSE).is_some() || received.len() as u64 > MAX_REQUEST_BYTES {
                return Ok(());
            }
            let mut chunk = [0; CHUNK];
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                n => received.extend_from_slice(&chunk[..n]),
            }
            continue;
        };
        let mut reply = match words(&received[..end]) {
            Ok(words) => {
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                match answer(&words) {
                    Ok(value) => done(&words, &value),
                    Err(error) => refused(&error),
                }
            }
            Err(error) => exception("builtins", "ValueError", &error.to_string()),
        };
        reply.extend_from_slice(END);
        stream.write_all(&reply)?;
        stream.flush()?;
        received.drain(..end + END.len());
    }
}

fn position(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|it| it == mark)
}

/// The words of a pickled list.
fn words(pickle: &[u8]) -> Result<Vec<String>, PickleError> {
    let mut rest = Bytes(pickle);
    let (mut words, mut memo) = (Vec::new(), Vec::new());
    loop {
        match rest.byte()? {
            b'.' => return Ok(words),
            // The version, and a frame's length.
            0x80 => drop(rest.take(1)?),
            0x95 => drop(rest.take(8)?),
            // A list begins; what is put into it; where it ends.
            b']' | b'(' | b'a' | b'e' | b'l' | b't' | 0x85 | 0x86 | 0x87 | b')' => {}
            // What was said is remembered, to be said again by its number. Lists count, too.
            0x94 => memo.push(words.last().cloned()),
            b'q' => remember(&mut memo, rest.number(1)?, words.last().cloned()),
            b'r' => remember(&mut memo, rest.number(4)?, words.last().cloned()),
            b'h' => words.extend(recall(&memo, rest.number(1)?)),
            b'j' => words.extend(recall(&memo, rest.number(4)?)),
            // Texts, by the size of their length.
            0x8c | b'U' => words.push(rest.text(1)?),
            b'X' | b'T' => words.push(rest.text(4)?),
            0x8d => words.push(rest.text(8)?),
            // Numbers: fail2ban's client sends texts alone, others do not.
            b'K' => words.push(rest.number(1)?.to_string()),
            b'M' => words.push(rest.number(2)?.to_string()),
            b'J' => {
                let number = i32::from_le_bytes(rest.array()?);
                words.push(number.to_string());
            }
            b'G' => words.push(f64::from_be_bytes(rest.array()?).to_string()),
            0x88 => words.push("True".to_owned()),
            0x89 => words.push("False".to_owned()),
            unknown => return Err(PickleError::Unknown(unknown)),
        }
    }
}

/// Words that are remembered at most; a command is a few dozen.
const MAX_MEMO: usize = 10_000;

fn remember(memo: &mut Vec<Option<String>>, at: usize, word: Option<String>) {
    if at >= memo.len() && at < MAX_MEMO {
        memo.resize(at + 1, None);
    }
    if let Some(slot) = memo.get_mut(at) {
        *slot = word;
    }
}

fn recall(memo: &[Option<String>], at: usize) -> Option<String> {
    memo.get(at).cloned().flatten()
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], PickleError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(PickleError::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.take(1).map(|it| it[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        self.take(N)?.try_into().map_err(|_| PickleError::Cut)
    }

    /// A number of `n` bytes, the lowest first.
    fn number(&mut self, n: usize) -> Result<usize, PickleError> {
        let bytes = self.take(n)?.iter().rev();
        Ok(bytes.fold(0, |number, byte| (number << 8) | usize::from(*byte)))
    }

    /// A text after its length of `n` bytes.
    fn text(&mut self, n: usize) -> Result<String, PickleError> {
        let length = self.number(n)?;
        let text = self.take(length)?;
        str::from_utf8(text).map(str::to_owned).map_err(|_| PickleError::Text)
    }
}

/// `(0, value)`, where the pairs of `status` are tuples as there.
fn done(words: &[&str], value: &Value) -> Vec<u8> {
    let mut out = Pickle::new();
    out.number(0);
    match words {
        ["status"] => out.pairs(value, 1),
        ["status", "--all", ..] => out.value(value),
        ["status", ..] => out.pairs(value, 2),
        ["get", _, "datepattern"] | ["set", _, "datepattern", _] => out.tuple(value),
        _ => out.value(value),
    }
    out.pair();
    out.end()
}

/// `(1, exception)`, of the kind that fail2ban's client knows.
fn refused(error: &CommandError<Refusal>) -> Vec<u8> {
    match error {
        CommandError::Asked(Refusal::NoJail(jail)) => {
            exception("fail2ban.exceptions", "UnknownJailException", jail)
        }
        error => exception("builtins", "Exception", &error.to_string()),
    }
}

fn exception(module: &str, name: &str, text: &str) -> Vec<u8> {
    let mut out = Pickle::new();
    out.number(1);
    // The class, its arguments, and the call.
    out.0.extend_from_slice(format!("c{module}\n{name}\n").as_bytes());
    out.text(text);
    out.0.extend_from_slice(&[0x85, b'R']);
    out.pair();
    out.end()
}

/// A message in the making.
struct Pickle(Vec<u8>);

impl Pickle {
    fn new() -> Self {
        Self(vec![0x80, 2])
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.push(b'N'),
            Value::Bool(true) => self.0.push(0x88),
            Value::Bool(false) => self.0.push(0x89),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => self.number(number),
                (None, number) => {
                    self.0.push(b'G');
                    self.0.extend(number.unwrap_or(0.0).to_be_bytes());
                }
            },
            Value::String(text) => self.text(text),
            Value::Array(items) => self.list(items, Self::value),
            Value::Object(entries) => {
                self.0.extend_from_slice(b"}(");
                for (name, value) in entries {
                    self.text(name);
                    self.value(value);
                }
                self.0.push(b'u');
            }
        }
    }

    fn list(&mut self, items: &[Value], mut each: impl FnMut(&mut Self, &Value)) {
        self.0.extend_from_slice(b"](");
        items.iter().for_each(|item| each(self, item));
        self.0.push(b'e');
    }

    /// A list of pairs, whose second halves are such lists again at `depth` levels.
    fn pairs(&mut self, value: &Value, depth: usize) {
        let Value::Array(items) = value else { return self.value(value) };
        self.list(items, |out, item| match item.as_array().map(Vec::as_slice) {
            Some([name, second]) => {
                out.value(name);
                if depth > 1 {
                    out.pairs(second, depth - 1)
                } else {
                    out.value(second)
                }
                out.pair();
            }
            _ => out.value(item),
        });
    }

    fn tuple(&mut self, value: &Value) {
        match value.as_array().map(Vec::as_slice) {
            Some([first, second]) => {
                self.value(first);
                self.value(second);
                self.pair();
            }
            _ => self.value(value),
        }
    }

    /// The last two make a tuple.
    fn pair(&mut self) {
        self.0.push(0x86);
    }

    fn text(&mut self, text: &str) {
        // An answer is far below four gigabytes.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.0.push(b'X');
        self.0.extend(length.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        if let Ok(number) = i32::try_from(number) {
            self.0.push(b'J');
            self.0.extend(number.to_le_bytes());
        } else {
            // A long of eight bytes.
            self.0.extend_from_slice(&[0x8a, 8]);
            self.0.extend(number.to_le_bytes());
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pickle: &[u8], want: Result<&[&str], PickleError>) {
        let got = words(pickle);
        let got = got.as_ref().map(|it| it.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            got.map_err(|it| format!("{it}")),
            want.map(<[_]>::to_vec).map_err(|it| it.to_string())
        );
    }

    #[test]
    fn reads_lists_of_words_and_nothing_else() {
        // Python's protocol 4: the second `a` is the first one, remembered.
        check(
            b"\x80\x04\x95\x0b\0\0\0\0\0\0\0]\x94(\x8c\x01a\x94\x8c\x01b\x94h\x01e.",
            Ok(&["a", "b", "a"]),
        );
        check(b"\x80\x04]\x94.", Ok(&[]));
        // Protocol 2 of another library.
        check(b"\x80\x02(U\x06statusX\x04\0\0\0sshdK\x05l.", Ok(&["status", "sshd", "5"]));
        check(b"\x80\x04\x8c\x05ab", Err(PickleError::Cut));
        check(b"\x80\x04", Err(PickleError::Cut));
        check(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.", Err(PickleError::Cut));
        check(b"cos\nsystem\n(S'reboot'\ntR.", Err(PickleError::Unknown(b'c')));
        check(b"U\x01\xff.", Err(PickleError::Text));
    }
}
