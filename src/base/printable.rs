//! Text from outside, made safe to show.
//!
//! Names of columns, members, tables and objects, lines of lists and server responses
//! come from others. On a terminal a control character can move the cursor or hide
//! text, and a bidirectional override reverses it. A line feed can forge a line in a
//! log. So all text for a user passes through here:
//! [`Error`](crate::base::error::Error) displays itself [on one line](one_line), the
//! log escapes each field, and the command line uses [`escape_lines`] or [`escape_json`].
//!
//! Hidden characters are shown as `\u{1b}`. Text without hidden characters stays as it
//! is, so escaping is idempotent.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Maximum length of a message, in characters.
const MAX_MESSAGE_CHARS: usize = 4_096;

/// Maximum length of a name within a message, in characters.
const MAX_NAME_CHARS: usize = 80;

/// Maximum number of names in a message.
const MAX_LISTED_NAMES: usize = 40;

/// Converts `bytes` to printable text of at most `max` characters. Control characters
/// and invalid UTF-8 are replaced.
pub(crate) fn printable_bytes(bytes: &[u8], max: usize) -> String {
    let cut = &bytes[..bytes.len().min(max * 4)];
    let mut text: String = String::from_utf8_lossy(cut)
        .trim_end_matches(['\r', '\n'])
        .chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .take(max)
        .collect();
    if text.len() < bytes.trim_ascii_end().len() && text.chars().count() >= max {
        text.push('…');
    }
    text
}

/// Escapes `text` to one line of at most 4,096 characters.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => Cow::Owned(escape(&text[..end], |_| false).into_owned() + "…"),
        None => escape(text, |_| false),
    }
}

/// Escapes `text` but keeps line feeds and tabs, for text that hashferry lays out.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// Escapes a name within a message: one line of at most 80 characters.
pub(crate) fn short_name(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => Cow::Owned(escape(&text[..end], |_| false).into_owned() + "…"),
        None => escape(text, |_| false),
    }
}

/// Escapes and joins names within a message, at most 40 of them.
pub(crate) fn short_names<S: AsRef<str>>(all: &[S]) -> String {
    let listed: Vec<_> = all
        .iter()
        .take(MAX_LISTED_NAMES)
        .map(|n| short_name(n.as_ref()))
        .collect();
    match all.len().saturating_sub(MAX_LISTED_NAMES) {
        0 => listed.join(", "),
        hidden => format!("{} and {hidden} more", listed.join(", ")),
    }
}

/// Escapes hidden characters in JSON strings as `\uXXXX`, which keeps the value. Line
/// feeds and blanks outside strings stay.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    // Hidden characters below U+0020 are outside strings: JSON forbids them inside.
    if !text.chars().any(|c| c >= ' ' && is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c >= ' ' && is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escape(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hidden = |c: char| is_hidden(c) && !stays(c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !hidden(c) => out.push(c),
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

/// True if `c` is invisible, or affects the text around it.
pub(crate) fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        c if c.is_control() => true,
        '\u{AD}'
        // Direction marks, embeddings, overrides and isolates.
        | '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        // Zero-width characters; fillers that look blank.
        | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}'
        | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
        // Line and paragraph separators; annotations; tags.
        | '\u{2028}' | '\u{2029}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\x1b[31mb\u{7}\r\nc\td\u{7f}\u{9b}2J\u{202e}e\u{2066}\u{200b}\u{2028}\u{e0041}f";

    #[test]
    fn shown_text_is_safe_and_short() {
        assert_eq!(
            printable_bytes(b"a\x1b[31mb\0c\xE9\r", 80),
            "a\u{FFFD}[31mb\u{FFFD}c\u{FFFD}"
        );
        assert_eq!(printable_bytes(&[b'x'; 100], 5), "xxxxx…");
        assert_eq!(printable_bytes("ééééé".as_bytes(), 5), "ééééé");
    }

    #[test]
    fn hidden_characters_are_shown_as_escapes() {
        assert_eq!(
            one_line(HOSTILE),
            "a\\u{1b}[31mb\\u{7}\\r\\nc\\td\\u{7f}\\u{9b}2J\\u{202e}e\\u{2066}\\u{200b}\\u{2028}\\u{e0041}f"
        );
        assert_eq!(escape_lines("a\r\n\tb\x1bc\n"), "a\\r\n\tb\\u{1b}c\n");
        let all = (0..=0x10_FFFF).filter_map(char::from_u32);
        let text: String = all.filter(|c| is_hidden(*c)).take(4_000).collect();
        assert!(one_line(&text).bytes().all(|b| (b' '..=b'~').contains(&b)));
        for kept in [
            "",
            "plain",
            "Jürgen 日本 e\u{301} 💾 — …",
            "שלום",
            "C:\\a \"b\"",
        ] {
            assert!(matches!(one_line(kept), Cow::Borrowed(text) if text == kept));
        }
        let once = one_line(HOSTILE).into_owned();
        assert_eq!(one_line(&once), once);
    }

    #[test]
    fn messages_and_names_have_a_maximum_length() {
        let long = "é".repeat(10_000);
        assert_eq!(one_line(&long).chars().count(), MAX_MESSAGE_CHARS + 1);
        assert_eq!(short_name(&long).chars().count(), MAX_NAME_CHARS + 1);
        assert_eq!(short_names(&["a", "b\n"]), "a, b\\n");
        let many = short_names(&[long.as_str(); 1_000]);
        assert!(many.ends_with("é… and 960 more"), "{many}");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, 1.5] });
        for text in [
            value.to_string(),
            serde_json::to_string_pretty(&value).expect("JSON") + "\n",
        ] {
            let safe = escape_json(&text);
            assert!(!safe.chars().any(|c| c != '\n' && is_hidden(c)), "{safe}");
            let back: serde_json::Value = serde_json::from_str(&safe).expect("JSON");
            assert_eq!(back, value);
        }
        assert!(matches!(escape_json("{\"a\":\"é\"}\n"), Cow::Borrowed(_)));
    }
}
