//! Reads lists of indicators: one a line, CSV with or without a header, or MISP's JSON.
//!
//! A line may go on after the indicator, behind a space, `;` or `#`. In CSV the column is the one
//! named for it, else the first that holds an indicator. An address may have a port. What is no
//! indicator is told with its line, and the rest is used.

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::net::SocketAddr;

use crate::block::{Block, Blocks};
use crate::indicator::Indicator;
use crate::misp_json;
use crate::token::whole_v4;

/// The most bad lines that are told one by one: a wrong file has nothing but bad lines.
const MAX_TOLD: usize = 10;
/// What the column of indicators is called in the exports of MISP and other makers of lists.
const COLUMN_NAMES: [&str; 10] = [
    "value",
    "indicator",
    "ip",
    "ip_address",
    "ipaddress",
    "address",
    "src_ip",
    "ioc",
    "ioc_value",
    "cidr",
];
/// A prefix that is shorter than this holds more than a 256th of all addresses.
pub const WIDEST_PREFIX: u8 = 8;

/// What a list holds.
#[derive(Debug, Default)]
pub struct List {
    /// The indicators, in the order of the list.
    pub indicators: Vec<Indicator>,
    /// Lines that hold none, the first of them in full.
    pub bad: Vec<BadLine>,
    /// How many such lines there are.
    pub n_bad: u64,
    /// Attributes of other types: hashes, names of domains.
    pub n_other: u64,
}

/// A line that holds no indicator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadLine {
    /// From 1.
    pub line: u64,
    /// Its text, or as much of it as is needed to find it; hostile.
    pub text: String,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The system does not let us.
    #[error("cannot be read to its end")]
    Io(#[from] io::Error),
    /// It begins as JSON and is none.
    #[error("is no JSON of MISP's; give it as MISP exports events or attributes")]
    Json(#[from] serde_json::Error),
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// When `from` cannot be read, or begins as JSON and is none.
    pub fn read(mut from: impl BufRead) -> Result<Self, ListError> {
        let mut list = Self::default();
        let begin = from.fill_buf()?;
        if begins_json(begin.trim_ascii_start()) {
            misp_json::for_each_attribute(from, |kind, value| list.take_attribute(kind, value))?;
            return Ok(list);
        }
        let mut column = Column::default();
        let (mut blocks, mut block) = (Blocks::new(from), Block::default());
        let mut number = 0;
        while blocks.next(&mut block)? {
            let lines = block.text().split_inclusive(|byte| *byte == b'\n');
            // Nobody writes an indicator so far behind the beginning of a line.
            for line in lines.skip(usize::from(block.goes_on)) {
                number += 1;
                // Most lists hold a million of these and nothing else.
                match whole_v4(line.trim_ascii_end()) {
                    Some(addr) => list.indicators.push(Indicator::Address(addr.into())),
                    None => list.take_line(number, &String::from_utf8_lossy(line), &mut column),
                }
            }
        }
        Ok(list)
    }

    /// Removes prefixes that are wider than [`WIDEST_PREFIX`], and tells them.
    pub fn remove_wide(&mut self) -> Vec<Indicator> {
        let is_wide = |it: &mut Indicator| matches!(it, Indicator::Prefix(net) if net.prefix_len() < WIDEST_PREFIX);
        self.indicators.extract_if(.., is_wide).collect()
    }

    fn take_line(&mut self, number: u64, line: &str, column: &mut Column) {
        let text = line.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        if let Ok(indicator) = text.parse() {
            self.indicators.push(indicator);
            return;
        }
        match column.find(number, text) {
            Found::Value(indicator) => self.indicators.push(indicator),
            Found::OtherType => self.n_other += 1,
            Found::Header => {}
            Found::Nothing => {
                self.n_bad += 1;
                if self.bad.len() < MAX_TOLD {
                    let text = text.chars().take(80).collect();
                    self.bad.push(BadLine { line: number, text });
                }
            }
        }
    }

    fn take_attribute(&mut self, kind: &str, value: &str) {
        match of_attribute(kind, value) {
            Some(indicator) => self.indicators.push(indicator),
            None => self.n_other += 1,
        }
    }
}

/// Whether a text begins as JSON does: an object, or a list that is no address in brackets.
fn begins_json(text: &[u8]) -> bool {
    match text {
        [b'{', ..] => true,
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'{' | b'"' | b']')),
        _ => false,
    }
}

/// The indicator in a MISP attribute of this type.
pub fn of_attribute(kind: &str, value: &str) -> Option<Indicator> {
    match kind {
        "ip-src" | "ip-dst" => read(value),
        "ip-src|port" | "ip-dst|port" => read(value.split('|').next()?),
        "domain|ip" => read(value.split('|').nth(1)?),
        "ssh-fingerprint" => value.parse().or_else(|_| format!("MD5:{value}").parse()).ok(),
        "target-user" => Some(Indicator::User(value.to_owned())),
        _ => None,
    }
}

/// An indicator, or an address with a port.
fn read(text: &str) -> Option<Indicator> {
    let text = text.trim();
    let with_port =
        || Some(Indicator::Address(text.parse::<SocketAddr>().ok()?.ip().to_canonical()));
    text.parse().ok().or_else(with_port)
}

/// Which column of a CSV holds the indicators.
#[derive(Debug, Default)]
struct Column {
    value: Option<usize>,
    kind: Option<usize>,
}

