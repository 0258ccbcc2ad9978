//! The bytes of a source → text: what kind they are, and decompression.
//!
//! Plain text goes through as it is, and what is compressed is decompressed as it
//! comes ([`unpack`](crate::source::decompress::decoder::unpack)), known by its first bytes ([`Codec::seen`]) and not by its
//! name. Whatever else the first bytes of the text show (UTF-32, a program,
//! compression once more) is refused before anything is written, with the way out:
//! taken for text it would end as a heap of rejected lines. Only a database is let
//! through before, to be read as one.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::printable::shown;
use crate::list::format::first_hash::{algorithm_by_lines, first_encoded, first_hash};
use crate::list::format::kind::{Encoding, Form, Format};
use crate::list::format::layout::Layout;
use crate::list::format::plain::looks_like;
use crate::list::format::{document, foreign};
use crate::list::lines::{Framer, Line};
use crate::source::decompress::codec::{Codec, Seen, piped};

/// How many bytes at the beginning are looked at before the first line is taken.
pub(crate) const PEEK_BYTES: usize = 64 * 1024;

/// What the beginning of a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beginning {
    /// The form of the list.
    pub layout: Layout,
    /// The algorithm of the hashes that it shows: of a plain list the first one by its
    /// length, of others the only one that has a column.
    pub algorithm: Option<Algorithm>,
    /// The algorithms that have columns, with these, where there are several.
    pub several: Vec<(Algorithm, String)>,
    /// The case of the first line of a plain list that is a hash, where it shows one.
    pub case: Option<Case>,
    /// The first line that is neither blank nor a comment, for messages.
    pub first_line: Option<String>,
}

/// Looks at the first bytes of the text of the list called `name`, which was
/// compressed by `codec` and is to be read as `form` says; `whole` when there are no
/// more than these.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when they are not the
/// beginning of a text.
pub(crate) fn look_at(
    name: &str,
    codec: Option<Codec>,
    head: &[u8],
    whole: bool,
    form: &Form,
) -> Result<Beginning> {
    let peeked = Peeked {
        name,
        codec,
        head,
        whole,
        form,
    };
    if let Some(refused) = peeked.refused() {
        return Err(refused);
    }
    let layout = Layout::seen(name, head, whole, form)?;
    let beginning = beginning(layout, head, whole, form);
    let nothing = beginning.algorithm.is_none() && beginning.several.is_empty();
    if nothing && head.contains(&0) {
        return Err(Error::usage(format!(
            "{} is a binary file: no line of it is a hash",
            peeked.inside()
        ))
        .hint("expected text with one hash a line, or a table of them"));
    }
    Ok(beginning)
}

/// The first bytes of a list's text, and how it is to be read.
struct Peeked<'a> {
    name: &'a str,
    codec: Option<Codec>,
    head: &'a [u8],
    whole: bool,
    form: &'a Form,
}

impl Peeked<'_> {
    /// The text, as messages call it.
    fn inside(&self) -> String {
        match self.codec {
            Some(codec) => format!("what {} holds, {codec}-compressed,", self.name),
            None => self.name.to_owned(),
        }
    }

    /// The shell command that ingests the text by way of `command`.
    fn through(&self, command: &str) -> String {
        let way = match self.codec {
            Some(codec) => format!("{} | {command}", piped(self.name, codec.command())),
            None => piped(self.name, command),
        };
        format!("{way} | hashferry ingest - …")
    }

    /// The refusal of a text that is no list.
    fn refused(&self) -> Option<Error> {
        self.compressed_again()
            .or_else(|| self.container())
            .or_else(|| self.utf_32())
            .or_else(|| self.other_kind())
    }

    /// The refusal of what is compressed twice.
    fn compressed_again(&self) -> Option<Error> {
        let (Some(_), Seen::Codec(nested)) = (self.codec, Codec::seen(self.head)) else {
            return None;
        };
        let error = Error::usage(format!(
            "{} is {nested}-compressed once more, not a plain list",
            self.inside()
        ));
        Some(error.hint(format!(
            "decompress it on the way in: {}",
            self.through(nested.command())
        )))
    }

    /// The refusal of a container that is not undone here.
    fn container(&self) -> Option<Error> {
        let (kind, command) = container(self.head)?;
        let hint = match (command, self.codec) {
            // It reads files, and no pipes.
            (Some(command), None) if self.name != "-" && !self.name.starts_with("s3://") => {
                format!("decompress it on the way in: {}", self.through(command))
            }
            _ if kind.contains("SQLite") && !cfg!(feature = "rds") => {
                "take a hashferry that was built with its feature rds, which reads NSRL databases"
                    .to_owned()
            }
            _ => "extract the list from it first, then ingest that".to_owned(),
        };
        let inside = self.inside();
        Some(Error::usage(format!("{inside} is {kind}, not a plain list")).hint(hint))
    }

    /// The refusal of UTF-32.
    fn utf_32(&self) -> Option<Error> {
        let marks = [b"\xFF\xFE\0\0", b"\0\0\xFE\xFF"];
        if !marks.iter().any(|mark| self.head.starts_with(*mark)) {
            return None;
        }
        let error = Error::usage(format!("{} is UTF-32 text", self.inside()));
        Some(error.hint(format!(
            "convert it first: {}",
            self.through("iconv -f UTF-32 -t UTF-8")
        )))
    }

    /// The refusal of a file of a kind that is known and not read.
    fn other_kind(&self) -> Option<Error> {
        let Peeked {
            head, whole, form, ..
        } = *self;
        if form.paths.is_some() {
            return None;
        }
        let may_be_json = form.format.is_none_or(|f| f == Format::Ndjson);
        // A field that such an object has itself, or that leads into arrays, is meant so.
        let is_meant = |field: &str| field.contains("[]") || document::has(head, field);
        let is_meant = form.column.as_deref().is_some_and(is_meant);
        if may_be_json
            && !is_meant
            && let Some(document) = document::named(head)
        {
            let field = document
                .field
                .map(|field| format!("; or give --field '{field}'"));
            let error = Error::usage(format!(
                "{} is {}, whose hashes stand inside arrays",
                self.inside(),
                document.what
            ));
            let way = self.through(&document.command);
            let field = field.unwrap_or_default();
            return Some(error.hint(format!("make a list of it: {way}{field}")));
        }
        if form.format.is_some() || form.encoding != Encoding::Hex {
            return None;
        }
        let foreign = foreign::named(head, whole)?;
        let error = Error::usage(format!("{} is {}", self.inside(), foreign.what));
        Some(match foreign.command {
            Some(command) => error.hint(format!("make a list of it: {}", self.through(&command))),
            None => error.hint(foreign.hint),
        })
    }
}

