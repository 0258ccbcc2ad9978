//! Keeping a run's checkpoint: where it lies, taking a run up by it, saving it
//! while the run goes on.

use super::Ingest;
use crate::aws::Aws;
use crate::aws::table::Table;
use crate::books::Meters;
use crate::checkpoint::{Checkpoint, Place, Run, SAVE_INTERVAL};
use crate::error::{Error, ErrorKind, Result};
use crate::item::ItemTemplate;
use crate::lowwater::{LowWater, Mark};
use crate::reader::{Beginning, Opened};
use crate::rejects::Rejects;
use crate::source::{self, Identity, Location, Source};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where a run's checkpoint goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Keep {
    /// To a file in the user's folder for state, where the run can be taken up at
    /// all: not from standard input.
    #[default]
    Usual,
    /// To this path, or `s3://bucket/key`.
    At(String),
    /// Nowhere.
    Off,
}

/// A run whose checkpoint is kept.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) place: Place,
    run: Run,
    interval: Duration,
    /// What an earlier run had spent of time.
    pub(super) earlier: Duration,
}

impl Ingest {
    /// Where the checkpoint of this run lies, and what is there; nothing when none
    /// is kept. What is there and must not be used is refused.
    pub(super) async fn keeping(
        &self,
        first: &Identity,
        table: &Table,
        template: &ItemTemplate,
    ) -> Result<Option<(Keeping, Option<Checkpoint>)>> {
        let with = &self.with;
        if with.dry_run {
            return Ok(None);
        }
        let run = Run {
            sources: self.sources.iter().map(ToString::to_string).collect(),
            table: with.table.clone(),
            place: match &table.arn {
                Some(arn) => format!("{} {arn}", self.aws.dynamodb_home()),
                None => self.aws.dynamodb_home(),
            },
            table_id: table.id.clone(),
            hash: template.algorithm().name().to_owned(),
            item: template.example(),
        };
        let unknown = self.sources.contains(&Location::Stdin) || !first.is_known();
        let place = match &with.keep {
            Keep::Off => return Ok(None),
            Keep::Usual if unknown => {
                tracing::debug!("no checkpoint: what comes through a pipe cannot be read again");
                return Ok(None);
            }
            Keep::At(_) if unknown => {
                return Err(Error::usage(
                    "a checkpoint is of no use here: what comes through a pipe cannot be read again",
                )
                .hint("name a file or an object as the source, or leave --checkpoint out"));
            }
            Keep::At(text) => Place::named(text)?,
            Keep::Usual => match Place::usual(&run) {
                Some(place) => place,
                None => {
                    tracing::warn!(
                        "no checkpoint: there is no folder for it, for HOME is not set (--checkpoint PATH names \
                         a place)"
                    );
                    return Ok(None);
                }
            },
        };
        let found = match with.restart {
            true => None,
            false => place.load(&self.aws).await?,
        };
        if let Some(checkpoint) = &found {
            checkpoint.is_of(&run, &place)?;
        }
        let earlier = found.as_ref().map_or(0.0, |c| c.totals.elapsed_s);
        let keeping = Keeping {
            place,
            run,
            interval: with.save_interval.unwrap_or(SAVE_INTERVAL),
            earlier: Duration::try_from_secs_f64(earlier).unwrap_or_default(),
        };
        Ok(Some((keeping, found)))
    }

