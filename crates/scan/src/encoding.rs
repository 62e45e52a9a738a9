//! A log's encoding: how its bytes become text.

use std::borrow::Cow;

use encoding_rs as rs;

/// The encodings that a log may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    Utf8,
    Ascii,
    Latin1,
    /// One that was in use before Unicode.
    Legacy(&'static rs::Encoding, Controls),
}

/// What becomes of bytes in which Python and the web see different things: those of the control
/// characters from U+0080 on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Controls {
    /// Both read the same.
    AsRead,
    /// They are control characters, and none of those that a Windows code page put in their place.
    Kept,
    /// They are no characters at all.
    Refused,
}

use Controls::{AsRead, Kept, Refused};

/// Encodings by the names that Python knows them by (`encodings/aliases.py`), in small letters and
/// digits alone.
const NAMES: [(&str, Encoding); 3] = [
    ("auto utf8 u8 utf utf8ucs2 utf8ucs4 cp65001", Encoding::Utf8),
    (
        "ascii usascii us 646 ansix341968 ansix341986 cp367 csascii ibm367 iso646irv1991 iso646us \
         isoir6",
        Encoding::Ascii,
    ),
    (
        "latin1 latin l1 8859 iso8859 iso88591 iso885911987 isoir100 cp819 ibm819 csisolatin1",
        Encoding::Latin1,
    ),
];

const LEGACY: [(&str, &rs::Encoding, Controls); 36] = [
    ("iso88592 iso885921987 isoir101 l2 latin2 csisolatin2", rs::ISO_8859_2, AsRead),
    ("iso88593 iso885931988 isoir109 l3 latin3 csisolatin3", rs::ISO_8859_3, AsRead),
    ("iso88594 iso885941988 isoir110 l4 latin4 csisolatin4", rs::ISO_8859_4, AsRead),
    ("iso88595 iso885951988 isoir144 cyrillic csisolatincyrillic", rs::ISO_8859_5, AsRead),
    (
        "iso88596 iso885961987 isoir127 arabic asmo708 ecma114 csisolatinarabic",
        rs::ISO_8859_6,
        AsRead,
    ),
    (
        "iso88597 iso885971987 isoir126 greek greek8 elot928 ecma118 csisolatingreek",
        rs::ISO_8859_7,
        AsRead,
    ),
    ("iso88598 iso885981988 isoir138 hebrew csisolatinhebrew", rs::ISO_8859_8, AsRead),
    ("iso88599 iso885991989 isoir148 l5 latin5 csisolatin5", rs::WINDOWS_1254, Kept),
    ("iso885910 iso8859101992 isoir157 l6 latin6 csisolatin6", rs::ISO_8859_10, AsRead),
    ("iso885911 iso8859112001 thai", rs::WINDOWS_874, Kept),
    ("tis620 tis6200 tis62025290 tis62025291 isoir166", rs::WINDOWS_874, Kept),
    ("cp874", rs::WINDOWS_874, Refused),
    ("iso885913 l7 latin7", rs::ISO_8859_13, AsRead),
    ("iso885914 iso8859141998 isoceltic isoir199 l8 latin8", rs::ISO_8859_14, AsRead),
    ("iso885915 l9 latin9", rs::ISO_8859_15, AsRead),
    ("iso885916 iso8859162001 isoir226 l10 latin10", rs::ISO_8859_16, AsRead),
    ("1250 cp1250 windows1250", rs::WINDOWS_1250, Refused),
    ("1251 cp1251 windows1251", rs::WINDOWS_1251, Refused),
    ("1252 cp1252 windows1252", rs::WINDOWS_1252, Refused),
    ("1253 cp1253 windows1253", rs::WINDOWS_1253, Refused),
    ("1254 cp1254 windows1254", rs::WINDOWS_1254, Refused),
    ("1255 cp1255 windows1255", rs::WINDOWS_1255, Refused),
    ("1256 cp1256 windows1256", rs::WINDOWS_1256, Refused),
    ("1257 cp1257 windows1257", rs::WINDOWS_1257, Refused),
    ("1258 cp1258 windows1258", rs::WINDOWS_1258, Refused),
    ("866 cp866 ibm866 csibm866", rs::IBM866, AsRead),
    ("koi8r cskoi8r", rs::KOI8_R, AsRead),
    ("koi8u", rs::KOI8_U, AsRead),
    ("macintosh macroman", rs::MACINTOSH, AsRead),
    ("maccyrillic", rs::X_MAC_CYRILLIC, AsRead),
    ("big5 big5tw csbig5 xmactradchinese big5hkscs hkscs 950 cp950 ms950", rs::BIG5, AsRead),
    ("gb18030 gb180302000", rs::GB18030, AsRead),
    (
        "gbk 936 cp936 ms936 gb2312 gb231280 gb23121980 chinese euccn eucgb2312cn isoir58 \
         csiso58gb231280 xmacsimpchinese",
        rs::GBK,
        AsRead,
    ),
    ("eucjp ujis", rs::EUC_JP, AsRead),
    ("shiftjis sjis csshiftjis xmacjapanese 932 cp932 ms932 mskanji", rs::SHIFT_JIS, AsRead),
    ("euckr korean ksc5601 ksc56011987 ksx1001 xmackorean 949 cp949 ms949 uhc", rs::EUC_KR, AsRead),
];

