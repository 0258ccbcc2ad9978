//! Opening a list: decompression, rewriting, and a look at its first bytes.

use crate::aws::config::Aws;
use crate::base::error::Result;
#[cfg(feature = "rds")]
use crate::base::hash::Case;
use crate::list::detect;
use crate::list::format::kind::Form;
use crate::list::identity::Identity;
use crate::list::opened::{Opened, Text, plain};
#[cfg(feature = "rds")]
use crate::list::rds::local_copy;
#[cfg(feature = "rds")]
use crate::list::rds::text::{Database, Lying};
use crate::list::rewriting::Rewriting;
use crate::list::zip_members::members;
use crate::source::decompress::codec::{Codec, Compression, Seen, Unpack};
use crate::source::decompress::thread::Unpacking;
use crate::source::decompress::zip;
use crate::source::location::Location;
use crate::source::open::Source;
use bytes::BytesMut;
use std::collections::VecDeque;

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
        let mut identity = Identity::from(source.version());
        let peeked = match &packed {
            None => std::mem::take(&mut first).into_iter().map(plain).collect(),
            Some(packed) => {
                if packed.codec == Codec::Zip
                    && let Some(members) = members(location, aws, &identity.object).await?
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
    pub(super) async fn look(
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
            if crate::list::rds::header::is_database(&head) == Some(true) {
                return self.read_database(head, aws, unpack).await;
            }
            if !head.is_empty() && !self.beginning.decides() {
                self.beginning = detect::look_at(&name, codec, &head, false, form)?;
            }
            // A pipe that has brought one line and then waits has shown enough.
            let is_enough = self.beginning.decides() && !self.identity.object.is_known();
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
    pub(super) async fn read_database(
        &mut self,
        mut head: BytesMut,
        aws: &Aws,
        unpack: &Unpack,
    ) -> Result<()> {
        self.identity.database = true;
        let lying = match &self.location {
            // Only a file, which can be opened again, has that time.
            Location::File(path)
                if self.identity.packed.is_none() && self.identity.object.modified.is_some() =>
            {
                Lying::There(path.clone())
            }
            _ => {
                while head.len() < crate::list::rds::header::HEADER_BYTES && !self.ended {
                    match self.pull().await? {
                        Some(chunk) => {
                            head.extend_from_slice(&chunk.bytes);
                            self.peeked.push_back(chunk);
                        }
                        None => self.ended = true,
                    }
                }
                let lies_there = match self.identity.packed {
                    None => self.identity.object.bytes,
                    Some(_) => None,
                };
                let length =
                    lies_there.or_else(|| crate::list::rds::header::length_by_header(&head));
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
            let rest =
                Source::open_again(&self.location, aws, &self.identity.object, part.have()).await?;
            self.text = Text::Plain(Box::new(rest));
            part.pass();
        }
        while let Some(chunk) = self.next().await? {
            part.take(&chunk.bytes).await?;
        }
        part.finish().await
    }
}
