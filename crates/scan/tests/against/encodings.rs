//! Encodings: the same text of the same bytes as in Python, which fail2ban reads with.

use super::*;

/// Encodings with the bytes of which later editions make a character.
const ENCODINGS: [(&str, &[u8]); 35] = [
    ("ascii", b""),
    ("latin_1", b""),
    ("iso8859_2", b""),
    ("iso8859_3", b""),
    ("iso8859_4", b""),
    ("iso8859_5", b""),
    ("iso8859_6", b""),
    ("iso8859_7", b""),
    ("iso8859_8", b""),
    ("iso8859_9", b""),
    ("iso8859_10", b""),
    ("iso8859_11", b""),
    ("iso8859_13", b""),
    ("iso8859_14", b""),
    ("iso8859_15", b""),
    ("iso8859_16", b""),
    ("tis_620", b"\xa0"),
    ("cp874", b""),
    ("cp1250", b""),
    ("cp1251", b""),
    ("cp1252", b""),
    ("cp1253", b""),
    ("cp1254", b""),
    ("cp1255", b"\xca"),
    ("cp1256", b""),
    ("cp1257", b""),
    ("cp1258", b""),
    ("cp866", b""),
    ("koi8_r", b""),
    ("koi8_u", b"\xae\xbe"),
    ("mac_roman", b""),
    ("mac_cyrillic", b""),
    ("windows-1251", b""),
    ("L9", b""),
    ("646", b""),
];

/// Encodings of several bytes, held to each ideograph that they know.
const WIDE: [&str; 9] =
    ["utf-8", "big5", "gb2312", "gbk", "gb18030", "euc_jp", "shift_jis", "cp949", "euc_kr"];

/// Prints the text of each encoding, given as its name and its bytes; the ideographs where there
/// are none.
const PYTHON: &str = r#"
import json, sys
for name, given in json.load(sys.stdin):
    data = bytes(given)
    if not given:
        known = (chr(code).encode(name, "ignore") for code in range(0x4e00, 0x9fa6))
        data = b"".join(known)
    print(json.dumps([list(data), data.decode(name, "replace")]))
"#;

#[test]
fn encodings() {
    let single = ENCODINGS.iter().map(|(name, odd)| {
        json!([name, (0x80..=0xff).filter(|it| !odd.contains(it)).collect::<Vec<u8>>()])
    });
    let questions: Vec<Value> = single.chain(WIDE.iter().map(|name| json!([name, []]))).collect();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut python) = python.spawn() else { return eprintln!("skipped: no Python") };
    python.stdin.take().unwrap().write_all(json!(questions).to_string().as_bytes()).unwrap();
    let answers = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(answers.lines().count(), questions.len());
    for (question, answer) in questions.iter().zip(answers.lines()) {
        let (bytes, want): (Vec<u8>, String) = serde_json::from_str(answer).unwrap();
        let name = question[0].as_str().unwrap();
        assert_eq!(user(name, &bytes), Some(want), "{name}");
    }
}

/// What a filter whose log is so encoded catches of `bytes`.
fn user(encoding: &str, bytes: &[u8]) -> Option<String> {
    let filter = Filter::compile(&FilterSpec {
        failregex: vec!["^(?P<user>.*) from <HOST>$".to_owned()],
        logencoding: Some(encoding.to_owned()),
        ..FilterSpec::default()
    });
    let mut scanner = Scanner::new(Arc::new(filter.unwrap()), Settings::default());
    let line = [bytes, b" from 192.0.2.7"].concat();
    match scanner.line(&line, Timestamp::UNIX_EPOCH) {
        Outcome::Failure(hit) => hit.fields.into_iter().next().map(|(_, text)| text),
        _ => None,
    }
}
