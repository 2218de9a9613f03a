//! Free text that comes from outside: what it may hold, so that no log, page or export is surprised later.

/// Whether a text is free of control characters and of the marks that reorder text for the eye (bidi).
/// Line breaks and tabs pass only where `multiline` says so.
pub fn is_clean(text: &str, multiline: bool) -> bool {
    text.chars().all(|c| match c {
        '\n' | '\r' | '\t' => multiline,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => false,
        _ => !c.is_control(),
    })
}

/// Checks one named field: its length in characters and that it [`is_clean`]; the error says what to do.
pub fn check_field(name: &str, text: &str, min: usize, max: usize, multiline: bool) -> Result<(), String> {
    let len = text.chars().count();
    if !(min..=max).contains(&len) {
        return Err(format!("`{name}` must have {min} to {max} characters, and has {len}"));
    }
    if min > 0 && text.trim().is_empty() {
        return Err(format!("`{name}` must not be blank"));
    }
    if !is_clean(text, multiline) {
        return Err(format!("`{name}` must not contain control characters or bidirectional marks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidi_characters_are_not_clean() {
        assert!(is_clean("<script>=cmd() Grüße 東京 🎉", false));
        for bad in ["a\0b", "a\u{1b}[31m", "a\r\nb", "a\u{202e}b", "\u{2066}", "\u{200f}"] {
            assert!(!is_clean(bad, false), "{bad:?}");
        }
        assert!(is_clean("two\nlines", true) && !is_clean("\0", true));
    }
}
