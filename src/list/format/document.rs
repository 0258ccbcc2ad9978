//! JSON documents that hold their hashes in arrays: which kind one is by its first bytes,
//! the command that makes a list of it, and the path of `--field` that leads into arrays.

use crate::base::hash::fold;

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ProjectVic,
    Stix,
    CycloneDx,
    Spdx,
    Spdx3,
    MispEvent,
    MispWarningList,
}

/// What a document is, and the way to a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// In words.
    pub(crate) what: &'static str,
    /// The command that makes a list of it.
    pub(crate) command: String,
    /// What `--field` takes, where one path leads to all hashes.
    pub(crate) field: Option<String>,
}

/// The names of the fields of the object that `head` begins with, each with the first
/// byte of its value.
fn fields(head: &[u8]) -> Vec<(String, u8)> {
    let mut found = Vec::new();
    let (mut depth, mut at) = (0usize, 0);
    let mut name: Option<String> = None;
    while let Some(&byte) = head.get(at) {
        at += 1;
        if let (Some(field), 1) = (&name, depth)
            && !byte.is_ascii_whitespace()
            && byte != b':'
        {
            found.push((field.clone(), byte));
            name = None;
            if byte == b'"' {
                at = behind_text(head, at);
                continue;
            }
        }
        match byte {
            b'"' => {
                let end = behind_text(head, at);
                let text = head.get(at..end.saturating_sub(1)).unwrap_or_default();
                let behind = head.get(end..).unwrap_or_default().trim_ascii_start();
                if depth == 1 && behind.starts_with(b":") {
                    name = Some(String::from_utf8_lossy(text).into_owned());
                }
                at = end;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth.checked_sub(1) {
                // What follows is another.
                None | Some(0) => break,
                Some(less) => depth = less,
            },
            _ => {}
        }
    }
    found
}

/// Where the text ends that begins at `at`, its closing quote included.
fn behind_text(head: &[u8], mut at: usize) -> usize {
    while let Some(byte) = head.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    head.len()
}

fn kind(head: &[u8]) -> Option<Kind> {
    let fields = fields(head);
    let has = |name: &str| fields.iter().any(|(field, _)| field == name);
    let array = |name: &str| fields.iter().any(|(field, b)| field == name && *b == b'[');
    let object = |name: &str| fields.iter().any(|(field, b)| field == name && *b == b'{');
    Some(if has("bomFormat") {
        Kind::CycloneDx
    } else if has("spdxVersion") {
        Kind::Spdx
    } else if array("@graph") {
        Kind::Spdx3
    } else if array("objects") && has("type") {
        Kind::Stix
    } else if object("Event") || array("response") {
        Kind::MispEvent
    } else if array("list") && (has("matching_attributes") || has("name")) {
        Kind::MispWarningList
    } else if array("value") {
        Kind::ProjectVic
    } else {
        return None;
    })
}

/// Whether the object that `head` begins with has the field that the path `field` begins
/// with.
pub(crate) fn has(head: &[u8], field: &str) -> bool {
    let first = fold(field.split('.').next().unwrap_or(field));
    fields(head).iter().any(|(name, _)| fold(name) == first)
}

/// What the document is that begins with `head`. `None` if it is of no kind that is known
/// here.
pub(crate) fn named(head: &[u8]) -> Option<Document> {
    let head = head
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(head)
        .trim_ascii_start();
    if head.first() != Some(&b'{') {
        return None;
    }
    let kind = kind(head)?;
    // The algorithm that it shows, as this kind spells it.
    let has = |name: &str| head.windows(name.len()).any(|w| w == name.as_bytes());
    let shown = |names: [&'static str; 3]| names.into_iter().find(|n| has(n)).unwrap_or(names[0]);
    let dashed = ["SHA-256", "SHA-1", "MD5"];
    let bare = ["SHA256", "SHA1", "MD5"];
    let lower = ["sha256", "sha1", "md5"];
    let (what, command, field) = match kind {
        Kind::ProjectVic => (
            "a Project VIC (OData) document",
            "jq -c '.value[]'".to_owned(),
            Some(format!(
                "value[].{}",
                if has("\"MD5\"") { "MD5" } else { "SHA1" }
            )),
        ),
        Kind::Stix => {
            let name = shown(dashed);
            let digits = digits(name);
            let patterns =
                format!(r#"(.pattern? // empty | scan("\\b[0-9A-Fa-f]{{{digits}}}\\b"))"#);
            let both = format!(".objects[] | (.hashes[\"{name}\"]? // empty), {patterns}");
            let field = (!has("\"pattern\"")).then(|| format!("objects[].hashes.{name}"));
            ("a STIX bundle", format!("jq -r '{both}'"), field)
        }
        Kind::CycloneDx => (
            "a CycloneDX bill of materials",
            format!(
                "jq -r '.. | objects | select(.alg? == \"{}\") | .content'",
                shown(dashed)
            ),
            None,
        ),
        Kind::Spdx => (
            "an SPDX document in JSON",
            format!(
                "jq -r '.. | objects | select(.algorithm? == \"{}\") | .checksumValue'",
                shown(bare)
            ),
            None,
        ),
        Kind::Spdx3 => (
            "an SPDX 3 document in JSON",
            format!(
                "jq -r '.. | objects | select(.algorithm? == \"{}\") | .hashValue'",
                shown(lower)
            ),
            None,
        ),
        Kind::MispEvent => {
            let name = shown(lower);
            let is = format!(".type? == \"{name}\" or .type? == \"filename|{name}\"");
            let value = ".value | split(\"|\")[-1]";
            (
                "a MISP event",
                format!("jq -r '.. | objects | select({is}) | {value}'"),
                None,
            )
        }
        Kind::MispWarningList => (
            "a MISP warning list",
            "jq -r '.list[]'".to_owned(),
            Some("list[]".to_owned()),
        ),
    };
    Some(Document {
        what,
        command,
        field,
    })
}

/// Digits of a hash of the algorithm that is spelled so.
fn digits(name: &str) -> usize {
    let algorithm = crate::base::hash::Algorithm::from_name(name);
    algorithm.map_or(64, |a| a.bytes() * 2)
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the field of this name, folded.
    Field(String),
    /// Into each element of an array.
    Each,
}

/// A path of `--field` that leads into arrays: `value[].MD5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrayPath {
    /// As far as the elements of the last array.
    pub(crate) steps: Vec<Step>,
    /// The same as a person writes it: `value[]`.
    pub(crate) text: String,
    /// From there on; empty where the elements are hashes themselves.
    pub(crate) rest: String,
}

impl ArrayPath {
    /// That of `field`. `None` if it leads into no array.
    pub(crate) fn of(field: &str) -> Option<ArrayPath> {
        let end = field.rfind("[]")? + 2;
        let (text, rest) = field.split_at(end);
        let mut steps = Vec::new();
        for part in text.split('.').filter(|p| !p.is_empty()) {
            let name = part.trim_end_matches("[]");
            if !name.is_empty() {
                steps.push(Step::Field(fold(name)));
            }
            let arrays = (part.len() - name.len()) / 2;
            steps.extend(std::iter::repeat_n(Step::Each, arrays));
        }
        Some(ArrayPath {
            steps,
            text: text.to_owned(),
            rest: rest.trim_start_matches('.').to_owned(),
        })
    }

    /// The field inside an element that a person calls `name`: with the way to the array
    /// before it, or without.
    pub(crate) fn inside<'n>(&self, name: &'n str) -> &'n str {
        let inside = name.strip_prefix(self.text.as_str());
        inside.map_or(name, |rest| rest.trim_start_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_named_with_its_command() {
        for (text, what, command, field) in [
            (
                r#"{"@odata.context":"http://x/y","value":[{"MediaID":1,"MD5":"a","SHA1":"b"}]}"#,
                "Project VIC",
                "'.value[]'",
                Some("value[].MD5"),
            ),
            (
                r#"{"type":"bundle","id":"x","objects":[{"type":"file","hashes":{"SHA-256":"a"#,
                "STIX",
                r#".hashes["SHA-256"]?"#,
                Some("objects[].hashes.SHA-256"),
            ),
            (
                "{\n  \"bomFormat\": \"CycloneDX\",\n  \"components\": [{\"hashes\": [{\"alg\": \"MD5\"",
                "CycloneDX",
                r#".alg? == "MD5""#,
                None,
            ),
            (
                r#"{"spdxVersion":"SPDX-2.3","files":[{"checksums":[{"algorithm":"SHA1","checksumValue":"a"#,
                "SPDX",
                r#".algorithm? == "SHA1""#,
                None,
            ),
            (
                r#"{"Event":{"Attribute":[{"type":"sha256","value":"a"#,
                "MISP event",
                "filename|sha256",
                None,
            ),
            (
                r#"{"list":["a"],"name":"x"}"#,
                "warning list",
                "'.list[]'",
                Some("list[]"),
            ),
        ] {
            let named = named(text.as_bytes()).expect(text);
            assert!(named.what.contains(what), "{text}: {}", named.what);
            assert!(named.command.contains(command), "{text}: {}", named.command);
            assert_eq!(named.field.as_deref(), field, "{text}");
        }
        for text in [
            r#"{"value":"a","type":"sha256"}"#,
            r#"{"x":{"value":[1]},"y":"\"bomFormat\":1"}"#,
            r#"{"a":1}{"value":[1]}"#,
            r#"["value"]"#,
            "{",
            "",
        ] {
            assert_eq!(named(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_path_ends_in_the_elements_of_its_last_array() {
        let of = |field: &str| ArrayPath::of(field).map(|p| (p.steps.len(), p.text, p.rest));
        let is = |n: usize, text: &str, rest: &str| Some((n, text.to_owned(), rest.to_owned()));
        assert_eq!(of("value[].MD5"), is(2, "value[]", "MD5"));
        assert_eq!(
            of("objects[].hashes.SHA-256"),
            is(2, "objects[]", "hashes.SHA-256")
        );
        assert_eq!(of("a.b[][].c[].d"), is(6, "a.b[][].c[]", "d"));
        assert_eq!(of("[].md5"), is(1, "[]", "md5"));
        assert_eq!(of("list[]"), is(2, "list[]", ""));
        assert_eq!(of("a.b"), None);
        let path = ArrayPath::of("value[].MD5").expect("one");
        assert_eq!(
            (path.inside("value[].a.b"), path.inside("Size")),
            ("a.b", "Size")
        );
    }
}
