//! Opens a list: decompression, conversion to lines, detection by the first bytes.

use crate::aws::config::Aws;
use crate::base::error::Result;
#[cfg(feature = "rds")]
use crate::base::hash::Case;
use crate::list::detect;
use crate::list::format::kind::ListOptions;
use crate::list::identity::Identity;
use crate::list::open_list::{OpenList, Text, plain_chunk};
#[cfg(feature = "rds")]
use crate::list::rds::local_copy;
#[cfg(feature = "rds")]
use crate::list::rds::text::{Database, DatabaseFile};
use crate::list::rewrite_stage::RewriteStage;
use crate::list::zip_members::members;
use crate::source::decompress::codec::{Codec, Compression, DecompressOptions, Detected};
use crate::source::decompress::thread::DecompressThread;
use crate::source::decompress::zip;
use crate::source::location::Location;
use crate::source::open::OpenSource;
use bytes::BytesMut;
use std::collections::VecDeque;

impl OpenList {
    /// Opens `location` and detects its format. `unpack` holds the options for decompression,
    /// `options` those for the list.
    ///
    /// # Errors
    /// Same as [`OpenSource::open`]; also if it is not a list or cannot be decompressed.
    pub async fn open(
        location: &Location,
        aws: &Aws,
        unpack: &DecompressOptions,
        options: &ListOptions,
    ) -> Result<OpenList> {
        let (mut opened, head) = OpenList::open_undetected(location, aws, unpack).await?;
        opened.detect(head, aws, unpack, options).await?;
        Ok(opened)
    }