/// What a line of several words or fields holds.
enum Found {
    Value(Indicator),
    /// A header, which names the columns.
    Header,
    /// An attribute of another type.
    OtherType,
    Nothing,
}

impl Column {
    fn find(&mut self, number: u64, line: &str) -> Found {
        let fields = fields(line);
        if number == 1 && fields.iter().all(|field| read(field).is_none()) {
            let named = |names: &[&str]| {
                fields.iter().position(|it| names.contains(&it.trim().to_lowercase().as_str()))
            };
            *self = Self { value: named(&COLUMN_NAMES), kind: named(&["type"]) };
            if self.value.is_some() {
                return Found::Header;
            }
        }
        let Some(value) = self.value.and_then(|column| fields.get(column)) else {
            let first_word = line.split([' ', '\t', ';', '#', '|']).next().unwrap_or_default();
            let found = read(first_word).or_else(|| fields.iter().find_map(|field| read(field)));
            return found.map_or(Found::Nothing, Found::Value);
        };
        match self.kind.and_then(|column| fields.get(column)) {
            Some(kind) => of_attribute(kind, value).map_or(Found::OtherType, Found::Value),
            None => read(value).map_or(Found::Nothing, Found::Value),
        }
    }
}

/// The fields of a line of CSV, whatever parts them.
fn fields(line: &str) -> Vec<Cow<'_, str>> {
    let comma = [',', '\t', ';'].into_iter().find(|comma| line.contains(*comma)).unwrap_or(',');
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(line) = rest {
        let (field, after) = match line.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted),
            None => match line.find(comma) {
                Some(end) => (Cow::Borrowed(&line[..end]), &line[end..]),
                None => (Cow::Borrowed(line), ""),
            },
        };
        fields.push(field);
        rest = after.strip_prefix(comma);
    }
    fields
}

/// A field behind its opening quote, and what stands behind the closing one.
fn quoted_field(text: &str) -> (Cow<'_, str>, &str) {
    let mut end = 0;
    while let Some(quote) = text[end..].find('"') {
        end += quote;
        if !text[end + 1..].starts_with('"') {
            return (Cow::Owned(text[..end].replace("\"\"", "\"")), &text[end + 1..]);
        }
        end += 2;
    }
    (Cow::Borrowed(text), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str], bad: &[u64]) {
        let list = List::read(text.as_bytes()).expect("bytes in memory can be read");
        let got: Vec<_> = list.indicators.iter().map(Indicator::to_string).collect();
        assert_eq!(got, want, "{text}");
        assert_eq!(list.bad.iter().map(|it| it.line).collect::<Vec<_>>(), bad, "{text}");
    }

    #[test]
    fn plain_lists_with_what_people_write_into_them() {
        check(
            "192.0.2.7\n\n# x\n2001:db8::1\r\n10.0.0.0/8",
            &["192.0.2.7", "2001:db8::1", "10.0.0.0/8"],
            &[],
        );
        check(
            "192.0.2.0/24 ; SBL1\n192.0.2.7 # known\n192.0.2.8\tx\n",
            &["192.0.2.0/24", "192.0.2.7", "192.0.2.8"],
            &[],
        );
        check(
            "192.0.2.7:443\n[2001:db8::1]:22\n[2001:db8::2]\n192.0.2.8|80\n",
            &["192.0.2.7", "2001:db8::1", "2001:db8::2", "192.0.2.8"],
            &[],
        );
        check(
            "192.0.2.7\nevil.example\n192.0.2.300\nuser:mallory\n",
            &["192.0.2.7", "user:mallory"],
            &[2, 3],
        );
        check("", &[], &[]);
    }

    #[test]
    fn of_a_line_that_fills_blocks_the_beginning_counts() {
        let long = format!("192.0.2.7 {}\n", "192.0.2.8 ".repeat(400_000));
        check(&format!("{long}x\n{long}192.0.2.9"), &["192.0.2.7", "192.0.2.7", "192.0.2.9"], &[2]);
    }

    #[test]
    fn csv_with_a_header_and_without() {
        check("first,192.0.2.7,x\nsecond,none\n", &["192.0.2.7"], &[2]);
        check("ip;note\n192.0.2.7;192.0.2.8\n", &["192.0.2.7"], &[]);
        let misp = "uuid,event_id,category,type,value,comment\n\
            \"a\",1,\"Network activity\",\"ip-src\",\"192.0.2.7\",\"a \"\"b\"\", c\"\n\
            \"b\",1,\"Network activity\",\"ip-dst|port\",\"192.0.2.8|80\",\"\"\n\
            \"c\",1,\"Payload delivery\",\"md5\",\"0\",\"192.0.2.9\"\n";
        check(misp, &["192.0.2.7", "192.0.2.8"], &[]);
    }

    #[test]
    fn mi_sp_json_in_any_of_its_shapes() {
        let attribute = r#"{"value":"192.0.2.7","type":"ip-src","Tag":[{"name":"type"}]}"#;
        for text in [
            format!(r#"{{"Event":{{"info":"x","Attribute":[{attribute}]}}}}"#),
            format!(r#"{{"response":[{{"Event":{{"Object":[{{"Attribute":[{attribute}]}}]}}}}]}}"#),
            format!(r#" [{attribute}, {{"type":"md5","value":"0"}}]"#),
        ] {
            check(&text, &["192.0.2.7"], &[]);
        }
        assert!(List::read(&b"{\"Event\": "[..]).is_err());
    }
}
