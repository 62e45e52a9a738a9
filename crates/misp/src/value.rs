//! An attribute's value as MISP stores it.
//!
//! MISP changes what it is given before it looks for duplicates: an address is compressed and
//! loses a full-length prefix, `198[.]51[.]100[.]7` loses its brackets, a hash becomes lower case,
//! `1.2.3.4:22` becomes the pair `1.2.3.4|22`. Whoever compares a value with MISP's, or makes an
//! identity from it, must change it in the same way. What each row of the tests claims was seen
//! on the wire of MISP 2.5.1 where it concerns addresses; the other types follow its documentation.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};

/// MISP keeps both halves of a value in columns of this many bytes.
pub const MAX_BYTES: usize = 65_535;

/// A value as MISP stores it: one text, or the two halves of a composite type.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct Value {
    /// The value; of a composite type, the half before the bar.
    pub first: String,
    /// The half after the bar; empty unless the type is composite.
    pub second: String,
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.first)?;
        if !self.second.is_empty() {
            write!(out, "|{}", self.second)?;
        }
        Ok(())
    }
}

/// Why MISP refuses a value. The texts are MISP's own: clients compare them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Nothing but white space.
    #[error("Value cannot be empty.")]
    Empty,
    /// Neither an address nor a network.
    #[error("IP address has an invalid format.")]
    Address,
    /// A composite type without its bar.
    #[error("Composite type found but the value not in the composite (value1|value2) format.")]
    NotComposite,
    /// Not a whole number from 1 to 65535.
    #[error("Port numbers have to be integers between 1 and 65535.")]
    Port,
    /// Not the hexadecimal digits of a hash of this type.
    #[error("Checksum has an invalid length or format.")]
    Hash,
    /// Not a domain or host name.
    #[error("Domain name has an invalid format.")]
    Domain,
    /// Not an address of mail.
    #[error("Email address has an invalid format.")]
    Email,
    /// Not a time in ISO 8601.
    #[error("Datetime has to be in the ISO 8601 format.")]
    Datetime,
    /// Not a whole number.
    #[error("The value has to be a whole number.")]
    Number,
    /// Longer than [`MAX_BYTES`].
    #[error(
        "The entered string is too long and would get truncated. \
         Please consider adding the data as an attachment instead"
    )]
    TooLong,
}

/// Makes of `text` what MISP stores for an attribute of type `kind`.
///
/// # Errors
///
/// Says, in MISP's words, why MISP would refuse the value. A type with no rule here takes any text.
pub fn normalise(kind: &str, text: &str) -> Result<Value, ValueError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ValueError::Empty);
    }
    let value = match kind.split_once('|') {
        Some((first, second)) => pair(first, second, text)?,
        None => Value { first: single(kind, text)?, second: String::new() },
    };
    if value.first.len() > MAX_BYTES || value.second.len() > MAX_BYTES {
        return Err(ValueError::TooLong);
    }
    Ok(value)
}

fn pair(first: &str, second: &str, text: &str) -> Result<Value, ValueError> {
    let (left, right) = text
        .split_once('|')
        .or_else(|| (second == "port").then(|| colon(text)).flatten())
        .ok_or(ValueError::NotComposite)?;
    if right.is_empty() || right.contains('|') {
        return Err(ValueError::NotComposite);
    }
    let second = if second == "ip" { "ip-src" } else { second };
    Ok(Value { first: single(first, left.trim())?, second: single(second, right.trim())? })
}

/// Splits `192.0.2.1:22` and `[2001:db8::1]:22`, but not a bare IPv6 address.
fn colon(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(host) => Some((host.strip_suffix(']')?, port)),
        None => (!host.contains(':')).then_some((host, port)),
    }
}

fn single(kind: &str, text: &str) -> Result<String, ValueError> {
    match kind {
        "ip-src" | "ip-dst" => address(&refang(text)),
        "port" => port(text),
        "domain" | "hostname" => domain(&refang(text)),
        "email" | "email-src" | "email-dst" | "email-reply-to" | "target-email" => {
            email(&refang(text))
        }
        "url" | "link" => Ok(refang_scheme(&refang(text))),
        "datetime" => datetime(text),
        "counter" | "integer" | "size-in-bytes" => number(text),
        "AS" => Ok(text.strip_prefix("AS").unwrap_or(text).to_owned()),
        _ => match hash_digits(kind) {
            Some(n_digits) => hash(text, n_digits),
            None => Ok(text.to_owned()),
        },
    }
}

