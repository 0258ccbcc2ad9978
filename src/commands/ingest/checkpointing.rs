//! Checkpointing of a run: location of the checkpoint, and periodic saves.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::settings::CheckpointMode;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::list::identity::Identity;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::checkpoint::{Checkpoint, SAVE_INTERVAL};
use crate::pipeline::progress::checkpoint_location::CheckpointLocation;
use crate::pipeline::progress::checkpoint_store::CheckpointStore;
use crate::pipeline::progress::counts::{Counters, LineCounts};
use crate::pipeline::progress::run::RunIdentity;
use crate::pipeline::progress::sources::SourceProgress;
use crate::pipeline::progress::watermark::{Watermark, WatermarkTracker};
use crate::pipeline::reader::StartPosition;
use crate::pipeline::rejects::Rejects;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Checkpointing of a run.
#[derive(Debug)]
pub(super) struct Checkpointing {
    pub(super) store: CheckpointStore,
    run: RunIdentity,
    /// True if records are written in the order of their hashes.
    is_sorted: bool,
    interval: Duration,
    /// Elapsed time of the resumed run.
    pub(super) earlier_elapsed: Duration,
}

impl Ingest {
    /// Opens the checkpoint store of this run. Also returns the saved checkpoint to resume, if
    /// one exists. `None` if checkpoints are off or impossible.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the checkpoint cannot
    /// be opened or belongs to another run.
    pub(super) async fn open_checkpoint(
        &self,
        first: &Identity,
        table: &Table,
        template: &ItemTemplate,
    ) -> Result<Option<(Checkpointing, Option<Checkpoint>)>> {
        let options = &self.options;
        if options.dry_run {
            return Ok(None);
        }
        let run = RunIdentity {
            sources: self.source_names(),
            read_settings: self.describe_reading(),
            table: options.table.name.clone(),
            table_location: match &table.arn {
                Some(arn) => format!("{} {arn}", self.aws.dynamodb_identity()),
                None => self.aws.dynamodb_identity(),
            },
            table_id: table.id.clone(),
            algorithm: template.algorithm().name().to_owned(),
            item_template: template.describe(),
        };
        let read_once = self.sources.has_read_once() || self.old_sources.has_read_once();
        let unknown = read_once || !first.object.is_comparable();
        let place = match &options.checkpoint {
            CheckpointMode::Off => {
                tracing::info!(
                    "no checkpoint and no lock (--checkpoint off): a second run at the same time is not detected"
                );
                return Ok(None);
            }
            CheckpointMode::Default if unknown => {
                tracing::debug!("no checkpoint: a pipe cannot be read again");
                return Ok(None);
            }
            CheckpointMode::At(_) if unknown => {
                return Err(Error::usage(
                    "--checkpoint needs a source that can be read again: a pipe cannot",
                )
                .with_hint("give a file or an object as the source, or leave --checkpoint out"));
            }
            CheckpointMode::At(text) => CheckpointLocation::parse(text)?,
            CheckpointMode::Default => match CheckpointLocation::default_for(&run) {
                Some(place) => place,
                None => {
                    tracing::warn!(
                        "no checkpoint: HOME is not set, so there is no folder for it (--checkpoint PATH sets \
                         a location)"
                    );
                    return Ok(None);
                }
            },
        };
        let (store, found) = CheckpointStore::open(place, &self.aws, options.restart).await?;
        if let Some(checkpoint) = &found {
            checkpoint.check_run(&run, store.location())?;
        }
        let earlier = found.as_ref().map_or(0.0, |c| c.totals.elapsed_s);
        let checkpointing = Checkpointing {
            store,
            run,
            is_sorted: self.is_ordered(),
            interval: options.save_interval.unwrap_or(SAVE_INTERVAL),
            earlier_elapsed: Duration::try_from_secs_f64(earlier).unwrap_or_default(),
        };
        Ok(Some((checkpointing, found)))
    }

    /// Names of the sources. For a refresh, those of the old list come first, each with the
    /// prefix `from`.
    fn source_names(&self) -> Vec<String> {
        let from = self.old_sources.names().into_iter();
        let from = from.map(|name| format!("from {name}"));
        from.chain(self.sources.names()).collect()
    }

    /// Describes the options for reading the lists. Runs with equal descriptions read the same
    /// records.
    fn describe_reading(&self) -> String {
        let distinct = match self.options.distinct {
            Distinct::InFlight => "",
            other => other.name(),
        };
        let deletes = match &self.options.refresh {
            Some(refresh) if !refresh.delete => "without deletions",
            Some(refresh) if refresh.delete_despite_rejects => "deleting despite rejects",
            _ => "",
        };
        let parts = [&self.options.read.form.describe(), distinct, deletes];
        let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        parts.join(", ")
    }