/// What the beginning of a list laid out so shows.
fn beginning(layout: Layout, head: &[u8], whole: bool, form: &Form) -> Beginning {
    let mut beginning = Beginning {
        first_line: first_line(head, whole),
        ..Beginning::default()
    };
    if layout.format == Format::Lines && form.encoding == Encoding::Base64 {
        beginning.algorithm = first_encoded(head, whole);
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
        let seen = layout.algorithms(form);
        match seen.first() {
            // Which column is meant of two for one algorithm, the parser knows or asks.
            Some((first, _)) if seen.iter().all(|(a, _)| a == first) => {
                beginning.algorithm = Some(*first);
            }
            _ => beginning.several = seen,
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

/// The first line that is neither blank nor a comment, for messages.
fn first_line(head: &[u8], whole: bool) -> Option<String> {
    let mut framer = Framer::new();
    let mut lines = framer.push(head);
    let said = |line: &Line<'_>| {
        let text = line.bytes.trim_ascii();
        let looks = looks_like(text).map(|l| format!(" ({l})"));
        let looks = looks.unwrap_or_default();
        (!text.is_empty() && text[0] != b'#').then(|| format!("{:?}{looks}", shown(text, 80)))
    };
    while let Some(line) = lines.next() {
        if let Some(said) = said(&line) {
            return Some(said);
        }
    }
    framer
        .finish()
        .filter(|_| whole)
        .and_then(|line| said(&line))
}

impl Beginning {
    /// Whether it shows what the list is.
    pub fn decides(&self) -> bool {
        self.algorithm.is_some() || !self.several.is_empty()
    }
}

/// What container the bytes show that is not undone here, and the command that
/// does it.
fn container(head: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    const MAGIC: [(&[u8], &str, Option<&str>); 4] = [
        (
            b"\x02\x21\x4C\x18",
            "LZ4 in its legacy form",
            Some("lz4 -dc"),
        ),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive", Some("7z x -so")),
        (b"SQLite format 3\0", "an SQLite database", None),
        (b"HASH\r\n\xFF\0", "an EnCase hash set", None),
    ];
    // The name of the format stands in the first header, behind a file's name.
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
    fn the_first_hash_shows_the_algorithm_past_comments_and_a_header() {
        let got = look_at(
            "x",
            None,
            b"# list\n\nmd5\n92e792c43c35e96fed3f9566083326fc\r\n",
            true,
            &Form::default(),
        )
        .expect("text");
        assert_eq!(got.algorithm, Some(Algorithm::Md5));
        assert_eq!(got.case, Some(Case::Lower));
        assert_eq!(got.first_line.as_deref(), Some("\"md5\""));
        // A line that is cut off by the peek shows nothing.
        let cut = look_at(
            "x",
            None,
            b"92e792c43c35e96fed3f9566083326fc",
            false,
            &Form::default(),
        )
        .expect("text");
        assert_eq!(cut, Beginning::default());
    }

    #[test]
    fn the_case_is_that_of_the_digits_alone() {
        for before in ["sha256:", "0x"] {
            let text = format!("{before}{}\n", "AB".repeat(32));
            let seen = look_at("x", None, text.as_bytes(), true, &Form::default()).expect("text");
            assert_eq!(seen.algorithm, Some(Algorithm::Sha256), "{before}");
            assert_eq!(seen.case, Some(Case::Upper), "{before}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_the_way_out() {
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
            (None, b"\x7FELF\0\0\0\n", "one hash a line"),
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
            let error = look_at("list", codec, head, true, &Form::default()).expect_err("refused");
            assert_eq!(error.exit_status(), 2);
            assert!(
                error.what_to_do().is_some_and(|h| h.contains(expected)),
                "{error}: {expected}"
            );
        }
    }

    #[test]
    fn a_nul_in_a_list_of_hashes_is_a_line_to_reject_not_a_binary_file() {
        assert!(
            look_at(
                "x",
                None,
                b"ab\0cd\n92e792c43c35e96fed3f9566083326fc\n",
                true,
                &Form::default()
            )
            .is_ok()
        );
    }

    #[test]
    fn an_empty_list_shows_nothing() {
        let seen = look_at("x", None, b"", true, &Form::default()).expect("text");
        assert!(seen.layout.empty && !seen.decides(), "{seen:?}");
    }
}
