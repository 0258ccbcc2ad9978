//! Text from outside, made safe to show.
//!
//! Names of columns, members, tables and objects, lines of lists and answers of servers
//! are written by others. On a terminal a control character moves the cursor or hides
//! text, a bidirectional override turns it around, and a line feed in a log makes a line
//! of its own. So whatever a person reads passes here last: [`Error`](crate::base::error::Error)
//! shows itself [on one line](one_line), the log writes each field so, and the command
//! line writes the rest by [`lines`] or [`json`].
//!
//! What is hidden is shown as `\u{1b}`. Text without anything hidden stays as it is, so
//! passing twice changes nothing more.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest text of one message, in characters.
const LONGEST: usize = 4_096;

/// The longest name within a message, in characters.
const LONGEST_NAME: usize = 80;

/// How many names a message lists.
const LISTED: usize = 40;

/// `bytes` as text that can be shown: at most `max` characters, control
/// characters and what is no UTF-8 replaced.
pub(crate) fn shown(bytes: &[u8], max: usize) -> String {
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

/// `text` on one line, at most 4,096 characters of it.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(escaped(&text[..end], |_| false).into_owned() + "…"),
        None => escaped(text, |_| false),
    }
}

/// `text` with its lines and columns, for what is laid out by us.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A name within a message: on one line, at most 80 characters of it.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => Cow::Owned(escaped(&text[..end], |_| false).into_owned() + "…"),
        None => escaped(text, |_| false),
    }
}

/// Names within a message, at most 40 of them.
pub(crate) fn names<S: AsRef<str>>(all: &[S]) -> String {
    let listed: Vec<_> = all.iter().take(LISTED).map(|n| name(n.as_ref())).collect();
    match all.len().saturating_sub(LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

/// JSON with everything hidden in its strings written as `\uXXXX`: the same to a
/// program. Its own line feeds and blanks stay.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    // What is hidden and below U+0020 is not in a string: JSON forbids that.
    if !text.chars().any(|c| c >= ' ' && is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c >= ' ' && is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
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

/// Whether `c` shows as nothing, or does something to what is around it.
pub(crate) fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        c if c.is_control() => true,
        '\u{AD}'
        // Marks, embeddings, overrides and isolates of direction.
        | '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        // Zero width; fillers that show as blank.
        | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}'
        | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
        // Ends of lines and paragraphs; annotations; tags.
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
            shown(b"a\x1b[31mb\0c\xE9\r", 80),
            "a\u{FFFD}[31mb\u{FFFD}c\u{FFFD}"
        );
        assert_eq!(shown(&[b'x'; 100], 5), "xxxxx…");
        assert_eq!(shown("ééééé".as_bytes(), 5), "ééééé");
    }

    #[test]
    fn whatever_is_hidden_shows_as_its_number() {
        assert_eq!(
            one_line(HOSTILE),
            "a\\u{1b}[31mb\\u{7}\\r\\nc\\td\\u{7f}\\u{9b}2J\\u{202e}e\\u{2066}\\u{200b}\\u{2028}\\u{e0041}f"
        );
        assert_eq!(lines("a\r\n\tb\x1bc\n"), "a\\r\n\tb\\u{1b}c\n");
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
    fn a_message_and_its_names_have_an_end() {
        let long = "é".repeat(10_000);
        assert_eq!(one_line(&long).chars().count(), LONGEST + 1);
        assert_eq!(name(&long).chars().count(), LONGEST_NAME + 1);
        assert_eq!(names(&["a", "b\n"]), "a, b\\n");
        let many = names(&[long.as_str(); 1_000]);
        assert!(many.ends_with("é… and 960 more"), "{many}");
    }

    #[test]
    fn json_for_a_terminal_is_the_same_json() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, 1.5] });
        for text in [
            value.to_string(),
            serde_json::to_string_pretty(&value).expect("JSON") + "\n",
        ] {
            let safe = json(&text);
            assert!(!safe.chars().any(|c| c != '\n' && is_hidden(c)), "{safe}");
            let back: serde_json::Value = serde_json::from_str(&safe).expect("JSON");
            assert_eq!(back, value);
        }
        assert!(matches!(json("{\"a\":\"é\"}\n"), Cow::Borrowed(_)));
    }
}
