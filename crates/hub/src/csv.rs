//! Fields of CSV as MISP writes them: texts in quotation marks, numbers bare.

/// Appends a text.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Appends a number.
pub(crate) fn number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotation_marks_are_doubled() {
        let mut out = Vec::new();
        super::text(&mut out, "a, \"b\"\n");
        super::number(&mut out, -7);
        assert_eq!(out, b"\"a, \"\"b\"\"\n\"-7");
    }
}
