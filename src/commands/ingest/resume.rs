//! Resuming an earlier run from its checkpoint, if the sources are unchanged.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::commands::ingest::checkpointing::Checkpointing;
use crate::commands::ingest::options::Ingest;
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::list::prefetch::Prefetch;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::checkpoint_location::CheckpointLocation;
use crate::pipeline::progress::sources::next_digest;
use crate::pipeline::reader::StartPosition;
use crate::pipeline::rejects::Rejects;
use crate::source::open::OpenSource;

impl Ingest {
    /// Start position of this run: the first source, or the position of `checkpoint`.
    pub(super) async fn start_position(
        &self,
        opened: OpenList,
        prefetch: Prefetch,
        checkpoint: Option<&Checkpoint>,
        checkpointing: Option<&Checkpointing>,
        algorithm: Algorithm,
    ) -> Result<(Option<StartPosition>, Prefetch)> {
        match (checkpoint, checkpointing) {
            (Some(checkpoint), Some(_)) if self.is_ordered() => {
                self.check_all_unchanged(checkpoint).await?;
                Ok((Some(StartPosition::at_start(opened)), prefetch))
            }
            (Some(checkpoint), Some(checkpointing)) => {
                self.resume(checkpoint, checkpointing.store.location(), algorithm)
                    .await
            }
            _ => Ok((Some(StartPosition::at_start(opened)), prefetch)),
        }
    }

    /// Destination of rejected lines, which keeps those of the run that `checkpoint` resumes.
    pub(super) fn rejects(&self, checkpoint: Option<&Checkpoint>) -> Result<Rejects> {
        match (checkpoint, &self.options.read.rejects) {
            (Some(checkpoint), Some(path)) => {
                let mark = checkpoint.watermark();
                // Lines after the watermark are read and rejected again.
                let below = |object, line| {
                    !self.is_ordered() && (object, line) <= (mark.source, mark.offset.lines)
                };
                Rejects::resume(path, below)
            }
            (_, path) => Rejects::new(path.as_deref()),
        }
    }

    /// Opens the source of the watermark at its offset, and prefetches the sources after it.
    /// The start position is `None` if no source is left.
    async fn resume(
        &self,
        checkpoint: &Checkpoint,
        place: &CheckpointLocation,
        algorithm: Algorithm,
    ) -> Result<(Option<StartPosition>, Prefetch)> {
        let mut objects = Objects::new(&self.sources, &self.aws);
        self.skip_finished(checkpoint, std::slice::from_mut(&mut objects))
            .await?;
        let number = checkpoint.watermark().source;
        let Some(last) = &checkpoint.partial_source else {
            let mut prefetch = Prefetch::new(
                objects,
                &self.aws,
                &self.options.read.unpack,
                &self.options.read.form,
            );
            let next = prefetch.next().await?;
            if let Some(opened) = &next {
                tracing::info!(
                    "resuming an earlier run at the start of {}: {} lines are accounted for \
                     (checkpoint {place}, saved {}; --restart begins again)",
                    opened.name(),
                    checkpoint.line_counts.lines,
                    checkpoint.saved_at,
                );
            }
            let start = next.map(|opened| StartPosition {
                source: number,
                total_lines: checkpoint.line_counts.lines,
                total_rejected: checkpoint.line_counts.rejected,
                ..StartPosition::at_start(opened)
            });
            return Ok((start, prefetch));
        };
        let was = &last.source;
        let Some(object) = objects.next().await? else {
            return Err(missing_source_error(&was.object.uri));
        };
        let location = object.location;
        if location.to_string() != was.object.uri {
            return Err(changed_source_error(&was.object.uri, &location.to_string()));
        }
        let packed = was.compression.as_ref();
        self.options
            .read
            .unpack
            .check_unchanged(packed)
            .map_err(|what| {
                Error::usage(format!(
                    "the checkpoint {place} belongs to another run: for {location}, {what}"
                ))
                .with_hint("give the same --compression and --member, or --restart to begin again")
            })?;
        // Only an uncompressed text can be opened at an offset.
        let from = if was.is_verbatim() { last.bytes } else { 0 };
        let source = OpenSource::reopen(&location, &self.aws, &was.object, from).await?;
        tracing::info!(
            "resuming an earlier run at line {} (byte {}) of {location}: {} lines are accounted for \
             (checkpoint {place}, saved {}; --restart begins again)",
            last.lines + 1,
            last.bytes,
            checkpoint.line_counts.lines,
            checkpoint.saved_at,
        );
        let start = StartPosition {
            list: OpenList::resume_at(
                source,
                was,
                algorithm,
                last.bytes,
                &self.aws,
                &self.options.read.unpack,
            )
            .await?,
            source: number,
            offset: checkpoint.watermark().offset,
            source_line_counts: last.line_counts,
            total_lines: checkpoint.line_counts.lines,
            total_rejected: checkpoint.line_counts.rejected,
        };
        let prefetch = Prefetch::new(
            objects,
            &self.aws,
            &self.options.read.unpack,
            &self.options.read.form,
        );
        Ok((Some(start), prefetch))
    }

