//! Lines that are settled without a write: entered in the meters and the accounts, many
//! at once.

use crate::base::record::{Action, Record};
use crate::commands::ingest::watch::Watch;
use crate::pipeline::progress::counts::{Books, Settled};
use crate::pipeline::progress::watermark::LowWater;
use std::sync::Arc;

/// Records that an earlier run has settled, by the number of their source.
#[derive(Debug, Default)]
pub(super) struct Passed {
    puts: Vec<(u32, u64)>,
    deletes: Vec<(u32, u64)>,
}

impl Passed {
    pub(super) fn take(&mut self, record: &Record) {
        let counts = match record.action {
            Action::Put => &mut self.puts,
            Action::Delete => &mut self.deletes,
        };
        let source = record.place.source;
        match counts.last_mut() {
            Some((last, count)) if *last == source => *count += 1,
            // As many entries as sources, or they alternate: then some more.
            _ => counts.push((source, 1)),
        }
        if counts.len() > 4096 {
            counts.sort_unstable();
            counts.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                kept.1 += if same { later.1 } else { 0 };
                same
            });
        }
    }

    /// Enters them as an earlier run, of which these `were` the books, has settled them.
    pub(super) fn settle(&mut self, were: Books, settling: &mut Settling) -> Books {
        let count = |counts: &[(u32, u64)]| counts.iter().map(|(_, n)| n).sum::<u64>();
        let (puts, deletes) = (count(&self.puts), count(&self.deletes));
        let written = were.written.min(puts);
        let deleted = were.deleted.min(deletes);
        let kept = were.kept.min(deletes - deleted);
        // What was neither was refused by DynamoDB.
        let mut refused = [puts - written, deletes - deleted - kept];
        let mut left = [0, kept];
        for (n, (counts, how)) in [
            (std::mem::take(&mut self.puts), Settled::Written),
            (std::mem::take(&mut self.deletes), Settled::Deleted),
        ]
        .into_iter()
        .enumerate()
        {
            for (source, count) in counts {
                let rejected = refused[n].min(count);
                refused[n] -= rejected;
                let kept = left[n].min(count - rejected);
                left[n] -= kept;
                settling.enter(source, Settled::Rejected, rejected);
                settling.enter(source, Settled::Kept, kept);
                settling.enter(source, how, count - rejected - kept);
            }
        }
        Books {
            lines: puts + deletes,
            written,
            deleted,
            kept,
            rejected: puts - written + deletes - deleted - kept,
            ..Books::default()
        }
    }
}

/// Enters settled lines in the meters and the accounts, many at once.
pub(super) struct Settling {
    pub(super) watch: Watch,
    water: Arc<LowWater>,
    now: Option<(u32, Settled)>,
    count: u64,
}

impl Settling {
    pub(super) fn new(watch: Watch, water: Arc<LowWater>) -> Settling {
        Settling {
            watch,
            water,
            now: None,
            count: 0,
        }
    }

    pub(super) fn enter(&mut self, source: u32, how: Settled, count: u64) {
        if self.now != Some((source, how)) {
            self.flush();
            self.now = Some((source, how));
        }
        self.count += count;
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.count);
        if let Some((source, how)) = self.now.filter(|_| count > 0) {
            self.watch.meters().update(|c| c.books.enter(how, count));
            self.water.accounts().settle(source, how, count);
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.flush();
    }
}
