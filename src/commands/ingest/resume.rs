//! Resuming an earlier run by its checkpoint: the sources must be what they were.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::commands::ingest::checkpointing::Keeping;
use crate::commands::ingest::options::Ingest;
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::prefetch::Ahead;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::checkpoint_place::Place;
use crate::pipeline::progress::sources::next_digest;
use crate::pipeline::reader::Beginning;
use crate::pipeline::rejects::Rejects;
use crate::source::open::Source;

impl Ingest {
    /// Where this run begins: at the first source, or where `checkpoint` says.
    pub(super) async fn start(
        &self,
        opened: Opened,
        ahead: Ahead,
        checkpoint: Option<&Checkpoint>,
        keeping: Option<&Keeping>,
        algorithm: Algorithm,
    ) -> Result<(Option<Beginning>, Ahead)> {
        match (checkpoint, keeping) {
            (Some(checkpoint), Some(_)) if self.is_arranged() => {
                self.all_unchanged(checkpoint).await?;
                Ok((Some(Beginning::of(opened)), ahead))
            }
            (Some(checkpoint), Some(keeping)) => {
                self.take_up(checkpoint, keeping.store.place(), algorithm)
                    .await
            }
            _ => Ok((Some(Beginning::of(opened)), ahead)),
        }
    }

    /// The rejected lines: those of the run that `checkpoint` resumes, or none yet.
    pub(super) fn rejects(&self, checkpoint: Option<&Checkpoint>) -> Result<Rejects> {
        match (checkpoint, &self.with.rejects) {
            (Some(checkpoint), Some(path)) => {
                let mark = checkpoint.mark();
                // Lines that are read again are rejected again.
                let below = |object, line| {
                    !self.is_arranged() && (object, line) <= (mark.source, mark.below.lines)
                };
                Rejects::take_up(path, below)
            }
            (_, path) => Rejects::new(path.as_deref()),
        }
    }

    /// Where to begin by `checkpoint`: the source that the mark is in, opened there,
    /// with the sources that come after it. Nothing when none is left.
    async fn take_up(
        &self,
        checkpoint: &Checkpoint,
        place: &Place,
        algorithm: Algorithm,
    ) -> Result<(Option<Beginning>, Ahead)> {
        let mut objects = Objects::new(&self.sources, &self.aws);
        self.pass(checkpoint, std::slice::from_mut(&mut objects))
            .await?;
        let number = checkpoint.mark().source;
        let Some(last) = &checkpoint.read else {
            let mut ahead = Ahead::new(objects, &self.aws, &self.with.unpack, &self.with.form);
            let next = ahead.next().await?;
            if let Some(opened) = &next {
                tracing::info!(
                    "taking up an earlier run at the beginning of {}: {} lines are in its books \
                     (checkpoint {place}, saved {}; --restart begins again)",
                    opened.name(),
                    checkpoint.books.lines,
                    checkpoint.saved,
                );
            }
            let beginning = next.map(|opened| Beginning {
                number,
                lines: checkpoint.books.lines,
                rejected: checkpoint.books.rejected,
                ..Beginning::of(opened)
            });
            return Ok((beginning, ahead));
        };
        let was = &last.source;
        let Some(object) = objects.next().await? else {
            return Err(gone(&was.object.uri));
        };
        let location = object.location;
        if location.to_string() != was.object.uri {
            return Err(another(&was.object.uri, &location.to_string()));
        }
        let packed = was.packed.as_ref();
        self.with.unpack.agrees(packed).map_err(|what| {
            Error::usage(format!(
                "the checkpoint {place} is of another run: of {location}, {what}"
            ))
            .hint("give the same --compression and --member, or begin again with --restart")
        })?;
        // There is no going into the middle of what is not its text byte by byte.
        let from = if was.is_verbatim() { last.bytes } else { 0 };
        let source = Source::open_again(&location, &self.aws, &was.object, from).await?;
        tracing::info!(
            "taking up an earlier run at line {} (byte {}) of {location}: {} lines are in its books \
             (checkpoint {place}, saved {}; --restart begins again)",
            last.lines + 1,
            last.bytes,
            checkpoint.books.lines,
            checkpoint.saved,
        );
        let beginning = Beginning {
            opened: Opened::again(
                source,
                was,
                algorithm,
                last.bytes,
                &self.aws,
                &self.with.unpack,
            )
            .await?,
            number,
            below: checkpoint.mark().below,
            here: last.books,
            lines: checkpoint.books.lines,
            rejected: checkpoint.books.rejected,
        };
        let ahead = Ahead::new(objects, &self.aws, &self.with.unpack, &self.with.form);
        Ok((Some(beginning), ahead))
    }

    /// Checks that all sources are what they were, of a run that reads them again.
    async fn all_unchanged(&self, checkpoint: &Checkpoint) -> Result<()> {
        if checkpoint.behind.count() == 0 {
            return Ok(());
        }
        let from = Objects::new(&self.from, &self.aws);
        let mut objects = [from, Objects::new(&self.sources, &self.aws)];
        self.pass(checkpoint, &mut objects).await?;
        for rest in &mut objects {
            if let Some(object) = rest.next().await? {
                return Err(another("the end", &object.location.to_string()));
            }
        }
        tracing::info!(
            "taking up an earlier run, after {} of the hashes that are to be written in order (saved {}; \
             --restart begins again): the lists are read again, nothing is written twice",
            checkpoint.sorted.unwrap_or(0),
            checkpoint.saved
        );
        Ok(())
    }

    /// Passes over the sources behind the mark, which must be what they were.
    async fn pass(&self, checkpoint: &Checkpoint, lists: &mut [Objects]) -> Result<()> {
        let mut lists = lists.iter_mut();
        let mut objects = lists.next();
        let behind = &checkpoint.behind;
        let mut digest = String::new();
        let mut last = String::new();
        for n in 0..behind.count() {
            let was = (usize::try_from(n).ok()).and_then(|n| behind.kept.get(n));
            let was = was.map(|a| &a.source.object);
            let object = loop {
                let Some(list) = &mut objects else {
                    break None;
                };
                match list.next().await? {
                    Some(object) => break Some(object),
                    None => objects = lists.next(),
                }
            };
            let Some(object) = object else {
                let uri = was.map_or("the next one", |w| w.uri.as_str());
                return Err(gone(uri));
            };
            let location = &object.location;
            if let Some(was) = was.filter(|was| was.uri != location.to_string()) {
                return Err(another(&was.uri, &location.to_string()));
            }
            // What a listing says is so now; an inventory is older than the run, and
            // need not have an ETag.
            let now = match object.listed {
                Some(listed)
                    if listed.etag.is_some()
                        && was.is_none_or(|was| was.difference(&listed).is_none()) =>
                {
                    listed
                }
                _ => crate::source::reopen::look(location, &self.aws).await?,
            };
            if let Some(was) = was {
                crate::source::reopen::same(location, was, &now)?;
            }
            digest = next_digest(&digest, &now);
            last = now.uri;
        }
        match digest == behind.digest {
            true => Ok(()),
            false => Err(Error::usage(format!(
                "of the objects up to {last}, which an earlier run has read, one has changed since"
            ))
            .hint("begin again with --restart")),
        }
    }
}

fn gone(uri: &str) -> Error {
    Error::usage(format!(
        "{uri}, which an earlier run has read, is no longer among the sources"
    ))
    .hint("begin again with --restart, or give that run's list back its place")
}

fn another(was: &str, now: &str) -> Error {
    Error::usage(format!(
        "an earlier run has read {was}, and where that was {now} comes now: the sources have changed"
    ))
    .hint("begin again with --restart, or give that run's lists back their places")
}
