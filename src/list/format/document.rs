//! JSON documents with hashes in arrays.
//!
//! The module detects the kind of a document by its first bytes, and knows the command that
//! converts it to a list. It also parses paths of `--field` into arrays.

use crate::base::hash::fold;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DocumentKind {
    ProjectVic,
    Stix,
    CycloneDx,
    Spdx,
    Spdx3,
    MispEvent,
    MispWarningList,
}

/// A recognised document, and how to convert it to a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// Name of its kind, for messages.
    pub(crate) description: &'static str,
    /// Shell command that converts it to a list.
    pub(crate) command: String,
    /// Path for `--field`. `None` if no single path leads to all hashes.
    pub(crate) field: Option<String>,
}

/// Returns the field names of the object at the start of `head`, each with the first byte
/// of its value.
fn top_level_fields(head: &[u8]) -> Vec<(String, u8)> {
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
                at = end_of_string(head, at);
                continue;
            }
        }
        match byte {
            b'"' => {
                let end = end_of_string(head, at);
                let text = head.get(at..end.saturating_sub(1)).unwrap_or_default();
                let after = head.get(end..).unwrap_or_default().trim_ascii_start();
                if depth == 1 && after.starts_with(b":") {
                    name = Some(String::from_utf8_lossy(text).into_owned());
                }
                at = end;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth.checked_sub(1) {
                // The object ends here.
                None | Some(0) => break,
                Some(less) => depth = less,
            },
            _ => {}
        }
    }
    found
}

/// Returns the offset after the closing quote of the string that begins at `at`.
fn end_of_string(head: &[u8], mut at: usize) -> usize {
    while let Some(byte) = head.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    head.len()
}

fn detect_kind(head: &[u8]) -> Option<DocumentKind> {
    let fields = top_level_fields(head);
    let has = |name: &str| fields.iter().any(|(field, _)| field == name);
    let array = |name: &str| fields.iter().any(|(field, b)| field == name && *b == b'[');
    let object = |name: &str| fields.iter().any(|(field, b)| field == name && *b == b'{');
    Some(if has("bomFormat") {
        DocumentKind::CycloneDx
    } else if has("spdxVersion") {
        DocumentKind::Spdx
    } else if array("@graph") {
        DocumentKind::Spdx3
    } else if array("objects") && has("type") {
        DocumentKind::Stix
    } else if object("Event") || array("response") {
        DocumentKind::MispEvent
    } else if array("list") && (has("matching_attributes") || has("name")) {
        DocumentKind::MispWarningList
    } else if array("value") {
        DocumentKind::ProjectVic
    } else {
        return None;
    })
}

/// True if the object at the start of `head` has the first field of the path `field`.
pub(crate) fn has_field(head: &[u8], field: &str) -> bool {
    let first = fold(field.split('.').next().unwrap_or(field));
    top_level_fields(head)
        .iter()
        .any(|(name, _)| fold(name) == first)
}