    /// Opens `location` as text, without detection of a format.
    ///
    /// # Errors
    /// Same as [`OpenSource::open`]; also if it cannot be decompressed.
    pub async fn open_text(
        location: &Location,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<OpenList> {
        let (opened, _) = OpenList::open_undetected(location, aws, unpack).await?;
        Ok(opened)
    }

    /// Opens `location` and starts to decompress it. Also returns the peeked first bytes of its
    /// text, which may be empty.
    async fn open_undetected(
        location: &Location,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<(OpenList, BytesMut)> {
        let mut source = OpenSource::open(location, aws).await?;
        let name = location.to_string();
        let mut first = VecDeque::new();
        let mut ended = false;
        let mut head = BytesMut::new();
        if unpack.compression == Compression::Auto {
            while Codec::detect(&head) == Detected::TooFew
                && head.len() < detect::PEEK_BYTES
                && !ended
            {
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
        let packed = unpack.compression_for(&name, Codec::detect_at_end(&head))?;
        let mut identity = Identity::from(source.version());
        let peeked = match &packed {
            None => std::mem::take(&mut first)
                .into_iter()
                .map(plain_chunk)
                .collect(),
            Some(packed) => {
                if packed.codec == Codec::Zip
                    && let Some(members) = members(location, aws, &identity.object).await?
                {
                    zip::check_member(&name, packed.member.as_deref(), &members)?;
                }
                head.clear();
                VecDeque::new()
            }
        };
        identity.compression = packed.clone();
        let mut opened = OpenList {
            location: location.clone(),
            identity,
            text: match packed {
                None => Text::Plain(Box::new(source)),
                Some(packed) => {
                    Text::Compressed(DecompressThread::spawn(name, packed, first, ended, source))
                }
            },
            rewrite_stage: RewriteStage::default(),
            peeked,
            ended: false,
            skipped_bytes: 0,
            detected: detect::DetectedList::default(),
            first_with_rows: None,
            pending_error: None,
        };
        // The end of the compressed bytes is not the end of the text.
        opened.ended = ended && !opened.is_derived();
        Ok((opened, head))
    }

    /// Detects the format by the first bytes of the text; `head` holds those already peeked.
    pub(super) async fn detect(
        &mut self,
        mut head: BytesMut,
        aws: &Aws,
        unpack: &DecompressOptions,
        options: &ListOptions,
    ) -> Result<()> {
        // Without this feature `detect` returns an error for a database.
        #[cfg(not(feature = "rds"))]
        let _ = (aws, unpack);
        head = self.rewrite(head, options).await?;
        let name = self.location.to_string();
        let codec = self.identity.compression.as_ref().map(|p| p.codec);
        let mut bytes: usize = self.peeked.iter().map(|c| c.bytes.len()).sum();
        loop {
            #[cfg(feature = "rds")]
            if crate::list::rds::header::is_database(&head) == Some(true) {
                return self.switch_to_database(head, aws, unpack).await;
            }
            if !head.is_empty() && !self.detected.is_decisive() {
                self.detected = detect::inspect(&name, codec, &head, false, options)?;
            }
            // Do not wait for more bytes of a pipe once the first ones decide.
            let is_enough = self.detected.is_decisive() && !self.identity.object.is_comparable();
            if self.ended || bytes >= detect::PEEK_BYTES || is_enough {
                break;
            }
            let pulled = match self.read_chunk().await {
                // Report the error after the bytes before it.
                Err(e) if self.detected.is_decisive() => {
                    self.pending_error = Some(e);
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
        // All peeked bytes count: later lines may show other algorithms.
        self.detected = detect::inspect(&name, codec, &head, whole, options)?;
        self.identity.layout = Some(self.detected.layout.clone());
        if self.ended && bytes == 0 {
            tracing::warn!(
                "{name} is empty, so there is nothing to write: check that it is the right list"
            );
        }
        Ok(())
    }

    /// Replaces the text by the hashes in the database that this source holds. Reads the file
    /// itself or a local copy. `head` holds the first bytes of the source.
    #[cfg(feature = "rds")]
    pub(super) async fn switch_to_database(
        &mut self,
        mut head: BytesMut,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<()> {
        self.identity.is_database = true;
        let compressed_bytes = match &self.location {
            // Only a regular file has a modification time; SQLite can open it in place.
            Location::File(path)
                if self.identity.compression.is_none()
                    && self.identity.object.modified.is_some() =>
            {
                DatabaseFile::InPlace(path.clone())
            }
            _ => {
                while head.len() < crate::list::rds::header::HEADER_BYTES && !self.ended {
                    match self.read_chunk().await? {
                        Some(chunk) => {
                            head.extend_from_slice(&chunk.bytes);
                            self.peeked.push_back(chunk);
                        }
                        None => self.ended = true,
                    }
                }
                let object_bytes = match self.identity.compression {
                    None => self.identity.object.bytes,
                    Some(_) => None,
                };
                let length =
                    object_bytes.or_else(|| crate::list::rds::header::length_by_header(&head));
                DatabaseFile::Copy(self.copy_locally(length, aws, unpack).await?)
            }
        };
        let database = Database::open(
            self.identity.clone(),
            compressed_bytes,
            unpack.work_dir.clone(),
        )?;
        self.detected = detect::DetectedList {
            algorithm: database.schema().default_algorithm(),
            case: Some(Case::Upper),
            ..detect::DetectedList::default()
        };
        self.text = Text::Database(Box::new(database));
        self.peeked.clear();
        self.ended = false;
        Ok(())
    }

    /// Copies the source to a local file. `length` is its size in bytes; `None` if unknown.
    #[cfg(feature = "rds")]
    async fn copy_locally(
        &mut self,
        length: Option<u64>,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<std::sync::Arc<crate::source::work_dir::LocalCopy>> {
        let mut part = match local_copy::begin(&self.identity, &unpack.work_dir, length)? {
            local_copy::CopyState::Complete(copy) => return Ok(copy),
            local_copy::CopyState::Partial(part) => part,
        };
        let is_plain = self.identity.compression.is_none();
        while let Some(chunk) = self.peeked.pop_front() {
            part.append(&chunk.bytes).await?;
        }
        // A compressed source cannot be read from the middle.
        if part.is_ahead_of_source() && is_plain && matches!(self.location, Location::S3 { .. }) {
            let rest = OpenSource::reopen(
                &self.location,
                aws,
                &self.identity.object,
                part.stored_bytes(),
            )
            .await?;
            self.text = Text::Plain(Box::new(rest));
            part.skip_stored();
        }
        while let Some(chunk) = self.next().await? {
            part.append(&chunk.bytes).await?;
        }
        part.finish().await
    }
}
