//! Opening ahead: small objects are opened while the ones before them are read, so
//! that a thousand of them are not a thousand round trips one after another.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::list::format::kind::Form;
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::source::decompress::codec::Unpack;
use crate::source::listing::Object;
use std::collections::VecDeque;
use tokio::task::JoinHandle;

/// Objects that are opened ahead at most.
const OBJECTS_AHEAD: usize = 8;

/// The largest object that is opened ahead, in bytes: its connection must not lie idle
/// while a large one is read.
const MOST_BYTES_AHEAD: u64 = 1024 * 1024;

/// Objects without rows at the beginning that are passed over to see what the lists are.
const MOST_EMPTY: usize = 1000;

/// The sources that are still to be read.
#[derive(Debug)]
pub struct Ahead {
    objects: Objects,
    aws: Aws,
    unpack: Unpack,
    form: Form,
    /// Those that were opened to see what the lists are, and whether that was done.
    front: VecDeque<Result<Opened>>,
    begun: bool,
    opening: VecDeque<Opening>,
    /// One that is too large, and is opened when it is its turn.
    large: Option<Object>,
    ended: bool,
    /// What went wrong about the one that comes after those that are being opened.
    failed: Option<Error>,
}

/// One that is being opened.
#[derive(Debug)]
struct Opening {
    task: JoinHandle<Result<Opened>>,
    /// Its length in bytes, as it is listed.
    bytes: u64,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ahead {
    /// Those of `objects` that were not taken yet.
    pub fn new(objects: Objects, aws: &Aws, unpack: &Unpack, form: &Form) -> Ahead {
        Ahead {
            objects,
            aws: aws.clone(),
            unpack: unpack.clone(),
            form: form.clone(),
            front: VecDeque::new(),
            begun: false,
            opening: VecDeque::new(),
            large: None,
            ended: false,
            failed: None,
        }
    }

    /// Bytes of the sources that are still to come, where that is known already.
    pub fn bytes_to_come(&self) -> Option<u64> {
        let opening: u64 = self.opening.iter().map(|o| o.bytes).sum();
        let front = self.front.iter().flatten().map(Opened::length);
        let front = front.sum::<Option<u64>>()?;
        let large = self.large.as_ref().map_or(Some(0), Object::bytes)?;
        Some(front + opening + large + self.objects.bytes_to_come()?)
    }

    /// The next source, opened; nothing at the end. Where the first one has no rows, what
    /// it shows of the lists is what the first one with rows does.
    ///
    /// # Errors
    /// When it cannot be found out which one that is, or when it cannot be opened.
    pub async fn next(&mut self) -> Result<Option<Opened>> {
        if let Some(opened) = self.front.pop_front() {
            return opened.map(Some);
        }
        let mut next = self.open_next().await?;
        if !std::mem::replace(&mut self.begun, true)
            && let Some(first) = next.as_mut().filter(|first| first.layout().empty)
        {
            self.show(first).await;
        }
        Ok(next)
    }

    /// Shows `first`, which has no rows, the first source that has some.
    async fn show(&mut self, first: &mut Opened) {
        while self.front.len() < MOST_EMPTY
            && let Some(opened) = self.open_next().await.transpose()
        {
            let ends = !opened.as_ref().is_ok_and(|opened| opened.layout().empty);
            if let (true, Ok(opened)) = (ends, &opened) {
                first.follow(opened);
            }
            self.front.push_back(opened);
            if ends {
                return;
            }
        }
    }

    async fn open_next(&mut self) -> Result<Option<Opened>> {
        self.fill().await;
        if let Some(opening) = self.opening.front_mut() {
            let opened = (&mut opening.task).await;
            self.opening.pop_front();
            return match opened {
                Ok(opened) => opened.map(Some),
                Err(e) => Err(Error::new(
                    ErrorKind::Internal,
                    "the opening of a source broke down; this is a fault of hashferry",
                )
                .because(e)),
            };
        }
        if let Some(large) = self.large.take() {
            return Opened::open(&large.location, &self.aws, &self.unpack, &self.form)
                .await
                .map(Some);
        }
        self.failed.take().map_or(Ok(None), Err)
    }

    /// How the sources are compressed.
    pub fn unpack(&self) -> &Unpack {
        &self.unpack
    }

    /// How they are read.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Begins to open what comes next, as far as that may be.
    async fn fill(&mut self) {
        while self.opening.len() < OBJECTS_AHEAD
            && self.large.is_none()
            && self.failed.is_none()
            && !self.ended
        {
            match self.objects.next().await {
                Ok(Some(object)) if let Some(bytes) = small(&object) => {
                    let (aws, unpack) = (self.aws.clone(), self.unpack.clone());
                    let form = self.form.clone();
                    let task = tokio::spawn(async move {
                        Opened::open(&object.location, &aws, &unpack, &form).await
                    });
                    self.opening.push_back(Opening { task, bytes });
                }
                Ok(Some(object)) => self.large = Some(object),
                Ok(None) => self.ended = true,
                Err(e) => self.failed = Some(e),
            }
        }
    }
}

/// The length of an object that may be opened ahead.
fn small(object: &Object) -> Option<u64> {
    object.bytes().filter(|bytes| *bytes <= MOST_BYTES_AHEAD)
}
