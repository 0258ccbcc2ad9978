//! Prefetch: opens small objects while earlier ones are read, so that their round trips
//! overlap.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::list::format::kind::ListOptions;
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::listing::Object;
use std::collections::VecDeque;
use tokio::task::JoinHandle;

/// Maximum number of objects that are opened ahead.
const MAX_OBJECTS_AHEAD: usize = 8;

/// Maximum size of an object that is opened ahead, in bytes: the connection of a larger one
/// could stay idle until its turn.
const MAX_OBJECT_BYTES: u64 = 1024 * 1024;

/// Maximum number of lists without rows at the start that are opened to find one with rows.
const MAX_EMPTY_LISTS: usize = 1000;

/// The remaining lists of a run, some of them already open.
#[derive(Debug)]
pub struct Prefetch {
    objects: Objects,
    aws: Aws,
    unpack: DecompressOptions,
    options: ListOptions,
    /// Lists that were opened to find the first one with rows, and whether that was done.
    opened_early: VecDeque<Result<OpenList>>,
    has_begun: bool,
    opening: VecDeque<Opening>,
    /// A large object, which is opened when its turn comes.
    large_object: Option<Object>,
    ended: bool,
    /// The error to return after the lists that are being opened.
    pending_error: Option<Error>,
}

/// A list that is being opened.
#[derive(Debug)]
struct Opening {
    task: JoinHandle<Result<OpenList>>,
    /// Size of the object in the listing, in bytes.
    bytes: u64,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prefetch {
    /// A prefetch of the remaining `objects`.
    pub fn new(
        objects: Objects,
        aws: &Aws,
        unpack: &DecompressOptions,
        options: &ListOptions,
    ) -> Prefetch {
        Prefetch {
            objects,
            aws: aws.clone(),
            unpack: unpack.clone(),
            options: options.clone(),
            opened_early: VecDeque::new(),
            has_begun: false,
            opening: VecDeque::new(),
            large_object: None,
            ended: false,
            pending_error: None,
        }
    }

    /// Returns the total size of the remaining objects, in bytes. `None` if not known yet.
    pub fn remaining_bytes(&self) -> Option<u64> {
        let opening: u64 = self.opening.iter().map(|o| o.bytes).sum();
        let front = self.opened_early.iter().flatten().map(OpenList::length);
        let front = front.sum::<Option<u64>>()?;
        let large = self.large_object.as_ref().map_or(Some(0), Object::bytes)?;
        Some(front + opening + large + self.objects.remaining_bytes()?)
    }

    /// Opens and returns the next list. `None` at the end. If the first list has no rows, it
    /// adopts the detected properties of the first list with rows.
    ///
    /// # Errors
    /// If the next object cannot be determined or opened.
    pub async fn next(&mut self) -> Result<Option<OpenList>> {
        if let Some(opened) = self.opened_early.pop_front() {
            return opened.map(Some);
        }
        let mut next = self.open_next().await?;
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some(first) = next.as_mut().filter(|first| first.layout().is_empty)
        {
            self.detect_from_following(first).await;
        }
        Ok(next)
    }

    /// Opens lists until one has rows, and passes its detected properties to `first`.
    async fn detect_from_following(&mut self, first: &mut OpenList) {
        while self.opened_early.len() < MAX_EMPTY_LISTS
            && let Some(opened) = self.open_next().await.transpose()
        {
            let ends = !opened.as_ref().is_ok_and(|opened| opened.layout().is_empty);
            if let (true, Ok(opened)) = (ends, &opened) {
                first.adopt_detected(opened);
            }
            self.opened_early.push_back(opened);
            if ends {
                return;
            }
        }
    }

    async fn open_next(&mut self) -> Result<Option<OpenList>> {
        self.fill().await;
        if let Some(opening) = self.opening.front_mut() {
            let opened = (&mut opening.task).await;
            self.opening.pop_front();
            return match opened {
                Ok(opened) => opened.map(Some),
                Err(e) => Err(Error::new(
                    ErrorKind::Internal,
                    "opening a source failed unexpectedly; this is a fault of hashferry",
                )
                .with_source(e)),
            };
        }
        if let Some(large) = self.large_object.take() {
            return OpenList::open(&large.location, &self.aws, &self.unpack, &self.options)
                .await
                .map(Some);
        }
        self.pending_error.take().map_or(Ok(None), Err)
    }

    /// Returns the options for decompression.
    pub fn unpack(&self) -> &DecompressOptions {
        &self.unpack
    }

    /// Returns the list options.
    pub fn options(&self) -> &ListOptions {
        &self.options
    }

    /// Starts to open the next objects, within the limits.
    async fn fill(&mut self) {
        while self.opening.len() < MAX_OBJECTS_AHEAD
            && self.large_object.is_none()
            && self.pending_error.is_none()
            && !self.ended
        {
            match self.objects.next().await {
                Ok(Some(object)) if let Some(bytes) = small_object_bytes(&object) => {
                    let (aws, unpack) = (self.aws.clone(), self.unpack.clone());
                    let options = self.options.clone();
                    let task = tokio::spawn(async move {
                        OpenList::open(&object.location, &aws, &unpack, &options).await
                    });
                    self.opening.push_back(Opening { task, bytes });
                }
                Ok(Some(object)) => self.large_object = Some(object),
                Ok(None) => self.ended = true,
                Err(e) => self.pending_error = Some(e),
            }
        }
    }
}

/// Returns the size of an object that may be opened ahead. `None` if it is large or unknown.
fn small_object_bytes(object: &Object) -> Option<u64> {
    object.bytes().filter(|bytes| *bytes <= MAX_OBJECT_BYTES)
}
