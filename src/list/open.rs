//! A source that is open: its text from the beginning on, and what that shows.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
#[cfg(feature = "rds")]
use crate::base::hash::Case;
use crate::base::hash::{Algorithm, Hash};
use crate::base::printable;
use crate::commands::item_options::RELEASE_ATTRIBUTES;
use crate::dynamodb::attribute::Attribute;
#[cfg(feature = "rds")]
use crate::dynamodb::attribute::Value;
use crate::list::detect;
use crate::list::format::layout::Layout;
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser;
use crate::list::format::row_parser::{Form, Format, RowParser};
use crate::list::identity::Identity;
use crate::list::lines::{Framer, Line};
#[cfg(feature = "rds")]
use crate::list::rds::local_copy;
#[cfg(feature = "rds")]
use crate::list::rds::text::{Database, Lying};
use crate::list::rewriting::Rewriting;
use crate::source::decompress::codec::{Codec, Compression, Seen, Unpack};
use crate::source::decompress::output::Chunk;
use crate::source::decompress::thread::Unpacking;
use crate::source::decompress::zip;
use crate::source::location::Location;
use crate::source::open::Source;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// An opened source whose first bytes have been looked at.
#[derive(Debug)]
pub struct Opened {
    pub(super) location: Location,
    pub(super) identity: Identity,
    text: Text,
    pub(super) rewriting: Rewriting,
    /// The chunks that were looked at, to be read again.
    pub(super) peeked: VecDeque<Chunk>,
    pub(super) ended: bool,
    /// Bytes of it that are behind, as they lie there, when reading begins.
    behind: u64,
    /// What they show.
    pub beginning: detect::Beginning,
    /// The first list with rows, where this one comes before it and has none: its name and
    /// form.
    follows: Option<(String, Layout)>,
    /// The failure that comes behind the part that was looked at.
    failed: Option<Error>,
}

/// Where the text comes from.
#[derive(Debug)]
enum Text {
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
            identity: source.identity(),
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
    /// Opens `location`, which is compressed as `unpack` tells or its first bytes
    /// show, and looks at the beginning of its text, which is to be read as `form` says.
    ///
    /// # Errors
    /// As [`Source::open`], when it is no text, and when it cannot be decompressed.
    pub async fn open(
        location: &Location,
        aws: &Aws,
        unpack: &Unpack,
        form: &Form,
    ) -> Result<Opened> {
        let (mut opened, head) = Opened::unlooked(location, aws, unpack).await?;
        opened.look(head, aws, unpack, form).await?;
        Ok(opened)
    }

    /// The same for text that is no list of hashes: its beginning is not looked at.
    ///
    /// # Errors
    /// As [`Source::open`], and when it cannot be decompressed.
    pub async fn open_text(location: &Location, aws: &Aws, unpack: &Unpack) -> Result<Opened> {
        let (opened, _) = Opened::unlooked(location, aws, unpack).await?;
        Ok(opened)
    }

    /// Opens `location`, and begins to decompress it; what of its text is peeked, too.
    async fn unlooked(
        location: &Location,
        aws: &Aws,
        unpack: &Unpack,
    ) -> Result<(Opened, BytesMut)> {
        let mut source = Source::open(location, aws).await?;
        let name = location.to_string();
        let mut first = VecDeque::new();
        let mut ended = false;
        let mut head = BytesMut::new();
        if unpack.compression == Compression::Auto {
            while Codec::seen(&head) == Seen::TooFew && head.len() < detect::PEEK_BYTES && !ended {
                match source.next().await? {
                    Some(chunk) => {
                        let room = detect::PEEK_BYTES - head.len();
                        head.extend_from_slice(&chunk[..chunk.len().min(room)]);
                        first.push_back(chunk);
                    }
                    None => ended = true,
                }
            }
        }
        let packed = unpack.packed(&name, Codec::shown(&head))?;
        let mut identity = source.identity();
        let peeked = match &packed {
            None => std::mem::take(&mut first).into_iter().map(plain).collect(),
            Some(packed) => {
                if packed.codec == Codec::Zip
                    && let Some(members) = members(location, aws, &identity).await?
                {
                    zip::choose(&name, packed.member.as_deref(), &members)?;
                }
                head.clear();
                VecDeque::new()
            }
        };
        identity.packed = packed.clone();
        let mut opened = Opened {
            location: location.clone(),
            identity,
            text: match packed {
                None => Text::Plain(Box::new(source)),
                Some(packed) => Text::Packed(Unpacking::start(name, packed, first, ended, source)),
            },
            rewriting: Rewriting::default(),
            peeked,
            ended: false,
            behind: 0,
            beginning: detect::Beginning::default(),
            follows: None,
            failed: None,
        };
        // Of a packed source, that its compressed bytes have ended says nothing.
        opened.ended = ended && !opened.is_packed();
        Ok((opened, head))
    }

