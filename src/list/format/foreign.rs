//! Files with hashes in a format that hashferry does not read. They are recognised by their
//! first lines, so that the error names them and the command that converts them to a list.

use crate::base::hash::Algorithm;
use crate::base::hash_prefix;
use crate::list::format::cell::is_hash;
use crate::list::format::digest::{algorithm_from_base64, hash_from_base64};
use crate::list::format::plain::trimmed;
use crate::list::format::{clamav, delimited, sums};

/// Lines that detection samples, without blank lines and comments.
const LINES_SAMPLED: usize = 200;

/// A recognised file, and how to convert it to a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Name of its kind, for messages.
    pub(crate) description: &'static str,
    /// Shell command that converts it to a list. `None` if `hint` says what to do.
    pub(crate) command: Option<String>,
    /// The hint to show instead of a command; empty if there is a command.
    pub(crate) hint: &'static str,
}

fn with_command(what: &'static str, command: impl Into<String>) -> Foreign {
    Foreign {
        description: what,
        command: Some(command.into()),
        hint: "",
    }
}

fn with_hint(what: &'static str, hint: &'static str) -> Foreign {
    Foreign {
        description: what,
        command: None,
        hint,
    }
}

/// Identifies a file by its first bytes; `whole` says that `head` is all of it. `None` if
/// it may be a list.
pub(crate) fn identify(head: &[u8], whole: bool) -> Option<Foreign> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    let lines = lines.into_iter().map(trimmed);
    let lines = lines.filter(|text| !text.is_empty() && text[0] != b'#');
    let lines: Vec<&[u8]> = lines.take(LINES_SAMPLED).collect();
    let first = lines.first()?;
    if is_sleuth_kit_index(first) {
        let what = "an index of The Sleuth Kit (.idx) with hashes and offsets";
        return Some(with_command(what, r"sed '/^0\{32\}/d; s/|.*//'"));
    }
    let is_list = is_hash(first)
        || sums::is_sum_line(first)
        || clamav::algorithm(first).is_some()
        || delimited::detect_format(first, None).is_some();
    if is_list {
        return None;
    }
    identify_line(first).or_else(|| identify_lines(&lines))
}