    /// Saves the initial checkpoint, so that a failing save is known before the first write.
    pub(super) async fn save_initial(
        &self,
        checkpointing: &Checkpointing,
        start: &StartPosition,
        rejects: &Rejects,
    ) -> Result<()> {
        let (watermark, counters) = (WatermarkTracker::default(), Counters::default());
        let progress = SourceProgress {
            source: start.list.identity(),
            bytes_read: 0,
            line_counts: LineCounts::default(),
        };
        watermark.sources().start_source(0, progress);
        let state = CheckpointInputs {
            aws: &self.aws,
            watermark: &watermark,
            counters: &counters,
            rejects,
            started: Instant::now(),
        };
        checkpointing
            .save(&state, &watermark.watermark())
            .await
            .map_err(|e| {
                let hint = e.hint().unwrap_or_default().to_owned();
                Error::usage("nothing was written")
                    .with_source(e)
                    .with_hint(hint)
            })
    }
}

/// State of a run from which its checkpoints are made.
pub(super) struct CheckpointInputs<'a> {
    pub(super) aws: &'a Aws,
    pub(super) watermark: &'a WatermarkTracker,
    pub(super) counters: &'a Counters,
    pub(super) rejects: &'a Rejects,
    pub(super) started: Instant,
}

impl Checkpointing {
    /// Saves the watermark periodically until a save fails or the run is `over`. A save in
    /// progress finishes first: otherwise it could overwrite the final checkpoint.
    pub(super) async fn save_periodically(
        &self,
        state: &CheckpointInputs<'_>,
        over: &CancellationToken,
    ) -> Result<()> {
        let mut saved = None;
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.interval) => {}
            }
            let mark = state.watermark.watermark();
            // A run that has only sorted so far has nothing to resume.
            let is_empty = self.is_sorted && mark == Watermark::default();
            if is_empty || saved.as_ref() == Some(&mark) {
                continue;
            }
            self.save(state, &mark).await?;
            saved = Some(mark);
        }
    }

    /// Saves the checkpoint at the watermark `mark`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::base::error::ErrorKind::Output) if the rejected lines
    /// or the checkpoint cannot be written.
    pub(super) async fn save(&self, state: &CheckpointInputs<'_>, mark: &Watermark) -> Result<()> {
        self.store
            .save(&self.checkpoint(state, mark)?, state.aws)
            .await
    }

    /// Saves the final checkpoint at the watermark `mark`. It leaves out the source at the
    /// watermark if that is `damaged`: a resumed run then reads it from its start.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub(super) async fn save_final(
        &self,
        state: &CheckpointInputs<'_>,
        mark: &Watermark,
        damaged: bool,
    ) -> Result<()> {
        let checkpoint = self.checkpoint(state, mark)?;
        let checkpoint = match damaged && !self.is_sorted {
            true => checkpoint.without_partial_source(),
            false => checkpoint,
        };
        self.store.save(&checkpoint, state.aws).await
    }

    /// The checkpoint at the watermark `mark`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::base::error::ErrorKind::Output) if the rejected lines
    /// cannot be written.
    pub(super) fn checkpoint(
        &self,
        state: &CheckpointInputs<'_>,
        mark: &Watermark,
    ) -> Result<Checkpoint> {
        // Rejected lines before the watermark must be on disk before the checkpoint.
        state.rejects.sync()?;
        let elapsed = self.earlier_elapsed + state.started.elapsed();
        let counts = state.counters.snapshot();
        let sources = state.watermark.sources();
        let checkpoint = Checkpoint::new(self.run.clone(), mark, sources, &counts, elapsed);
        Ok(match self.is_sorted {
            true => checkpoint.into_sorted(mark, sources),
            false => checkpoint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::config::{AwsOptions, LocalEndpoints};
    use std::task::Poll;

    #[tokio::test(start_paused = true)]
    async fn a_save_in_progress_finishes_before_the_run_is_over() {
        let nowhere = "http://127.0.0.1:9".to_owned();
        let options = AwsOptions {
            local: Some(LocalEndpoints {
                folder: "nowhere".into(),
                s3: nowhere.clone(),
                dynamodb: nowhere,
                region: "us-east-1".into(),
                access_key_id: "a".into(),
                secret_access_key: "b".into(),
            }),
            ..AwsOptions::default()
        };
        let aws = Aws::load(&options).await.expect("it loads");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("checkpoint");
        let checkpointing = Checkpointing {
            store: CheckpointStore::unlocked(CheckpointLocation::File(path.clone())),
            run: RunIdentity {
                sources: vec!["list".into()],
                read_settings: String::new(),
                table: "t".into(),
                table_location: String::new(),
                table_id: None,
                algorithm: "sha256".into(),
                item_template: String::new(),
            },
            is_sorted: false,
            interval: SAVE_INTERVAL,
            earlier_elapsed: Duration::ZERO,
        };
        let (watermark, counters) = (WatermarkTracker::default(), Counters::default());
        let rejects = Rejects::new(None).expect("no file");
        let state = CheckpointInputs {
            aws: &aws,
            watermark: &watermark,
            counters: &counters,
            rejects: &rejects,
            started: Instant::now(),
        };
        let over = CancellationToken::new();
        let keep = checkpointing.save_periodically(&state, &over);
        tokio::pin!(keep);
        // Poll up to the first sleep, then into the first save.
        for wait in [SAVE_INTERVAL, Duration::ZERO] {
            std::future::poll_fn(|cx| Poll::Ready(keep.as_mut().poll(cx).is_ready())).await;
            tokio::time::advance(wait).await;
        }
        over.cancel();
        keep.await.expect("it is saved");
        assert!(path.exists());
    }
}