    /// Looks at the beginning of the text, of which `head` is peeked already.
    async fn look(
        &mut self,
        mut head: BytesMut,
        aws: &Aws,
        unpack: &Unpack,
        form: &Form,
    ) -> Result<()> {
        // Without that feature it is refused further down.
        #[cfg(not(feature = "rds"))]
        let _ = (aws, unpack);
        head = self.rewrite(head, form).await?;
        let name = self.location.to_string();
        let codec = self.identity.packed.as_ref().map(|p| p.codec);
        let mut bytes: usize = self.peeked.iter().map(|c| c.bytes.len()).sum();
        loop {
            #[cfg(feature = "rds")]
            if crate::list::rds::database::is_database(&head) == Some(true) {
                return self.read_database(head, aws, unpack).await;
            }
            if !head.is_empty() && !self.beginning.decides() {
                self.beginning = detect::look_at(&name, codec, &head, false, form)?;
            }
            // A pipe that has brought one line and then waits has shown enough.
            let is_enough = self.beginning.decides() && !self.identity.is_known();
            if self.ended || bytes >= detect::PEEK_BYTES || is_enough {
                break;
            }
            let pulled = match self.pull().await {
                // What came before it is read first.
                Err(e) if self.beginning.decides() => {
                    self.failed = Some(e);
                    break;
                }
                pulled => pulled?,
            };
            match pulled {
                Some(chunk) => {
                    bytes += chunk.bytes.len();
                    let room = detect::PEEK_BYTES.saturating_sub(head.len());
                    head.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
                    self.peeked.push_back(chunk);
                }
                None => self.ended = true,
            }
        }
        let whole = self.ended && bytes <= detect::PEEK_BYTES;
        // What more of it shows of other algorithms counts, too.
        self.beginning = detect::look_at(&name, codec, &head, whole, form)?;
        self.identity.layout = Some(self.beginning.layout.clone());
        if self.ended && bytes == 0 {
            tracing::warn!("{name} is empty: there is nothing to write; is it the list you meant?");
        }
        Ok(())
    }

    /// Has the text come from the database that this source turned out to be, of which
    /// `head` is peeked: from where it lies, or from a copy.
    #[cfg(feature = "rds")]
    async fn read_database(
        &mut self,
        mut head: BytesMut,
        aws: &Aws,
        unpack: &Unpack,
    ) -> Result<()> {
        self.identity.database = true;
        let lying = match &self.location {
            // Only a file, which can be opened again, has that time.
            Location::File(path)
                if self.identity.packed.is_none() && self.identity.modified.is_some() =>
            {
                Lying::There(path.clone())
            }
            _ => {
                while head.len() < crate::list::rds::database::HEADER_BYTES && !self.ended {
                    match self.pull().await? {
                        Some(chunk) => {
                            head.extend_from_slice(&chunk.bytes);
                            self.peeked.push_back(chunk);
                        }
                        None => self.ended = true,
                    }
                }
                let lies_there = match self.identity.packed {
                    None => self.identity.bytes,
                    Some(_) => None,
                };
                let length =
                    lies_there.or_else(|| crate::list::rds::database::length_by_header(&head));
                Lying::Copied(self.copy(length, aws, unpack).await?)
            }
        };
        let database = Database::open(self.identity.clone(), lying, unpack.work.clone())?;
        self.beginning = detect::Beginning {
            algorithm: database.schema().usual(),
            case: Some(Case::Upper),
            ..detect::Beginning::default()
        };
        self.text = Text::Database(Box::new(database));
        self.peeked.clear();
        self.ended = false;
        Ok(())
    }

    /// Copies what is to come, which is `length` bytes long, where that is known.
    #[cfg(feature = "rds")]
    async fn copy(
        &mut self,
        length: Option<u64>,
        aws: &Aws,
        unpack: &Unpack,
    ) -> Result<std::sync::Arc<crate::source::work_dir::Copy>> {
        let mut part = match local_copy::begin(&self.identity, &unpack.work, length)? {
            local_copy::Begun::Whole(copy) => return Ok(copy),
            local_copy::Begun::Part(part) => part,
        };
        let is_plain = self.identity.packed.is_none();
        while let Some(chunk) = self.peeked.pop_front() {
            part.take(&chunk.bytes).await?;
        }
        // What is compressed has no middle to begin in.
        if part.is_behind() && is_plain && matches!(self.location, Location::S3 { .. }) {
            let rest = Source::open_again(&self.location, aws, &self.identity, part.have()).await?;
            self.text = Text::Plain(Box::new(rest));
            part.pass();
        }
        while let Some(chunk) = self.next().await? {
            part.take(&chunk.bytes).await?;
        }
        part.finish().await
    }

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

