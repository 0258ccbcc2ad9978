//! The type of an open list: its text from the beginning on, and what that shows.

#[cfg(test)]
use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Hash};
use crate::list::detect;
use crate::list::format::kind::Form;
use crate::list::format::layout::Layout;
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser::RowParser;
use crate::list::identity::Identity;
use crate::list::lines::{Framer, Line};
#[cfg(feature = "rds")]
use crate::list::rds::text::Database;
use crate::list::rewriting::Rewriting;
use crate::source::decompress::codec::{Compression, Unpack};
use crate::source::decompress::output::Chunk;
use crate::source::decompress::thread::Unpacking;
use crate::source::location::Location;
use crate::source::open::Source;
use bytes::Bytes;
use std::collections::VecDeque;

/// Facts that name a release of the NSRL, with the columns of its table `VERSION` that
/// they come from.
pub(crate) const RELEASE: [(&str, &str); 3] = [
    ("version", "version"),
    ("set", "build_set"),
    ("release_date", "release_date"),
];

/// An opened source whose first bytes have been looked at.
#[derive(Debug)]
pub struct Opened {
    pub(super) location: Location,
    pub(super) identity: Identity,
    pub(super) text: Text,
    pub(super) rewriting: Rewriting,
    /// The chunks that were looked at, to be read again.
    pub(super) peeked: VecDeque<Chunk>,
    pub(super) ended: bool,
    /// Bytes of it that are behind, as they lie there, when reading begins.
    pub(super) behind: u64,
    /// What they show.
    pub beginning: detect::Beginning,
    /// The first list with rows, where this one comes before it and has none: its name and
    /// form.
    pub(super) follows: Option<(String, Layout)>,
    /// The failure that comes behind the part that was looked at.
    pub(super) failed: Option<Error>,
}

/// Where the text comes from.
#[derive(Debug)]
pub(super) enum Text {
    /// As it lies there.
    Plain(Box<Source>),
    Packed(Unpacking),
    #[cfg(feature = "rds")]
    Database(Box<Database>),
}

#[cfg(test)]
impl Opened {
    /// A source that holds these chunks of plain text.
    pub(crate) async fn of_chunks(aws: &Aws, chunks: &[&[u8]]) -> Opened {
        let source = Source::open(&Location::Stdin, aws).await.expect("opened");
        Opened {
            location: Location::Stdin,
            identity: source.version().into(),
            text: Text::Plain(Box::new(source)),
            rewriting: Rewriting::default(),
            peeked: chunks
                .iter()
                .map(|c| plain(Bytes::copy_from_slice(c)))
                .collect(),
            ended: true,
            behind: 0,
            beginning: detect::Beginning::default(),
            follows: None,
            failed: None,
        }
    }
}

impl Opened {
    /// Says that its hashes of `algorithm` are wanted: of a database, which has several
    /// kinds. Before the first [`next`](Self::next).
    ///
    /// # Errors
    /// When it is a database and has no such hashes, or can no longer be read.
    pub fn begin(&mut self, algorithm: Algorithm) -> Result<()> {
        match &mut self.text {
            #[cfg(feature = "rds")]
            Text::Database(database) => database.begin(algorithm),
            _ => {
                let _ = algorithm;
                Ok(())
            }
        }
    }

