//! The plan of a run, for those who watch it and for the log.

use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::prepare::Prepared;
use crate::commands::ingest::watch::Plan;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::flow::rate_limiter::Pace;
use crate::list::opened::Opened;
use crate::pipeline::progress::counts::{Books, Counts};
use std::sync::Arc;
use tokio::time::Instant;

impl Ingest {
    /// What an earlier run had counted, as far as it is not counted again.
    pub(super) fn earlier_counts(&self, prepared: &Prepared) -> Counts {
        let first = prepared.beginning.as_ref().map(|b| &b.opened);
        let behind = first.map_or(0, Opened::behind);
        let mut earlier_counts = prepared
            .checkpoint
            .as_ref()
            .map(|c| c.counts(behind))
            .unwrap_or_default();
        if self.is_arranged() {
            // All of it is read again.
            earlier_counts.books = Books::default();
            earlier_counts.bytes_read = 0;
        }
        earlier_counts
    }

    /// Sets the plan for those who watch the run.
    pub(super) fn set_plan(
        &self,
        prepared: &Prepared,
        pace: &Arc<Pace>,
        begun: Instant,
        earlier: Counts,
    ) {
        let first = prepared.beginning.as_ref();
        let length = first.map_or(Some(0), |b| b.opened.length());
        let to_come = prepared
            .ahead
            .bytes_to_come()
            .filter(|_| first.is_none_or(|b| b.number == 0));
        let is_refresh = self.with.refresh.is_some();
        // Of a refresh, the length of the old list is not known yet.
        let bytes = length.zip(to_come).filter(|_| !is_refresh);
        // Set once: a run happens once.
        let _ = self.watch.0.plan.set(Plan {
            algorithm: prepared.template.algorithm(),
            bytes: bytes.map(|(first, rest)| first + rest),
            pace: pace.clone(),
            begun,
            earlier,
            is_refresh,
        });
    }

    /// Says what is going to happen.
    pub(super) fn announce(
        &self,
        table: &Table,
        template: &ItemTemplate,
        target: Option<f64>,
        calls: &str,
    ) {
        let rate = match target {
            Some(units) => format!("{} write units/s", crate::base::human::thousands(units)),
            None => "as fast as it goes".to_owned(),
        };
        let key = &table.schema.partition;
        let own = match template.from().is_empty() {
            true => "",
            false => " without what it takes from its row",
        };
        let dry = if self.with.dry_run {
            ", dry run: nothing is sent"
        } else {
            ""
        };
        if template.deletes_alone() {
            let dry = match self.with.dry_run {
                true => "; a dry run does not ask, and counts all of them as deleted",
                false => "",
            };
            tracing::info!(
                "deleting only items whose source is that of this run, one call each: others are kept{dry}"
            );
        }
        tracing::info!(
            "writing {} to table {} {}: key {} ({}), {} bytes and {} write unit{} an item{own}, \
             {rate}, {calls}{dry}",
            template.algorithm(),
            table.name,
            self.aws.dynamodb_place(),
            key.name,
            key.kind,
            template.item_bytes(),
            template.write_units(),
            if template.write_units() > 1.0 {
                "s"
            } else {
                ""
            },
        );
    }
}