/// True if `text` is the first row of a Sleuth Kit index: zeros and a name, `000…0|nsrl-md5`.
fn is_sleuth_kit_index(text: &[u8]) -> bool {
    let zeros = text.iter().take_while(|b| **b == b'0').count();
    let after_bar = text
        .iter()
        .position(|b| *b == b'|')
        .map(|at| &text[at + 1..]);
    zeros >= 32 && after_bar.is_some_and(|b| b.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Identifies a file by its first line.
fn identify_line(text: &[u8]) -> Option<Foreign> {
    let begins = |with: &[u8]| {
        text.get(..with.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(with))
    };
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(with_hint(
            "an HTML page",
            "fetch the list itself: servers send a page instead if a login is needed or the link is dead",
        ));
    }
    if begins(b"<?xml") {
        return Some(with_hint(
            "an XML document",
            "extract the hashes from it first, one per line",
        ));
    }
    let fields: Vec<&[u8]> = text.split(|b| *b == b':').collect();
    let is_number = |t: &[u8]| !t.is_empty() && t.iter().all(u8::is_ascii_digit);
    match fields[..] {
        [size, hash, name, ..] if is_number(size) && is_hash(hash) && !name.is_empty() => {
            return Some(with_hint(
                "a list of ClamAV signatures of sections (.mdb or .msb), not of files",
                "give ClamAV's .hdb or .hsb files, which hold hashes of files",
            ));
        }
        [hash, count] if is_hash(hash) && is_number(count) => {
            return Some(with_command(
                "a list of hashes with a count after each, as from Pwned Passwords",
                "cut -d: -f1",
            ));
        }
        _ => {}
    }
    let base64 = |what| Some(with_hint(what, "give --encoding base64"));
    if hash_prefix::split_base64_prefix(text).0.is_some() && algorithm_from_base64(text).is_some() {
        return base64("a list of hashes in base64, as in Subresource Integrity");
    }
    let padded = text.ends_with(b"=") && hash_from_base64(text).is_some();
    if (padded && algorithm_from_base64(text).is_some()) || sums::has_base64_digest(text) {
        return base64("a list of hashes in base64");
    }
    let mut fields = text.split(|b| *b == b',');
    let tagged = |f: &[u8]| {
        hash_prefix::split_base64_prefix(f).0.is_some() && algorithm_from_base64(f).is_some()
    };
    if fields.any(tagged) {
        return base64("a table with hashes in base64, such as Python's RECORD");
    }
    None
}

/// Identifies a file by its first lines together.
fn identify_lines(lines: &[&[u8]]) -> Option<Foreign> {
    let any = |begins: &[u8]| lines.iter().any(|l| l.starts_with(begins));
    if any(b"SPDXVersion:") {
        let name = first_present(lines, &[b"SHA256", b"SHA1", b"MD5"]);
        return Some(with_command(
            "an SPDX document in the tag-value format",
            format!("awk '/^(File|Package)Checksum: {name}:/ {{print $3}}'"),
        ));
    }
    if any(b"Package:") && any(b"Filename:") {
        let name = first_present(lines, &[b"SHA256:", b"SHA1:", b"MD5sum:"]);
        return Some(with_command(
            "a Debian package index (Packages)",
            format!("awk '$1 == \"{name}\" {{print $2}}'"),
        ));
    }
    let names = [
        &b"SHA256:"[..],
        b"Checksums-Sha256:",
        b"SHA1:",
        b"MD5Sum:",
        b"Files:",
    ];
    let is_index = any(b"Origin:") || any(b"Suite:") || any(b"Codename:") || any(b"Package:");
    if is_index && let Some(name) = names.iter().find(|n| lines.contains(*n)) {
        let name = String::from_utf8_lossy(name);
        return Some(with_command(
            "a Debian index (Release or Sources)",
            format!("awk '/^[^ ]/ {{of = $1}} of == \"{name}\" && NF == 3 {{print $1}}'"),
        ));
    }
    let pinned = |l: &&[u8]| l.windows(7).any(|w| w == b"--hash=");
    if lines.iter().any(pinned) {
        let names = [&b"sha256:"[..], b"sha384:", b"sha512:"];
        let name = first_present(lines, &names);
        let algorithm = Algorithm::from_tag(name.trim_end_matches(':').as_bytes());
        let digits = algorithm.unwrap_or(Algorithm::Sha256).bytes() * 2;
        return Some(with_command(
            "a pip requirements file with --hash options",
            format!("grep -oE '{name}[0-9a-f]{{{digits}}}'"),
        ));
    }
    None
}

/// Returns the first of `names` that occurs in a line, or else the first one.
fn first_present<'n>(lines: &[&[u8]], names: &[&'n [u8]]) -> &'n str {
    let occurs = |name: &&&[u8]| {
        lines
            .iter()
            .any(|l| l.windows(name.len()).any(|w| w == **name))
    };
    let name = names.iter().find(occurs).or(names.first());
    name.and_then(|n| std::str::from_utf8(n).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "92e792c43c35e96fed3f9566083326fc";
    const SHA256: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";

    fn identified(text: &str) -> Option<(&'static str, String)> {
        let foreign = identify(text.as_bytes(), true)?;
        let hint = foreign.command.unwrap_or_else(|| foreign.hint.to_owned());
        Some((foreign.description, hint))
    }

    #[test]
    fn each_kind_is_identified_with_its_hint() {
        let zeros = "0".repeat(41);
        for (text, what, hint) in [
            (
                format!("{zeros}|md5sum\n{MD5}|00000000\n"),
                "The Sleuth Kit",
                "sed",
            ),
            (
                format!("# made by pip\nx==1.0 \\\n    --hash=sha256:{SHA256}\n"),
                "pip",
                "grep -oE 'sha256:[0-9a-f]{64}'",
            ),
            (
                "sha256-OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=\n".into(),
                "Subresource",
                "--encoding base64",
            ),
            (
                "OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=\n".into(),
                "base64",
                "--encoding base64",
            ),
            (
                "SHA256 (x) = OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=\n".into(),
                "base64",
                "--encoding base64",
            ),
            (
                "a/b.py,sha256=OiEY30e_PwQoVknwRVwvxv4tx_CyNwcwOKoAr0Hw1fI,12\na/RECORD,,\n".into(),
                "RECORD",
                "--encoding base64",
            ),
            (
                format!("Package: a\nFilename: pool/a.deb\nMD5sum: {MD5}\nSHA256: {SHA256}\n\n"),
                "Packages",
                "awk '$1 == \"SHA256:\" {print $2}'",
            ),
            (
                format!("Origin: Debian\nSuite: stable\nSHA256:\n {SHA256} 12 main/x\n"),
                "Release",
                "of == \"SHA256:\"",
            ),
            (
                format!(
                    "SPDXVersion: SPDX-2.3\nFileName: ./a\nFileChecksum: SHA1: {MD5}\nFileChecksum: SHA256: {SHA256}\n"
                ),
                "SPDX",
                "Checksum: SHA256:/",
            ),
            (format!("4096:{MD5}:Win.Trojan.X\n"), "sections", ".hdb"),
            (format!("{MD5}:12\n"), "Pwned Passwords", "cut -d: -f1"),
            ("<!DOCTYPE html>\n<html>\n".into(), "HTML", "fetch"),
            ("<?xml version=\"1.0\"?>\n".into(), "XML", "extract"),
        ] {
            let (kind, shown) = identified(&text).expect(&text);
            assert!(kind.contains(what), "{text}: {kind}");
            assert!(shown.contains(hint), "{text}: {shown}");
        }
    }

    #[test]
    fn readable_lists_are_not_identified_as_foreign() {
        for text in [
            format!("{MD5}\n"),
            format!("sha256:{SHA256}\n"),
            format!("SHA256: {SHA256}\n"),
            format!("{MD5}  a --hash=sha256:x\n"),
            format!("{MD5}:12:Win.Trojan.X\n"),
            format!("{MD5}|12\n"),
            format!("name,md5\nPackage: x,{MD5}\n"),
            "hello\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(identified(&text), None, "{text}");
        }
    }
}
