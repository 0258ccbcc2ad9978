//! Detection of a list by the first bytes of its text: format, algorithm, case.
//!
//! Compression is detected earlier ([`Codec::detect`]), by the first bytes and not by the
//! name; [`decompress`](crate::source::decompress::decoder::decompress) decompresses the stream.
//! Text that is not a list (UTF-32, a program, nested compression) would only yield rejected
//! lines. It is an error before the first write, with a hint how to convert it. With the
//! `rds` feature, databases are recognised earlier and never reach this module.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::printable::printable_bytes;
use crate::list::format::first_hash::{algorithm_by_lines, first_base64_algorithm, first_hash};
use crate::list::format::kind::{Encoding, Format, ListOptions};
use crate::list::format::layout::Layout;
use crate::list::format::plain::describe_line;
use crate::list::format::{document, foreign};
use crate::list::lines::{Framer, Line};
use crate::source::decompress::codec::{Codec, Detected, pipe_command};

/// Bytes at the start of a text that detection inspects before the first line is read.
pub(crate) const PEEK_BYTES: usize = 64 * 1024;

/// Properties of a list that its first bytes show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DetectedList {
    /// Format and columns of the list.
    pub layout: Layout,
    /// The algorithm of the first hash; in a table, the only one that has columns. `None` if the
    /// list shows none or several.
    pub algorithm: Option<Algorithm>,
    /// The algorithms that have columns, each with its column; empty unless there are several.
    pub candidates: Vec<(Algorithm, String)>,
    /// The case of the first hash in a plain list. `None` if it has no letter.
    pub case: Option<Case>,
    /// The first line that is neither blank nor a comment, for messages.
    pub first_line: Option<String>,
}

/// Detects the list `name` by `head`, the first bytes of its text. `codec` is its
/// compression, `options` holds the list options; `whole` says that `head` is all of it.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the bytes are not the
/// start of a list.
pub(crate) fn inspect(
    name: &str,
    codec: Option<Codec>,
    head: &[u8],
    whole: bool,
    options: &ListOptions,
) -> Result<DetectedList> {
    let peeked = Peeked {
        name,
        codec,
        head,
        whole,
        options,
    };
    if let Some(error) = peeked.not_a_list_error() {
        return Err(error);
    }
    let layout = Layout::detect(name, head, whole, options)?;
    let beginning = detect_hashes(layout, head, whole, options);
    let nothing = beginning.algorithm.is_none() && beginning.candidates.is_empty();
    if nothing && head.contains(&0) {
        return Err(Error::usage(format!(
            "{} is a binary file: none of its lines is a hash",
            peeked.describe()
        ))
        .with_hint("give a text file with one hash per line, or a table of hashes"));
    }
    Ok(beginning)
}

/// The first bytes of a list's text, and the options for reading it.
struct Peeked<'a> {
    name: &'a str,
    codec: Option<Codec>,
    head: &'a [u8],
    whole: bool,
    options: &'a ListOptions,
}