    /// A source that goes on where an earlier run, which read hashes of `algorithm`,
    /// left it, at byte `from` of its text: there is nothing to look at. It `was` the
    /// same then; `source` stands at that byte, or at its beginning when it is
    /// [packed](Self::is_packed).
    ///
    /// # Errors
    /// When it cannot be read or decompressed up to there.
    pub async fn again(
        source: Source,
        was: &Identity,
        algorithm: Algorithm,
        from: u64,
        aws: &Aws,
        unpack: &Unpack,
    ) -> Result<Opened> {
        let location = source.location().clone();
        let packed = was.packed.clone();
        let identity = Identity {
            packed: packed.clone(),
            layout: was.layout.clone(),
            database: was.database,
            writing: was.writing,
            document: was.document.clone(),
            ..source.identity()
        };
        let text = match packed {
            None => Text::Plain(Box::new(source)),
            Some(packed) => {
                let name = location.to_string();
                Text::Packed(Unpacking::start(
                    name,
                    packed,
                    VecDeque::new(),
                    false,
                    source,
                ))
            }
        };
        let mut opened = Opened {
            location,
            identity,
            text,
            rewriting: Rewriting::again(was),
            peeked: VecDeque::new(),
            ended: false,
            behind: from,
            beginning: detect::Beginning {
                layout: was.layout.clone().unwrap_or_default(),
                ..detect::Beginning::default()
            },
            follows: None,
            failed: None,
        };
        #[cfg(feature = "rds")]
        if was.database {
            opened.behind = 0;
            opened.read_database(BytesMut::new(), aws, unpack).await?;
        }
        #[cfg(not(feature = "rds"))]
        if was.database {
            // The same beginning is refused for the same reason.
            opened
                .look(BytesMut::new(), aws, unpack, &Form::default())
                .await?;
        }
        opened.begin(algorithm)?;
        if opened.is_packed() {
            opened.pass(from).await?;
        }
        Ok(opened)
    }

    /// Reads or decompresses up to byte `from` of the text, and no further.
    async fn pass(&mut self, from: u64) -> Result<()> {
        if from > 0 {
            let is = match (self.identity.database, &self.identity.packed) {
                (true, _) => "a database",
                (false, Some(_)) => "compressed",
                (false, None) => "rewritten as it is read",
            };
            tracing::info!(
                "{} is {is}: reading again up to byte {from} of its text, nothing is written twice",
                self.location
            );
        }
        self.behind = 0;
        let mut left = from;
        while left > 0 {
            let Some(mut chunk) = self.pull().await? else {
                return Err(Error::new(
                    ErrorKind::Read,
                    format!(
                        "{} has {} bytes of text, and an earlier run had read {from}",
                        self.location,
                        from - left
                    ),
                )
                .hint("begin again with --restart"));
            };
            let length = chunk.bytes.len() as u64;
            match usize::try_from(left) {
                Ok(part) if left < length => {
                    let share = u128::from(chunk.lying) * u128::from(left) / u128::from(length);
                    let share = u64::try_from(share).unwrap_or(chunk.lying);
                    self.behind += share;
                    chunk.lying -= share;
                    chunk.bytes = chunk.bytes.slice(part..);
                    self.peeked.push_back(chunk);
                    left = 0;
                }
                _ => {
                    self.behind += chunk.lying;
                    left -= length;
                }
            }
        }
        Ok(())
    }

