//! Files that hold hashes and are no lists of a form that is read: known by their first
//! lines, so that a message names them and the command that makes a list of them.

use crate::base::hash::Algorithm;
use crate::base::hash_prefix;
use crate::list::format::cell::is_hash;
use crate::list::format::digest::{algorithm_of_base64, from_base64};
use crate::list::format::plain::content;
use crate::list::format::{clamav, delimited, sums};

/// Lines that are looked at, blank ones and comments apart.
const LINES_LOOKED_AT: usize = 200;

/// What a file is, and the way to a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// In words.
    pub(crate) what: &'static str,
    /// The command that makes a list of it.
    pub(crate) command: Option<String>,
    /// What else is to be done or known.
    pub(crate) hint: &'static str,
}

fn by_command(what: &'static str, command: impl Into<String>) -> Foreign {
    Foreign {
        what,
        command: Some(command.into()),
        hint: "",
    }
}

fn by_hint(what: &'static str, hint: &'static str) -> Foreign {
    Foreign {
        what,
        command: None,
        hint,
    }
}

/// What the file is that begins with `head`, and is all of it when `whole`. `None` if it
/// may be a list.
pub(crate) fn named(head: &[u8], whole: bool) -> Option<Foreign> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    let lines = lines.into_iter().map(content);
    let lines = lines.filter(|text| !text.is_empty() && text[0] != b'#');
    let lines: Vec<&[u8]> = lines.take(LINES_LOOKED_AT).collect();
    let first = lines.first()?;
    if is_index_of_tsk(first) {
        let what = "an index of The Sleuth Kit (.idx), of hashes and offsets";
        return Some(by_command(what, r"sed '/^0\{32\}/d; s/|.*//'"));
    }
    let is_list = is_hash(first)
        || sums::is_one(first)
        || clamav::algorithm(first).is_some()
        || delimited::format_of(first, None).is_some();
    if is_list {
        return None;
    }
    of_line(first).or_else(|| of_lines(&lines))
}

/// Rows of zeros stand before the others: `000…0|nsrl-md5`.
fn is_index_of_tsk(text: &[u8]) -> bool {
    let zeros = text.iter().take_while(|b| **b == b'0').count();
    let behind = text
        .iter()
        .position(|b| *b == b'|')
        .map(|at| &text[at + 1..]);
    zeros >= 32 && behind.is_some_and(|b| b.first().is_some_and(u8::is_ascii_alphabetic))
}

/// What the first line shows by itself.
fn of_line(text: &[u8]) -> Option<Foreign> {
    let begins = |with: &[u8]| {
        text.get(..with.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(with))
    };
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(by_hint(
            "an HTML page",
            "fetch the list itself: a page may stand in its place where a login is needed or a link has gone",
        ));
    }
    if begins(b"<?xml") {
        return Some(by_hint(
            "an XML document",
            "extract the hashes from it first, one a line",
        ));
    }
    let fields: Vec<&[u8]> = text.split(|b| *b == b':').collect();
    let is_number = |t: &[u8]| !t.is_empty() && t.iter().all(u8::is_ascii_digit);
    match fields[..] {
        [size, hash, name, ..] if is_number(size) && is_hash(hash) && !name.is_empty() => {
            return Some(by_hint(
                "a list of ClamAV's signatures of sections, .mdb or .msb: no hashes of files",
                "give ClamAV's .hdb or .hsb, which hold hashes of files",
            ));
        }
        [hash, count] if is_hash(hash) && is_number(count) => {
            return Some(by_command(
                "a list of hashes with a number behind each, as of Pwned Passwords",
                "cut -d: -f1",
            ));
        }
        _ => {}
    }
    let base64 = |what| Some(by_hint(what, "give --encoding base64, too"));
    if hash_prefix::split_encoded(text).0.is_some() && algorithm_of_base64(text).is_some() {
        return base64("a list of digests in base64, as of Subresource Integrity");
    }
    let padded = text.ends_with(b"=") && from_base64(text).is_some();
    if (padded && algorithm_of_base64(text).is_some()) || sums::is_encoded(text) {
        return base64("a list of digests in base64");
    }
    let mut fields = text.split(|b| *b == b',');
    let tagged =
        |f: &[u8]| hash_prefix::split_encoded(f).0.is_some() && algorithm_of_base64(f).is_some();
    if fields.any(tagged) {
        return base64("a table with digests in base64, as Python's RECORD");
    }
    None
}

/// What the first lines show together.
fn of_lines(lines: &[&[u8]]) -> Option<Foreign> {
    let any = |begins: &[u8]| lines.iter().any(|l| l.starts_with(begins));
    if any(b"SPDXVersion:") {
        let name = usual(lines, &[b"SHA256", b"SHA1", b"MD5"]);
        return Some(by_command(
            "an SPDX document of tags and values",
            format!("awk '/^(File|Package)Checksum: {name}:/ {{print $3}}'"),
        ));
    }
    if any(b"Package:") && any(b"Filename:") {
        let name = usual(lines, &[b"SHA256:", b"SHA1:", b"MD5sum:"]);
        return Some(by_command(
            "a package index of Debian's (Packages)",
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
        return Some(by_command(
            "an index of Debian's (Release or Sources)",
            format!("awk '/^[^ ]/ {{of = $1}} of == \"{name}\" && NF == 3 {{print $1}}'"),
        ));
    }
    let pinned = |l: &&[u8]| l.windows(7).any(|w| w == b"--hash=");
    if lines.iter().any(pinned) {
        let names = [&b"sha256:"[..], b"sha384:", b"sha512:"];
        let name = usual(lines, &names);
        let algorithm = Algorithm::from_tag(name.trim_end_matches(':').as_bytes());
        let digits = algorithm.unwrap_or(Algorithm::Sha256).bytes() * 2;
        return Some(by_command(
            "a requirements file of pip with --hash options",
            format!("grep -oE '{name}[0-9a-f]{{{digits}}}'"),
        ));
    }
    None
}

/// The first of `names` that stands in one of the lines, or else the first.
fn usual<'n>(lines: &[&[u8]], names: &[&'n [u8]]) -> &'n str {
    let stands = |name: &&&[u8]| {
        lines
            .iter()
            .any(|l| l.windows(name.len()).any(|w| w == **name))
    };
    let name = names.iter().find(stands).or(names.first());
    name.and_then(|n| std::str::from_utf8(n).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "92e792c43c35e96fed3f9566083326fc";
    const SHA256: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";

    fn said(text: &str) -> Option<(&'static str, String)> {
        let foreign = named(text.as_bytes(), true)?;
        let way = foreign.command.unwrap_or_else(|| foreign.hint.to_owned());
        Some((foreign.what, way))
    }

    #[test]
    fn each_is_named_with_the_way_to_a_list() {
        let zeros = "0".repeat(41);
        for (text, what, way) in [
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
            let (is, to_do) = said(&text).expect(&text);
            assert!(is.contains(what), "{text}: {is}");
            assert!(to_do.contains(way), "{text}: {to_do}");
        }
    }

    #[test]
    fn lists_that_are_read_are_none_of_them() {
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
            assert_eq!(said(&text), None, "{text}");
        }
    }
}
