//! Keeping a run's checkpoint: where it lies, and saving it while the run goes on.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::settings::Keep;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::list::identity::Identity;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::checkpoint::{Checkpoint, SAVE_INTERVAL};
use crate::pipeline::progress::checkpoint_place::Place;
use crate::pipeline::progress::checkpoint_store::Store;
use crate::pipeline::progress::counts::{Books, Meters};
use crate::pipeline::progress::run::Run;
use crate::pipeline::progress::sources::Account;
use crate::pipeline::progress::watermark::{LowWater, Mark};
use crate::pipeline::reader::Beginning;
use crate::pipeline::rejects::Rejects;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A run whose checkpoint is kept.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) store: Store,
    run: Run,
    /// Whether records are written in the order of their hashes.
    sorted: bool,
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
            sources: self.names(),
            reading: self.reading(),
            table: with.table.clone(),
            place: match &table.arn {
                Some(arn) => format!("{} {arn}", self.aws.dynamodb_home()),
                None => self.aws.dynamodb_home(),
            },
            table_id: table.id.clone(),
            hash: template.algorithm().name().to_owned(),
            item: template.example(),
        };
        let stdin = self.sources.have_read_once() || self.from.have_read_once();
        let unknown = stdin || !first.object.is_known();
        let place = match &with.keep {
            Keep::Off => {
                tracing::info!(
                    "no checkpoint and no lock (--checkpoint off): a second run of this is not noticed"
                );
                return Ok(None);
            }
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
        let (store, found) = Store::open(place, &self.aws, with.restart).await?;
        if let Some(checkpoint) = &found {
            checkpoint.is_of(&run, store.place())?;
        }
        let earlier = found.as_ref().map_or(0.0, |c| c.totals.elapsed_s);
        let keeping = Keeping {
            store,
            run,
            sorted: self.is_arranged(),
            interval: with.save_interval.unwrap_or(SAVE_INTERVAL),
            earlier: Duration::try_from_secs_f64(earlier).unwrap_or_default(),
        };
        Ok(Some((keeping, found)))
    }

    /// The sources as they were named; of a refresh, those of the old list before.
    fn names(&self) -> Vec<String> {
        let from = self.from.names().into_iter();
        let from = from.map(|name| format!("from {name}"));
        from.chain(self.sources.names()).collect()
    }

    /// How the lists are read: by which it is recognised that two runs read the same.
    fn reading(&self) -> String {
        let distinct = match self.with.distinct {
            Distinct::InFlight => "",
            other => other.name(),
        };
        let deletes = match &self.with.refresh {
            Some(refresh) if !refresh.delete => "without deletions",
            Some(refresh) if refresh.delete_despite_rejects => "deleting despite rejects",
            _ => "",
        };
        let words = [&self.with.form.words(), distinct, deletes];
        let said: Vec<&str> = words.into_iter().filter(|w| !w.is_empty()).collect();
        said.join(", ")
    }

    /// Saves the checkpoint of a run that begins: what cannot be saved must be known before
    /// the first write.
    pub(super) async fn save_first(
        &self,
        keeping: &Keeping,
        beginning: &Beginning,
        rejects: &Rejects,
    ) -> Result<()> {
        let (water, meters) = (LowWater::default(), Meters::default());
        let account = Account {
            source: beginning.opened.identity(),
            read: 0,
            books: Books::default(),
        };
        water.accounts().begin(0, account);
        let state = State {
            aws: &self.aws,
            water: &water,
            meters: &meters,
            rejects,
            begun: Instant::now(),
        };
        keeping.save(&state, &water.mark()).await.map_err(|e| {
            let hint = e.what_to_do().unwrap_or_default().to_owned();
            Error::usage("nothing was written").because(e).hint(hint)
        })
    }
}

/// What a checkpoint is made of while a run goes on.
pub(super) struct State<'a> {
    pub(super) aws: &'a Aws,
    pub(super) water: &'a LowWater,
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
            // Of what is only sorted nothing can be taken up.
            let nothing = self.sorted && mark == Mark::default();
            if nothing || saved.as_ref() == Some(&mark) {
                continue;
            }
            self.save(state, &mark).await?;
            saved = Some(mark);
        }
    }

    /// Saves `mark`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::base::error::ErrorKind::Output) when the rejected lines below it, or the checkpoint,
    /// cannot be written.
    pub(super) async fn save(&self, state: &State<'_>, mark: &Mark) -> Result<()> {
        self.store
            .save(&self.checkpoint(state, mark)?, state.aws)
            .await
    }

    /// Saves `mark` for the last time; when the source that it is in is `damaged`, without
    /// it.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub(super) async fn save_last(
        &self,
        state: &State<'_>,
        mark: &Mark,
        damaged: bool,
    ) -> Result<()> {
        let checkpoint = self.checkpoint(state, mark)?;
        let checkpoint = match damaged && !self.sorted {
            true => checkpoint.without_the_last(),
            false => checkpoint,
        };
        self.store.save(&checkpoint, state.aws).await
    }

    /// The checkpoint at `mark`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::base::error::ErrorKind::Output) when the rejected lines below it cannot be written.
    pub(super) fn checkpoint(&self, state: &State<'_>, mark: &Mark) -> Result<Checkpoint> {
        // What the mark says is rejected must be on the disk before it says so.
        state.rejects.sync()?;
        let elapsed = self.earlier + state.begun.elapsed();
        let counts = state.meters.read();
        let accounts = state.water.accounts();
        let checkpoint = Checkpoint::new(self.run.clone(), mark, accounts, &counts, elapsed);
        Ok(match self.sorted {
            true => checkpoint.of_sorted(mark, accounts),
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
            store: Store::unlocked(Place::File(path.clone())),
            run: Run {
                sources: vec!["list".into()],
                reading: String::new(),
                table: "t".into(),
                place: String::new(),
                table_id: None,
                hash: "sha256".into(),
                item: String::new(),
            },
            sorted: false,
            interval: SAVE_INTERVAL,
            earlier: Duration::ZERO,
        };
        let (water, meters) = (LowWater::default(), Meters::default());
        let rejects = Rejects::new(None).expect("no file");
        let state = State {
            aws: &aws,
            water: &water,
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