fn address(text: &str) -> Result<String, ValueError> {
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    let ip: IpAddr = host.parse().map_err(|_| ValueError::Address)?;
    let widest = if ip.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else { return Ok(ip.to_string()) };
    if !prefix.bytes().all(|it| it.is_ascii_digit()) {
        return Err(ValueError::Address);
    }
    match prefix.parse::<u8>() {
        Ok(n_bits) if n_bits == widest => Ok(ip.to_string()),
        Ok(n_bits) if n_bits < widest => Ok(format!("{ip}/{n_bits}")),
        _ => Err(ValueError::Address),
    }
}

fn port(text: &str) -> Result<String, ValueError> {
    match text.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number.to_string()),
        _ => Err(ValueError::Port),
    }
}

fn domain(text: &str) -> Result<String, ValueError> {
    /// RFC 1035, section 3.1: a name, and a label of it.
    const MAX_NAME: usize = 253;
    const MAX_LABEL: usize = 63;
    let name = text.trim_matches('.').to_lowercase();
    let valid = |label: &str| {
        let fits = label.chars().count() <= MAX_LABEL;
        let plain = label.chars().all(|it| it.is_alphanumeric() || it == '-' || it == '_');
        fits && plain && !label.is_empty()
    };
    if name.len() > MAX_NAME || !name.contains('.') || !name.split('.').all(valid) {
        return Err(ValueError::Domain);
    }
    Ok(name)
}

fn email(text: &str) -> Result<String, ValueError> {
    let text = text.to_lowercase();
    match text.rsplit_once('@') {
        Some((local, host)) if !local.is_empty() && !host.is_empty() && !text.contains(' ') => {
            Ok(text)
        }
        _ => Err(ValueError::Email),
    }
}

/// MISP keeps times with microseconds, and the offset without its colon.
fn datetime(text: &str) -> Result<String, ValueError> {
    let offset = Pieces::parse(text).ok().and_then(|it| it.to_numeric_offset());
    let zone = TimeZone::fixed(offset.unwrap_or(Offset::UTC));
    let zoned = text.parse::<Timestamp>().map(|it| it.to_zoned(zone));
    let zoned = zoned.or_else(|_| text.parse::<DateTime>()?.to_zoned(TimeZone::UTC));
    let zoned = zoned.map_err(|_| ValueError::Datetime)?;
    Ok(zoned.strftime("%Y-%m-%dT%H:%M:%S.%6f%z").to_string())
}

fn number(text: &str) -> Result<String, ValueError> {
    match text.bytes().all(|it| it.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err(ValueError::Number),
    }
}

fn hash(text: &str, n_digits: usize) -> Result<String, ValueError> {
    let digits = text.to_lowercase();
    if digits.len() != n_digits || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(ValueError::Hash);
    }
    Ok(digits)
}

fn hash_digits(kind: &str) -> Option<usize> {
    match kind {
        "md5"
        | "imphash"
        | "x509-fingerprint-md5"
        | "ja3-fingerprint-md5"
        | "hassh-md5"
        | "hasshserver-md5" => Some(32),
        "sha1" | "pehash" | "git-commit-id" | "x509-fingerprint-sha1" | "cdhash" => Some(40),
        "sha224" | "sha3-224" | "sha512/224" => Some(56),
        "sha256" | "authentihash" | "sha3-256" | "sha512/256" | "x509-fingerprint-sha256" => {
            Some(64)
        }
        "sha384" | "sha3-384" => Some(96),
        "sha512" | "sha3-512" => Some(128),
        _ => None,
    }
}

/// Takes away what analysts put into an address so that nobody clicks on it.
fn refang(text: &str) -> String {
    if !text.contains(['[', '(']) {
        return text.to_owned();
    }
    let mut text = text.to_owned();
    for (worn, plain) in [
        ("[.]", "."),
        ("(.)", "."),
        ("[dot]", "."),
        ("(dot)", "."),
        ("[:]", ":"),
        ("[://]", "://"),
        ("[@]", "@"),
        ("[at]", "@"),
    ] {
        text = text.replace(worn, plain);
    }
    text
}