    /// Where to begin by `checkpoint`: the source that the mark is in, opened there.
    pub(super) async fn take_up(
        &self,
        checkpoint: &Checkpoint,
        place: &Place,
    ) -> Result<Beginning> {
        let Some((last, behind)) = checkpoint.read.split_last() else {
            return Err(Error::new(
                ErrorKind::Internal,
                "a checkpoint without a source",
            ));
        };
        for (location, read) in self.sources.iter().zip(&checkpoint.read) {
            let packed = read.source.packed.as_ref();
            self.with.unpack.agrees(packed).map_err(|what| {
                Error::usage(format!(
                    "the checkpoint {place} is of another run: of {location}, {what}"
                ))
                .hint("give the same --compression and --member, or begin again with --restart")
            })?;
        }
        for (location, read) in self.sources.iter().zip(behind) {
            source::unchanged(location, &self.aws, &read.source).await?;
        }
        let location = &self.sources[behind.len()];
        let packed = last.source.packed.clone();
        // There is no going into the middle of compressed data.
        let from = if packed.is_some() { 0 } else { last.bytes };
        let source = Source::open_again(location, &self.aws, &last.source, from).await?;
        tracing::info!(
            "taking up an earlier run at line {} (byte {}) of {location}: {} lines are in its books \
             (checkpoint {place}, saved {}; --restart begins again)",
            last.lines + 1,
            last.bytes,
            checkpoint.books.lines,
            checkpoint.saved,
        );
        let below = checkpoint
            .mark()
            .sources
            .last()
            .copied()
            .unwrap_or_default();
        Ok(Beginning {
            opened: Opened::again(source, packed, last.bytes).await?,
            number: behind.len() as u32,
            below,
            lines: checkpoint.books.lines,
            rejected: checkpoint.books.rejected,
        })
    }
}

/// What a checkpoint is made of while a run goes on.
pub(super) struct State<'a> {
    pub(super) aws: &'a Aws,
    pub(super) water: &'a LowWater,
    pub(super) opened: &'a Mutex<Vec<Identity>>,
    pub(super) meters: &'a Meters,
    pub(super) rejects: &'a Rejects,
    pub(super) begun: Instant,
}

impl Keeping {
    /// Saves the mark, every so often, until that fails or the run is `over`. A
    /// saving that is under way then comes to its end first: one that came later
    /// would undo what is done to the checkpoint at the end of the run.
    pub(super) async fn keep(&self, state: &State<'_>, over: &CancellationToken) -> Result<()> {
        let mut saved = None;
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.interval) => {}
            }
            let mark = state.water.mark();
            if saved.as_ref() == Some(&mark) {
                continue;
            }
            self.save(state, mark.clone()).await?;
            saved = Some(mark);
        }
    }

    /// Saves `mark`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when the rejected lines below it, or the checkpoint,
    /// cannot be written.
    pub(super) async fn save(&self, state: &State<'_>, mark: Mark) -> Result<()> {
        // What the mark says is rejected must be on the disk before it says so.
        state.rejects.sync()?;
        let opened = state
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let elapsed = self.earlier + state.begun.elapsed();
        let counts = state.meters.read();
        let checkpoint = Checkpoint::new(self.run.clone(), mark, &opened, &counts, elapsed);
        self.place.save(&checkpoint, state.aws).await
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{AwsOptions, LocalEndpoints};
    use std::task::Poll;

    #[tokio::test(start_paused = true)]
    async fn a_saving_under_way_is_done_before_the_run_is_over() {
        let nowhere = "http://127.0.0.1:9".to_owned();
        let options = AwsOptions {
            local: Some(LocalEndpoints {
                home: "nowhere".into(),
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
        let keeping = Keeping {
            place: Place::File(path.clone()),
            run: Run {
                sources: vec!["list".into()],
                table: "t".into(),
                place: String::new(),
                table_id: None,
                hash: "sha256".into(),
                item: String::new(),
            },
            interval: SAVE_INTERVAL,
            earlier: Duration::ZERO,
        };
        let (water, meters) = (LowWater::default(), Meters::default());
        let rejects = Rejects::new(None, vec!["list".into()]).expect("no file");
        let opened = Mutex::new(vec![Identity::default()]);
        let state = State {
            aws: &aws,
            water: &water,
            opened: &opened,
            meters: &meters,
            rejects: &rejects,
            begun: Instant::now(),
        };
        let over = CancellationToken::new();
        let keep = keeping.keep(&state, &over);
        tokio::pin!(keep);
        // Up to its first sleep, and then into its first saving.
        for wait in [SAVE_INTERVAL, Duration::ZERO] {
            std::future::poll_fn(|cx| Poll::Ready(keep.as_mut().poll(cx).is_ready())).await;
            tokio::time::advance(wait).await;
        }
        over.cancel();
        keep.await.expect("it is saved");
        assert!(path.exists());
    }
}