    /// Checks that all sources are unchanged, for a run that reads them again.
    async fn check_all_unchanged(&self, checkpoint: &Checkpoint) -> Result<()> {
        if checkpoint.finished.count() == 0 {
            return Ok(());
        }
        let from = Objects::new(&self.old_sources, &self.aws);
        let mut objects = [from, Objects::new(&self.sources, &self.aws)];
        self.skip_finished(checkpoint, &mut objects).await?;
        for rest in &mut objects {
            if let Some(object) = rest.next().await? {
                return Err(changed_source_error(
                    "the end",
                    &object.location.to_string(),
                ));
            }
        }
        tracing::info!(
            "resuming an earlier run after {} hashes in order (saved {}; --restart begins again): \
             the lists are read again, nothing is written twice",
            checkpoint.sorted_position.unwrap_or(0),
            checkpoint.saved_at
        );
        Ok(())
    }

    /// Skips the sources before the watermark and checks that they are unchanged.
    async fn skip_finished(&self, checkpoint: &Checkpoint, lists: &mut [Objects]) -> Result<()> {
        let mut lists = lists.iter_mut();
        let mut objects = lists.next();
        let behind = &checkpoint.finished;
        let mut digest = String::new();
        let mut last = String::new();
        for n in 0..behind.count() {
            let was = (usize::try_from(n).ok()).and_then(|n| behind.listed.get(n));
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
                return Err(missing_source_error(uri));
            };
            let location = &object.location;
            if let Some(was) = was.filter(|was| was.uri != location.to_string()) {
                return Err(changed_source_error(&was.uri, &location.to_string()));
            }
            // A listing is current. An inventory is older than the run, and may lack ETags.
            let now = match object.listed {
                Some(listed)
                    if listed.etag.is_some()
                        && was.is_none_or(|was| was.describe_change(&listed).is_none()) =>
                {
                    listed
                }
                _ => crate::source::reopen::head(location, &self.aws).await?,
            };
            if let Some(was) = was {
                crate::source::reopen::check_unchanged(location, was, &now)?;
            }
            digest = next_digest(&digest, &now);
            last = now.uri;
        }
        match digest == behind.digest {
            true => Ok(()),
            false => Err(Error::usage(format!(
                "one of the objects up to {last} has changed since an earlier run read it"
            ))
            .with_hint("give --restart to begin again")),
        }
    }
}

fn missing_source_error(uri: &str) -> Error {
    Error::usage(format!(
        "{uri}, which an earlier run has read, is no longer among the sources"
    ))
    .with_hint("give --restart to begin again, or restore the sources of that run")
}

fn changed_source_error(was: &str, now: &str) -> Error {
    Error::usage(format!(
        "the sources have changed since an earlier run: expected {was}, found {now}"
    ))
    .with_hint("give --restart to begin again, or restore the sources of that run")
}