impl Peeked<'_> {
    /// Names the text in messages.
    fn describe(&self) -> String {
        match self.codec {
            Some(codec) => format!("the content of {} ({codec}-compressed)", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Returns the shell command that pipes the text through `command` into an ingest.
    fn pipe_command(&self, command: &str) -> String {
        let way = match self.codec {
            Some(codec) => format!("{} | {command}", pipe_command(self.name, codec.command())),
            None => pipe_command(self.name, command),
        };
        format!("{way} | hashferry ingest - …")
    }

    /// Returns the error for a text that is not a list. `None` if it may be one.
    fn not_a_list_error(&self) -> Option<Error> {
        self.nested_compression_error()
            .or_else(|| self.identify_container())
            .or_else(|| self.utf_32_error())
            .or_else(|| self.known_kind_error())
    }

    /// Returns the error for a text that is compressed twice.
    fn nested_compression_error(&self) -> Option<Error> {
        let (Some(_), Detected::Codec(nested)) = (self.codec, Codec::detect(self.head)) else {
            return None;
        };
        let error = Error::usage(format!(
            "{} is itself {nested}-compressed, not a plain list",
            self.describe()
        ));
        Some(error.with_hint(format!(
            "decompress it first: {}",
            self.pipe_command(nested.command())
        )))
    }

    /// Returns the error for an archive or database format that hashferry does not read.
    fn identify_container(&self) -> Option<Error> {
        let (kind, command) = container(self.head)?;
        let hint = match (command, self.codec) {
            // These commands read a file, not a pipe.
            (Some(command), None) if self.name != "-" && !self.name.starts_with("s3://") => {
                format!("decompress it first: {}", self.pipe_command(command))
            }
            _ if kind.contains("SQLite") && !cfg!(feature = "rds") => {
                "use a hashferry that was built with the rds feature, which reads NSRL databases"
                    .to_owned()
            }
            _ => "extract the list from it first, then ingest that".to_owned(),
        };
        let inside = self.describe();
        Some(Error::usage(format!("{inside} is {kind}, not a plain list")).with_hint(hint))
    }

    /// Returns the error for UTF-32.
    fn utf_32_error(&self) -> Option<Error> {
        let marks = [b"\xFF\xFE\0\0", b"\0\0\xFE\xFF"];
        if !marks.iter().any(|mark| self.head.starts_with(*mark)) {
            return None;
        }
        let error = Error::usage(format!("{} is UTF-32 text", self.describe()));
        Some(error.with_hint(format!(
            "convert it first: {}",
            self.pipe_command("iconv -f UTF-32 -t UTF-8")
        )))
    }

    /// Returns the error for a file of a kind that is recognised but not read.
    fn known_kind_error(&self) -> Option<Error> {
        let Peeked {
            head,
            whole,
            options,
            ..
        } = *self;
        if options.path_normalizer.is_some() {
            return None;
        }
        let may_be_json = options.format.is_none_or(|f| f == Format::Ndjson);
        // The user chose a field of this object, or one inside its arrays: read it.
        let is_meant = |field: &str| field.contains("[]") || document::has_field(head, field);
        let is_meant = options.column.as_deref().is_some_and(is_meant);
        if may_be_json
            && !is_meant
            && let Some(document) = document::identify(head)
        {
            let field = document
                .field
                .map(|field| format!("; or give --field '{field}'"));
            let error = Error::usage(format!(
                "{} is {}, with its hashes inside arrays",
                self.describe(),
                document.description
            ));
            let way = self.pipe_command(&document.command);
            let field = field.unwrap_or_default();
            return Some(error.with_hint(format!("make a list of it: {way}{field}")));
        }
        if options.format.is_some() || options.encoding != Encoding::Hex {
            return None;
        }
        let foreign = foreign::identify(head, whole)?;
        let error = Error::usage(format!("{} is {}", self.describe(), foreign.description));
        Some(match foreign.command {
            Some(command) => error.with_hint(format!(
                "make a list of it: {}",
                self.pipe_command(&command)
            )),
            None => error.with_hint(foreign.hint),
        })
    }
}

/// Detects algorithm and case of a list with this `layout`.
fn detect_hashes(layout: Layout, head: &[u8], whole: bool, options: &ListOptions) -> DetectedList {
    let mut beginning = DetectedList {
        first_line: first_line(head, whole),
        ..DetectedList::default()
    };
    if layout.format == Format::Lines && options.encoding == Encoding::Base64 {
        beginning.algorithm = first_base64_algorithm(head, whole);
    } else if layout.format == Format::Lines {
        if let Some((algorithm, text)) = first_hash(head, whole) {
            beginning.algorithm = Some(algorithm);
            let letter = text.iter().find(|b| b.is_ascii_alphabetic());
            beginning.case = letter.map(|l| match l.is_ascii_uppercase() {
                true => Case::Upper,
                false => Case::Lower,
            });
        }
    } else {
        let seen = layout.algorithms(options);
        match seen.first() {
            // The parser chooses between columns of one algorithm, or returns an error.
            Some((first, _)) if seen.iter().all(|(a, _)| a == first) => {
                beginning.algorithm = Some(*first);
            }
            _ => beginning.candidates = seen,
        }
        match layout.format {
            Format::Sums | Format::Clamav | Format::Powershell | Format::Certutil => {
                beginning.algorithm = algorithm_by_lines(layout.format, head, whole);
            }
            _ => {}
        }
    }
    beginning.layout = layout;
    beginning
}

/// Describes the first line that is neither blank nor a comment, for messages.
fn first_line(head: &[u8], whole: bool) -> Option<String> {
    let mut framer = Framer::new();
    let mut lines = framer.push(head);
    let describe = |line: &Line<'_>| {
        let text = line.bytes.trim_ascii();
        let looks = describe_line(text).map(|l| format!(" ({l})"));
        let looks = looks.unwrap_or_default();
        (!text.is_empty() && text[0] != b'#')
            .then(|| format!("{:?}{looks}", printable_bytes(text, 80)))
    };
    while let Some(line) = lines.next() {
        if let Some(text) = describe(&line) {
            return Some(text);
        }
    }
    framer
        .finish()
        .filter(|_| whole)
        .and_then(|line| describe(&line))
}

impl DetectedList {
    /// True if the first bytes show the algorithm, or several to choose from.
    pub fn is_decisive(&self) -> bool {
        self.algorithm.is_some() || !self.candidates.is_empty()
    }
}

/// Identifies an archive or database by its magic bytes, with the command that
/// decompresses it. `None` if the bytes show none.
fn container(head: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    const MAGIC: [(&[u8], &str, Option<&str>); 4] = [
        (
            b"\x02\x21\x4C\x18",
            "LZ4 in its legacy format",
            Some("lz4 -dc"),
        ),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive", Some("7z x -so")),
        (b"SQLite format 3\0", "an SQLite database", None),
        (b"HASH\r\n\xFF\0", "an EnCase hash set", None),
    ];
    // Offset of the magic in a tar header (POSIX ustar).
    if head.get(257..262) == Some(b"ustar") {
        return Some(("a tar archive", None));
    }
    MAGIC
        .iter()
        .find(|(magic, ..)| head.starts_with(magic))
        .map(|(_, kind, command)| (*kind, *command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hash_after_comments_and_header_decides_the_algorithm() {
        let got = inspect(
            "x",
            None,
            b"# list\n\nmd5\n92e792c43c35e96fed3f9566083326fc\r\n",
            true,
            &ListOptions::default(),
        )
        .expect("text");
        assert_eq!(got.algorithm, Some(Algorithm::Md5));
        assert_eq!(got.case, Some(Case::Lower));
        assert_eq!(got.first_line.as_deref(), Some("\"md5\""));
        // The end of the inspected bytes cuts this line off, so it decides nothing.
        let cut = inspect(
            "x",
            None,
            b"92e792c43c35e96fed3f9566083326fc",
            false,
            &ListOptions::default(),
        )
        .expect("text");
        assert_eq!(cut, DetectedList::default());
    }

    #[test]
    fn a_prefix_does_not_decide_the_case() {
        for before in ["sha256:", "0x"] {
            let text = format!("{before}{}\n", "AB".repeat(32));
            let seen =
                inspect("x", None, text.as_bytes(), true, &ListOptions::default()).expect("text");
            assert_eq!(seen.algorithm, Some(Algorithm::Sha256), "{before}");
            assert_eq!(seen.case, Some(Case::Upper), "{before}");
        }
    }

    #[test]
    fn a_binary_file_is_an_error_with_a_hint_how_to_convert_it() {
        let mut tar = [0; 512];
        tar[..8].copy_from_slice(b"list.txt");
        tar[257..263].copy_from_slice(b"ustar\0");
        for (codec, head, expected) in [
            (
                None,
                &b"7z\xBC\xAF\x27\x1C\0"[..],
                "7z x -so list | hashferry",
            ),
            (None, b"SQLite format 3\0", "extract"),
            (None, b"\x02\x21\x4C\x18\0", "lz4 -dc list | hashferry"),
            (None, &tar, "extract"),
            (Some(Codec::Gzip), &tar, "extract"),
            (None, b"HASH\r\n\xFF\0", "extract"),
            (
                None,
                b"\xFF\xFE\0\0a\0\0\0",
                "iconv -f UTF-32 -t UTF-8 list | hashferry",
            ),
            (None, b"\x7FELF\0\0\0\n", "one hash per line"),
            (Some(Codec::Gzip), b"SQLite format 3\0", "extract"),
            (Some(Codec::Gzip), b"7z\xBC\xAF\x27\x1C\0", "extract"),
            (
                Some(Codec::Xz),
                b"\xFF\xFE\0\0a\0\0\0",
                "xz -dc list | iconv -f UTF-32 -t UTF-8 | hashferry",
            ),
            (
                Some(Codec::Zstd),
                b"\x1F\x8B\x08",
                "zstd -dc list | gunzip -c | hashferry",
            ),
        ] {
            let error =
                inspect("list", codec, head, true, &ListOptions::default()).expect_err("no list");
            assert_eq!(error.exit_status(), 2);
            assert!(
                error.hint().is_some_and(|h| h.contains(expected)),
                "{error}: {expected}"
            );
        }
    }

    #[test]
    fn a_list_with_a_nul_and_a_hash_is_not_a_binary_file() {
        assert!(
            inspect(
                "x",
                None,
                b"ab\0cd\n92e792c43c35e96fed3f9566083326fc\n",
                true,
                &ListOptions::default()
            )
            .is_ok()
        );
    }

    #[test]
    fn an_empty_list_decides_nothing() {
        let seen = inspect("x", None, b"", true, &ListOptions::default()).expect("text");
        assert!(seen.layout.is_empty && !seen.is_decisive(), "{seen:?}");
    }
}