fn refang_scheme(text: &str) -> String {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    match scheme.to_ascii_lowercase().as_str() {
        "hxxp" => format!("http:{rest}"),
        "hxxps" => format!("https:{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, text: &str, want: Result<&str, ValueError>) {
        let got = normalise(kind, text).map(|it| it.to_string());
        assert_eq!(got.as_deref().map_err(|it| *it), want, "{kind} {text}");
    }

    #[test]
    fn addresses() {
        check("ip-src", "198.51.100.1", Ok("198.51.100.1"));
        check("ip-src", "  198.51.100.5  ", Ok("198.51.100.5"));
        check("ip-src", "2001:0DB8:0000:0000:0000:0000:0000:00AB", Ok("2001:db8::ab"));
        check("ip-src", "::ffff:198.51.100.77", Ok("::ffff:198.51.100.77")); // stays mapped
        check("ip-src", "198[.]51[.]100[.]7", Ok("198.51.100.7"));
        check("ip-dst", "10.0.0.1", Ok("10.0.0.1")); // private is fine
        check("ip-src", "198.051.100.006", Err(ValueError::Address));
        check("ip-src", "999.1.2.3", Err(ValueError::Address));
        check("ip-src", "evil.example", Err(ValueError::Address));
        check("ip-src", "fe80::1%eth0", Err(ValueError::Address)); // a zone means nothing elsewhere
        check("ip-src", "", Err(ValueError::Empty));
        check("ip-src", " \n", Err(ValueError::Empty));
    }

    #[test]
    fn networks() {
        check("ip-src", "198.51.100.128/25", Ok("198.51.100.128/25"));
        check("ip-src", "198.51.100.4/32", Ok("198.51.100.4"));
        check("ip-src", "2001:db8::4/128", Ok("2001:db8::4"));
        check("ip-src", "198.51.100.4/33", Err(ValueError::Address));
        check("ip-src", "198.51.100.4/", Err(ValueError::Address));
        check("ip-src", "198.51.100.4/+8", Err(ValueError::Address));
    }

    #[test]
    fn composites() {
        check("ip-src|port", "198.51.100.8|22", Ok("198.51.100.8|22"));
        check("ip-src|port", "198.51.100.9:22", Ok("198.51.100.9|22"));
        check("ip-src|port", "2001:db8::8|22", Ok("2001:db8::8|22"));
        check("ip-src|port", "[2001:db8::8]:22", Ok("2001:db8::8|22"));
        check("ip-src|port", "198.51.100.8", Err(ValueError::NotComposite));
        check("ip-src|port", "2001:db8::8", Err(ValueError::NotComposite));
        check("ip-src|port", "198.51.100.8|70000", Err(ValueError::Port));
        check("ip-src|port", "198.51.100.8|22|23", Err(ValueError::NotComposite));
        check("domain|ip", "Evil.example|192.0.2.1", Ok("evil.example|192.0.2.1"));
        check("filename|md5", "a|D41D8CD98F00B204E9800998ECF8427E", {
            Ok("a|d41d8cd98f00b204e9800998ecf8427e")
        });
        let halves = normalise("ip-src|port", "192.0.2.1|22").expect("valid");
        assert_eq!((halves.first.as_str(), halves.second.as_str()), ("192.0.2.1", "22"));
    }

    #[test]
    fn other_types() {
        check("domain", "Evil[.]Example.", Ok("evil.example"));
        check("domain", "no spaces.example", Err(ValueError::Domain));
        check("url", "hxxps://evil[.]example/A", Ok("https://evil.example/A"));
        check("email-src", "Root@Evil.example", Ok("root@evil.example"));
        check("md5", "xyz", Err(ValueError::Hash));
        check("AS", "AS64496", Ok("64496"));
        check("datetime", "2026-11-22T05:00:00+00:00", Ok("2026-11-22T05:00:00.000000+0000"));
        check("datetime", "2026-11-22 05:00", Ok("2026-11-22T05:00:00.000000+0000"));
        check("datetime", "2026-11-22T05:00:00+02:00", Ok("2026-11-22T05:00:00.000000+0200"));
        check("datetime", "yesterday", Err(ValueError::Datetime));
        check("counter", "17", Ok("17"));
        check("counter", "many", Err(ValueError::Number));
        check("text", " <b>anything</b> ", Ok("<b>anything</b>"));
        check("text", &"x".repeat(70_000), Err(ValueError::TooLong));
        check("ip-src", &"1".repeat(5_000), Err(ValueError::Address));
    }
}