    /// By what it can be recognised later.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Its length in bytes as it lies there, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.identity.object.bytes
    }

    /// The length of its text in bytes, where that is known.
    pub fn text_length(&self) -> Option<u64> {
        self.length().filter(|_| !self.is_packed())
    }

    /// The form of the list.
    pub fn layout(&self) -> &Layout {
        &self.beginning.layout
    }

    /// The parser of its rows, for hashes of `algorithm` and the `wanted` columns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when the list, or the one that it follows, is
    /// not one of such hashes or has not these columns.
    pub fn parser(
        &self,
        form: &Form,
        algorithm: Algorithm,
        wanted: &[String],
    ) -> Result<RowParser> {
        let of = |name: &str, layout| {
            RowParser::new(layout, form, algorithm, wanted).map_err(|e| e.of(name))
        };
        if let Some(column) = wanted.first().filter(|_| self.identity.database) {
            let release = RELEASE.map(|(name, _)| name).join(", ");
            return Err(Error::usage(format!(
                "{} is an NSRL database: of its rows only the hash is read, so there is no column {column:?}",
                self.location
            ))
            .hint(format!(
                "leave --attr-from out; --attr-from-version gives the attributes that it has: {release}"
            )));
        }
        if let Some((name, layout)) = &self.follows {
            of(name, layout)?;
        }
        of(&self.name(), self.layout())
    }

    /// Takes what `shown`, the first list with rows, shows of the lists of a run for what
    /// this one shows, which comes before it and has none.
    pub(super) fn follow(&mut self, shown: &Opened) {
        let layout = std::mem::take(&mut self.beginning.layout);
        self.beginning = detect::Beginning {
            layout,
            ..shown.beginning.clone()
        };
        self.follows = Some((shown.name(), shown.layout().clone()));
    }

    /// The name and the form of the list that shows what the lists of a run are.
    pub(super) fn shown(&self) -> (String, &Layout) {
        match &self.follows {
            Some((name, layout)) => (name.clone(), layout),
            None => (self.name(), self.layout()),
        }
    }

    /// What is to be said of how it is read: its compression, and its form, of hashes
    /// of `algorithm`.
    pub fn said(&self, unpack: &Unpack, form: &Form, algorithm: Algorithm) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(packed) = &self.identity.packed {
            let told = match unpack.compression {
                Compression::Auto => " (--compression none takes the bytes as they are)",
                _ => "",
            };
            said.push(format!(
                "{}-compressed: decompressing it{told}",
                packed.codec
            ));
        }
        said.extend(self.identity.writing.map(|writing| writing.to_string()));
        said.extend(crate::list::format::description::said(
            self.layout(),
            form,
            algorithm,
        ));
        said
    }

    /// Whether its text lies otherwise than as it is: compressed, or in a database.
    pub fn is_packed(&self) -> bool {
        !self.identity.is_verbatim()
    }

    /// Bytes of it that are behind, as they lie there, when reading begins.
    pub fn behind(&self) -> u64 {
        self.behind
    }

    /// The first of its text that was looked at.
    pub(super) fn head(&self) -> &[u8] {
        self.peeked.front().map_or(&[], |chunk| &chunk.bytes)
    }

    /// The first hashes of its text as far as that was looked at, `most` at most and none
    /// twice; none of a database.
    pub(crate) fn first_hashes(&self, mut parser: RowParser, most: usize) -> Vec<Hash> {
        let mut hashes = Vec::new();
        let mut framer = Framer::new();
        let mut take = |line: &Line<'_>| {
            if let Parsed::Hash(hash) = parser.parse(line)
                && !hashes.contains(&hash)
            {
                hashes.push(hash);
            }
            hashes.len() < most
        };
        let mut lines = framer.push(self.head());
        while let Some(line) = lines.next() {
            if !take(&line) {
                return hashes;
            }
        }
        if self.ended
            && let Some(line) = framer.finish()
        {
            take(&line);
        }
        hashes
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.location.to_string()
    }

    /// The release of the NSRL that it is, by the names of [`RELEASE`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it is none of its databases, or does not say it.
    pub fn release(&self) -> Result<Vec<(&'static str, String)>> {
        let without = |why: &str| {
            Error::usage(format!(
                "--attr-from-version takes attributes from the table VERSION of an NSRL database, and of {} {why}",
                self.location
            ))
            .hint("leave it out, and give them by --attr NAME=TEXT")
        };
        #[cfg(feature = "rds")]
        if let Text::Database(database) = &self.text {
            let release = database.schema().release.as_ref();
            let release = release.map_err(|why| without(why))?;
            let values = [&release.version, &release.set, &release.date];
            let named = RELEASE.iter().zip(values);
            return Ok(named.map(|((name, _), v)| (*name, v.clone())).collect());
        }
        Err(without("there is none: it is no such database"))
    }

    /// The next chunk of text, from the beginning on; nothing at the end.
    ///
    /// # Errors
    /// As [`Source::next`], and when it is cut off or damaged.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        match self.peeked.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None if self.ended => Ok(None),
            None => match self.failed.take() {
                Some(e) => Err(e),
                None => self.pull().await,
            },
        }
    }

    pub(super) async fn pull(&mut self) -> Result<Option<Chunk>> {
        if self.rewriting.is_none() {
            return self.pull_text().await;
        }
        if self.rewriting.has_ended() {
            return Ok(None);
        }
        let chunk = self.pull_text().await?;
        self.rewriting.push(chunk)
    }

    async fn pull_text(&mut self) -> Result<Option<Chunk>> {
        match &mut self.text {
            Text::Plain(source) => Ok(source.next().await?.map(plain)),
            Text::Packed(unpacking) => unpacking.next().await,
            #[cfg(feature = "rds")]
            Text::Database(database) => database.next().await,
        }
    }
}

/// A chunk of a source that is not compressed.
pub(super) fn plain(bytes: Bytes) -> Chunk {
    Chunk {
        lying: bytes.len() as u64,
        bytes,
    }
}
