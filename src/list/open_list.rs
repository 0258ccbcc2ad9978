//! An open list: its text from the start, and its detected properties.

#[cfg(test)]
use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Hash};
use crate::list::detect;
use crate::list::format::kind::ListOptions;
use crate::list::format::layout::Layout;
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser::RowParser;
use crate::list::identity::Identity;
use crate::list::lines::{Framer, Line};
#[cfg(feature = "rds")]
use crate::list::rds::text::Database;
use crate::list::rewrite_stage::RewriteStage;
use crate::source::decompress::codec::{Compression, DecompressOptions};
use crate::source::decompress::output::Chunk;
use crate::source::decompress::thread::DecompressThread;
use crate::source::location::Location;
use crate::source::open::OpenSource;
use bytes::Bytes;
use std::collections::VecDeque;

/// Attributes that identify a release of the NSRL, each with its column in the table
/// `VERSION`.
pub(crate) const RELEASE_FIELDS: [(&str, &str); 3] = [
    ("version", "version"),
    ("set", "build_set"),
    ("release_date", "release_date"),
];

/// An open source, with the properties detected by its first bytes.
#[derive(Debug)]
pub struct OpenList {
    pub(super) location: Location,
    pub(super) identity: Identity,
    pub(super) text: Text,
    pub(super) rewrite_stage: RewriteStage,
    /// Inspected chunks, which are read first.
    pub(super) peeked: VecDeque<Chunk>,
    pub(super) ended: bool,
    /// Bytes of the source before the start position of a resumed run.
    pub(super) skipped_bytes: u64,
    /// Properties detected by the first bytes.
    pub detected: detect::DetectedList,
    /// Name and layout of the first list with rows. `None` unless this list comes before it
    /// and has no rows.
    pub(super) first_with_rows: Option<(String, Layout)>,
    /// The error to report after the peeked chunks.
    pub(super) pending_error: Option<Error>,
}

/// Source of the text.
#[derive(Debug)]
pub(super) enum Text {
    /// The bytes of the source itself.
    Plain(Box<OpenSource>),
    Compressed(DecompressThread),
    #[cfg(feature = "rds")]
    Database(Box<Database>),
}

#[cfg(test)]
impl OpenList {
    /// A list of these chunks of plain text, for tests.
    pub(crate) async fn from_chunks(aws: &Aws, chunks: &[&[u8]]) -> OpenList {
        let source = OpenSource::open(&Location::Stdin, aws)
            .await
            .expect("opened");
        OpenList {
            location: Location::Stdin,
            identity: source.version().into(),
            text: Text::Plain(Box::new(source)),
            rewrite_stage: RewriteStage::default(),
            peeked: chunks
                .iter()
                .map(|c| plain_chunk(Bytes::copy_from_slice(c)))
                .collect(),
            ended: true,
            skipped_bytes: 0,
            detected: detect::DetectedList::default(),
            first_with_rows: None,
            pending_error: None,
        }
    }
}

impl OpenList {
    /// Selects the hashes of `algorithm` if the list is a database. Call it before the first
    /// [`next`](Self::next).
    ///
    /// # Errors
    /// If a database has no such hashes, or can no longer be read.
    pub fn select_algorithm(&mut self, algorithm: Algorithm) -> Result<()> {
        match &mut self.text {
            #[cfg(feature = "rds")]
            Text::Database(database) => database.start(algorithm),
            _ => {
                let _ = algorithm;
                Ok(())
            }
        }
    }

    /// Returns the identity, which a later run compares to detect changes.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Returns the size of the object in bytes, compressed if it is. `None` if unknown.
    pub fn length(&self) -> Option<u64> {
        self.identity.object.bytes
    }

    /// Returns the size of the text in bytes. `None` if unknown.
    pub fn text_length(&self) -> Option<u64> {
        self.length().filter(|_| !self.is_derived())
    }

    /// Returns the format and columns of the list.
    pub fn layout(&self) -> &Layout {
        &self.detected.layout
    }

    /// Creates the parser of its rows, for hashes of `algorithm` and the `wanted` columns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the list, or the first
    /// list with rows, lacks such hashes or one of the columns.
    pub fn parser(
        &self,
        options: &ListOptions,
        algorithm: Algorithm,
        wanted: &[String],
    ) -> Result<RowParser> {
        let parser = |name: &str, layout| {
            RowParser::new(layout, options, algorithm, wanted).map_err(|e| e.in_source(name))
        };
        if let Some(column) = wanted.first().filter(|_| self.identity.is_database) {
            let release = RELEASE_FIELDS.map(|(name, _)| name).join(", ");
            return Err(Error::usage(format!(
                "{} is an NSRL database: only its hashes are read, so it has no column {column:?}",
                self.location
            ))
            .with_hint(format!(
                "omit --attr-from, or give --attr-from-version for the attributes that it has: {release}"
            )));
        }
        if let Some((name, layout)) = &self.first_with_rows {
            parser(name, layout)?;
        }
        parser(&self.name(), self.layout())
    }