/// Identifies a document by its first bytes. `None` if its kind is not known.
pub(crate) fn identify(head: &[u8]) -> Option<Document> {
    let head = head
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(head)
        .trim_ascii_start();
    if head.first() != Some(&b'{') {
        return None;
    }
    let kind = detect_kind(head)?;
    // The spelling of the algorithm's name depends on the kind.
    let has = |name: &str| head.windows(name.len()).any(|w| w == name.as_bytes());
    let shown = |names: [&'static str; 3]| names.into_iter().find(|n| has(n)).unwrap_or(names[0]);
    let dashed = ["SHA-256", "SHA-1", "MD5"];
    let bare = ["SHA256", "SHA1", "MD5"];
    let lower = ["sha256", "sha1", "md5"];
    let (what, command, field) = match kind {
        DocumentKind::ProjectVic => (
            "a Project VIC (OData) document",
            "jq -c '.value[]'".to_owned(),
            Some(format!(
                "value[].{}",
                if has("\"MD5\"") { "MD5" } else { "SHA1" }
            )),
        ),
        DocumentKind::Stix => {
            let name = shown(dashed);
            let digits = hex_digits(name);
            let patterns =
                format!(r#"(.pattern? // empty | scan("\\b[0-9A-Fa-f]{{{digits}}}\\b"))"#);
            let both = format!(".objects[] | (.hashes[\"{name}\"]? // empty), {patterns}");
            let field = (!has("\"pattern\"")).then(|| format!("objects[].hashes.{name}"));
            ("a STIX bundle", format!("jq -r '{both}'"), field)
        }
        DocumentKind::CycloneDx => (
            "a CycloneDX bill of materials",
            format!(
                "jq -r '.. | objects | select(.alg? == \"{}\") | .content'",
                shown(dashed)
            ),
            None,
        ),
        DocumentKind::Spdx => (
            "an SPDX document in JSON",
            format!(
                "jq -r '.. | objects | select(.algorithm? == \"{}\") | .checksumValue'",
                shown(bare)
            ),
            None,
        ),
        DocumentKind::Spdx3 => (
            "an SPDX 3 document in JSON",
            format!(
                "jq -r '.. | objects | select(.algorithm? == \"{}\") | .hashValue'",
                shown(lower)
            ),
            None,
        ),
        DocumentKind::MispEvent => {
            let name = shown(lower);
            let is = format!(".type? == \"{name}\" or .type? == \"filename|{name}\"");
            let value = ".value | split(\"|\")[-1]";
            (
                "a MISP event",
                format!("jq -r '.. | objects | select({is}) | {value}'"),
                None,
            )
        }
        DocumentKind::MispWarningList => (
            "a MISP warning list",
            "jq -r '.list[]'".to_owned(),
            Some("list[]".to_owned()),
        ),
    };
    Some(Document {
        description: what,
        command,
        field,
    })
}

/// Number of hexadecimal digits of a hash of the algorithm `name`.
fn hex_digits(name: &str) -> usize {
    let algorithm = crate::base::hash::Algorithm::from_name(name);
    algorithm.map_or(64, |a| a.bytes() * 2)
}

/// A step of a path into a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// Into the field with this folded name.
    Field(String),
    /// Into each element of an array.
    EachElement,
}

/// A path of `--field` that leads into arrays: `value[].MD5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrayPath {
    /// Steps to the elements of the last array.
    pub(crate) steps: Vec<PathStep>,
    /// The same steps as written in `--field`: `value[]`.
    pub(crate) array: String,
    /// The path inside an element; empty if the elements are hashes.
    pub(crate) field_in_element: String,
}

impl ArrayPath {
    /// Parses a path. `None` if it does not lead into an array.
    pub(crate) fn parse(field: &str) -> Option<ArrayPath> {
        let end = field.rfind("[]")? + 2;
        let (text, rest) = field.split_at(end);
        let mut steps = Vec::new();
        for part in text.split('.').filter(|p| !p.is_empty()) {
            let name = part.trim_end_matches("[]");
            if !name.is_empty() {
                steps.push(PathStep::Field(fold(name)));
            }
            let arrays = (part.len() - name.len()) / 2;
            steps.extend(std::iter::repeat_n(PathStep::EachElement, arrays));
        }
        Some(ArrayPath {
            steps,
            array: text.to_owned(),
            field_in_element: rest.trim_start_matches('.').to_owned(),
        })
    }

    /// Returns the path `name` relative to an element: the user may write it with or without
    /// the path to the array.
    pub(crate) fn relative_name<'n>(&self, name: &'n str) -> &'n str {
        let inside = name.strip_prefix(self.array.as_str());
        inside.map_or(name, |rest| rest.trim_start_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_identified_with_its_command() {
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
            let named = identify(text.as_bytes()).expect(text);
            assert!(
                named.description.contains(what),
                "{text}: {}",
                named.description
            );
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
            assert_eq!(identify(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_split_at_its_last_array() {
        let parse = |field: &str| {
            ArrayPath::parse(field).map(|p| (p.steps.len(), p.array, p.field_in_element))
        };
        let path = |n: usize, text: &str, rest: &str| Some((n, text.to_owned(), rest.to_owned()));
        assert_eq!(parse("value[].MD5"), path(2, "value[]", "MD5"));
        assert_eq!(
            parse("objects[].hashes.SHA-256"),
            path(2, "objects[]", "hashes.SHA-256")
        );
        assert_eq!(parse("a.b[][].c[].d"), path(6, "a.b[][].c[]", "d"));
        assert_eq!(parse("[].md5"), path(1, "[]", "md5"));
        assert_eq!(parse("list[]"), path(2, "list[]", ""));
        assert_eq!(parse("a.b"), None);
        let path = ArrayPath::parse("value[].MD5").expect("one");
        assert_eq!(
            (
                path.relative_name("value[].a.b"),
                path.relative_name("Size")
            ),
            ("a.b", "Size")
        );
    }
}
