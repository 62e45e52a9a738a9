//! Bytes as hexadecimal digits, two each, lower case.

pub(crate) fn write(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|it| [it >> 4, it & 0xf]);
    digits.map(|it| char::from(DIGITS[usize::from(it)])).collect()
}

/// The `N` bytes that `text` writes; `None` if it is anything else, so each has one text alone.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_written_is_read() {
        assert_eq!(super::write(&[0, 0x9f, 0xff]), "009fff");
        assert_eq!(super::read("009fff"), Some([0, 0x9f, 0xff]));
        assert_eq!(super::read::<3>("009ff"), None);
        assert_eq!(super::read::<3>("009fg0"), None);
        assert_eq!(super::read::<3>("009FFF"), None);
        assert_eq!(super::read::<2>("é9f"), None);
    }
}