    /// By what it can be recognised later.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Its length in bytes as it lies there, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.identity.bytes
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
    /// [`ErrorKind::Usage`] when the list, or the one that it follows, is
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
            let release = RELEASE_ATTRIBUTES.map(|(name, _)| name).join(", ");
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
    fn shown(&self) -> (String, &Layout) {
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
        said.extend(row_parser::said(self.layout(), form, algorithm));
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

    /// The algorithm of the list: as `told`, as the table's partition key is
    /// named (`key`), or as the first hash shows.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when nothing says it.
    pub fn algorithm(&self, told: Option<Algorithm>, key: Option<&str>) -> Result<Algorithm> {
        let algorithm = self.named_or_seen(told, key)?;
        #[cfg(feature = "rds")]
        if let Text::Database(database) = &self.text {
            database.schema().column(&self.name(), algorithm)?;
        }
        Ok(algorithm)
    }

    fn named_or_seen(&self, told: Option<Algorithm>, key: Option<&str>) -> Result<Algorithm> {
        let of_key = key.and_then(|key| Some((key, Algorithm::from_name(key)?)));
        if let Some(told) = told {
            if let Some((key, named)) = of_key.filter(|(_, named)| *named != told) {
                tracing::warn!(
                    "the partition key is named {key}, which is {named}; taking the list for {told} as told"
                );
            }
            return Ok(told);
        }
        if let Some((_, named)) = of_key {
            return Ok(named);
        }
        if self.layout().format == Format::Paths {
            return Ok(Algorithm::Sha256);
        }
        if let Some(seen) = self.beginning.algorithm {
            if self.identity.database {
                tracing::info!("reading the column {seen} (--hash names another)");
                return Ok(seen);
            }
            tracing::info!(
                "taking the list for {seen}, by {} (--hash says otherwise)",
                match self.shown().1.columns.is_empty() {
                    true => "the length of its first hash",
                    false => "the names of its columns",
                }
            );
            return Ok(seen);
        }
        let (name, layout) = self.shown();
        let is_empty = self.ended && self.peeked.iter().all(|c| c.bytes.is_empty());
        if is_empty && self.follows.is_none() {
            return Ok(Algorithm::Sha256);
        }
        if !self.beginning.several.is_empty() {
            let each = self.beginning.several.iter();
            let columns: Vec<String> = each.map(|(a, column)| format!("{a} ({column})")).collect();
            return Err(Error::usage(format!(
                "{name} has hashes of several algorithms, by their columns: {}",
                printable::names(&columns)
            ))
            .hint("name one by --hash, such as --hash sha256, or a column by --column"));
        }
        let columns = &layout.columns;
        if !columns.is_empty() {
            return Err(Error::usage(format!(
                "no column of {name} is named as one of hashes; there are {}",
                columns.join(", ")
            ))
            .hint(
                "name the column by --column NAME or its number, or a field of JSON by --field, and the \
                 algorithm by --hash",
            ));
        }
        let first = match &self.beginning.first_line {
            Some(line) => format!("its first line is {line}"),
            None => "it has nothing but blank lines and comments there".to_owned(),
        };
        Err(Error::usage(format!(
            "the first {} KiB of {name} show no hash: {first}",
            detect::PEEK_BYTES / 1024,
        ))
        .hint("name the algorithm by --hash, such as --hash sha256"))
    }

    /// The attributes that name the release of the NSRL that it is.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is none of its databases, or does not say it.
    pub fn release(&self) -> Result<Vec<Attribute>> {
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
            let attributes = RELEASE_ATTRIBUTES.iter().zip(values);
            let attribute = |((name, _), value): (&(&str, &str), &String)| Attribute {
                name: (*name).to_owned(),
                value: Value::S(value.clone()),
            };
            return Ok(attributes.map(attribute).collect());
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
fn plain(bytes: Bytes) -> Chunk {
    Chunk {
        lying: bytes.len() as u64,
        bytes,
    }
}

/// The members of the ZIP archive at `location`, by its table of contents; nothing
/// where that cannot be read out of turn, or is none: then the archive itself shows
/// them as it is read.
async fn members(
    location: &Location,
    aws: &Aws,
    identity: &Identity,
) -> Result<Option<Vec<String>>> {
    let Some(length) = identity.bytes.filter(|_| identity.is_known()) else {
        return Ok(None);
    };
    let from = length.saturating_sub(zip::TAIL_BYTES);
    let tail = part(location, aws, identity, from, length - from).await?;
    let mut place = zip::place(&tail);
    if let Some(zip::Place::EndRecord64(at)) = place {
        let record = match at < length {
            true => part(location, aws, identity, at, 56).await?,
            false => Vec::new(),
        };
        place = zip::place_64(&record);
    }
    let Some(zip::Place::At(at, size)) = place else {
        return Ok(None);
    };
    if size > zip::MAX_DIRECTORY_BYTES || at.checked_add(size).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let directory = match usize::try_from(at.wrapping_sub(from)) {
        // It mostly is in the tail.
        Ok(start) if at >= from && size <= length - at => {
            tail.get(start..start + size as usize).map(<[u8]>::to_vec)
        }
        _ => Some(part(location, aws, identity, at, size).await?),
    };
    Ok(directory.and_then(|d| zip::names(&d)))
}

/// `length` bytes of the source from `from` on; fewer when it ends before.
async fn part(
    location: &Location,
    aws: &Aws,
    identity: &Identity,
    from: u64,
    length: u64,
) -> Result<Vec<u8>> {
    let mut source = Source::open_again(location, aws, identity, from).await?;
    let mut bytes = Vec::new();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    while bytes.len() < length
        && let Some(chunk) = source.next().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(length);
    Ok(bytes)
}