    /// Adopts the detected properties of `shown`, the first list with rows. This list comes
    /// before it and has no rows.
    pub(super) fn adopt_detected(&mut self, shown: &OpenList) {
        let layout = std::mem::take(&mut self.detected.layout);
        self.detected = detect::DetectedList {
            layout,
            ..shown.detected.clone()
        };
        self.first_with_rows = Some((shown.name(), shown.layout().clone()));
    }

    /// Returns name and layout of the list that decides the properties of a run's lists.
    pub(super) fn representative(&self) -> (String, &Layout) {
        match &self.first_with_rows {
            Some((name, layout)) => (name.clone(), layout),
            None => (self.name(), self.layout()),
        }
    }

    /// Describes how the list is read for hashes of `algorithm`: compression, text encoding,
    /// format. Empty for a plain list.
    pub fn describe(
        &self,
        unpack: &DecompressOptions,
        options: &ListOptions,
        algorithm: Algorithm,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(packed) = &self.identity.compression {
            let hint = match unpack.compression {
                Compression::Auto => " (--compression none reads the bytes unchanged)",
                _ => "",
            };
            lines.push(format!(
                "{}-compressed: decompressing it{hint}",
                packed.codec
            ));
        }
        lines.extend(
            self.identity
                .text_encoding
                .map(|writing| writing.to_string()),
        );
        lines.extend(crate::list::format::description::describe(
            self.layout(),
            options,
            algorithm,
        ));
        lines
    }

    /// True if the text differs from the bytes of the source: it is decompressed, converted, or
    /// read from a database.
    pub fn is_derived(&self) -> bool {
        !self.identity.is_verbatim()
    }

    /// Returns the number of source bytes before the start position of a resumed run.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Returns the first peeked chunk of the text; empty if there is none.
    pub(super) fn head(&self) -> &[u8] {
        self.peeked.front().map_or(&[], |chunk| &chunk.bytes)
    }

    /// Returns the first distinct hashes in the first chunk, at most `max`. Empty for a
    /// database.
    pub(crate) fn first_hashes(&self, mut parser: RowParser, max: usize) -> Vec<Hash> {
        let mut hashes = Vec::new();
        let mut framer = Framer::new();
        let mut take = |line: &Line<'_>| {
            if let Parsed::Hash(hash) = parser.parse(line)
                && !hashes.contains(&hash)
            {
                hashes.push(hash);
            }
            hashes.len() < max
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

    /// Returns the name of the list: its URI or path.
    pub fn name(&self) -> String {
        self.location.to_string()
    }

    /// Returns the release of an NSRL database, as pairs of name and text with the names of
    /// [`RELEASE_FIELDS`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it is not an NSRL database,
    /// or does not name its release.
    pub fn release(&self) -> Result<Vec<(&'static str, String)>> {
        let without = |why: &str| {
            Error::usage(format!(
                "--attr-from-version reads the table VERSION of an NSRL database, but {}: {why}",
                self.location
            ))
            .with_hint("omit it, and give the attributes with --attr NAME=TEXT")
        };
        #[cfg(feature = "rds")]
        if let Text::Database(database) = &self.text {
            let release = database.schema().release.as_ref();
            let release = release.map_err(|why| without(why))?;
            let values = [&release.version, &release.set, &release.date];
            let named = RELEASE_FIELDS.iter().zip(values);
            return Ok(named.map(|((name, _), v)| (*name, v.clone())).collect());
        }
        Err(without("it is not an NSRL database"))
    }

    /// Returns the next chunk of text, peeked chunks first. `None` at the end.
    ///
    /// # Errors
    /// Same as [`OpenSource::next`]; also if it is cut off or damaged.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        match self.peeked.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None if self.ended => Ok(None),
            None => match self.pending_error.take() {
                Some(e) => Err(e),
                None => self.read_chunk().await,
            },
        }
    }

    pub(super) async fn read_chunk(&mut self) -> Result<Option<Chunk>> {
        if self.rewrite_stage.is_none() {
            return self.read_text().await;
        }
        if self.rewrite_stage.has_ended() {
            return Ok(None);
        }
        let chunk = self.read_text().await?;
        self.rewrite_stage.push(chunk)
    }

    async fn read_text(&mut self) -> Result<Option<Chunk>> {
        match &mut self.text {
            Text::Plain(source) => Ok(source.next().await?.map(plain_chunk)),
            Text::Compressed(unpacking) => unpacking.next().await,
            #[cfg(feature = "rds")]
            Text::Database(database) => database.next().await,
        }
    }
}

/// Wraps bytes of an uncompressed source as a chunk.
pub(super) fn plain_chunk(bytes: Bytes) -> Chunk {
    Chunk {
        compressed_bytes: bytes.len() as u64,
        bytes,
    }
}