/// Whether a log can be read in the encoding that Python knows by this name.
pub fn knows_encoding(name: &str) -> bool {
    Encoding::named(name).is_some()
}

impl Encoding {
    /// The encoding that Python knows by this name; `auto` is UTF-8.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let is_named = |names: &str| names.split(' ').any(|it| it.eq_ignore_ascii_case(&name));
        let legacy = LEGACY
            .into_iter()
            .map(|(names, encoding, controls)| (names, Self::Legacy(encoding, controls)));
        NAMES.into_iter().chain(legacy).find(|(names, _)| is_named(names)).map(|(_, it)| it)
    }

    /// Whether ASCII characters and the bytes that are ASCII are the same.
    pub(crate) fn keeps_ascii(self) -> bool {
        !matches!(self, Self::Legacy(..))
    }

    /// The text of `bytes`; what cannot be read becomes U+FFFD, as in fail2ban.
    pub(crate) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            // Much faster where nothing is wrong.
            Self::Utf8 => std::str::from_utf8(bytes)
                .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed),
            Self::Ascii | Self::Latin1 if bytes.is_ascii() => String::from_utf8_lossy(bytes),
            Self::Ascii => {
                let one = |&byte: &u8| if byte.is_ascii() { char::from(byte) } else { '\u{fffd}' };
                bytes.iter().map(one).collect()
            }
            Self::Latin1 => bytes.iter().map(|&byte| char::from(byte)).collect(),
            Self::Legacy(encoding, controls) => {
                let text = encoding.decode_without_bom_handling(bytes).0;
                if bytes.is_ascii() { text } else { controls.mend(text, bytes) }
            }
        }
    }
}

impl Controls {
    /// Mends `text`, of which each character was one of `bytes`.
    fn mend<'t>(self, text: Cow<'t, str>, bytes: &[u8]) -> Cow<'t, str> {
        let is_control = |found: char| matches!(found, '\u{80}'..='\u{9f}');
        match self {
            AsRead => text,
            Kept => {
                let both = text.chars().zip(bytes.iter().copied().map(char::from));
                both.map(|(read, byte)| if is_control(byte) { byte } else { read }).collect()
            }
            Refused => {
                text.chars().map(|it| if is_control(it) { '\u{fffd}' } else { it }).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, bytes: &[u8], want: Option<&str>) {
        let text = Encoding::named(name).map(|it| it.decode(bytes).into_owned());
        assert_eq!(text.as_deref(), want, "{name}");
    }

    #[test]
    fn reads_bytes_by_pythons_names() {
        check("utf-8", b"a\xc3\xa9\xff", Some("aé\u{fffd}"));
        check("US-ASCII", b"a\xe9", Some("a\u{fffd}"));
        check("Latin_1", b"\x80\xe9", Some("\u{80}é"));
        check("iso8859-15", b"\xa4", Some("€"));
        check("ISO-8859-9", b"\x80\xfd", Some("\u{80}ı")); // cp1254 has a € there
        check("windows-1252", b"\x80\x81", Some("€\u{fffd}"));
        check("koi8-r", b"\xf2\xef\xef\xf4", Some("РООТ"));
        check("euc_jp", b"\xc6\xfc\xcb\xdc", Some("日本"));
        check("utf-16", b"", None); // its lines do not end in a byte
        check("klingon", b"", None);
    }
}
