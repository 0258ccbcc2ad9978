//! Plan of a run, for observers and for the log.

use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::prepare::PreparedRun;
use crate::commands::ingest::watch::IngestDetails;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::flow::rate_limiter::RateLimiter;
use crate::list::open_list::OpenList;
use crate::pipeline::progress::counts::{LineCounts, RunCounters};
use crate::pipeline::progress::watch::RunPlan;
use std::sync::Arc;
use tokio::time::Instant;

impl Ingest {
    /// Counters of the resumed run, without those that this run counts again.
    pub(super) fn resumed_counters(&self, prepared: &PreparedRun) -> RunCounters {
        let first = prepared.start.as_ref().map(|b| &b.list);
        let behind = first.map_or(0, OpenList::skipped_bytes);
        let mut earlier_counts = prepared
            .checkpoint
            .as_ref()
            .map(|c| c.counters(behind))
            .unwrap_or_default();
        if self.is_ordered() {
            // An ordered run reads all sources again.
            earlier_counts.line_counts = LineCounts::default();
            earlier_counts.bytes_read = 0;
        }
        earlier_counts
    }

    /// Sets the plan for observers of the run.
    pub(super) fn set_plan(
        &self,
        prepared: &PreparedRun,
        rate_limiter: &Arc<RateLimiter>,
        started: Instant,
        earlier: RunCounters,
    ) {
        let first = prepared.start.as_ref();
        let length = first.map_or(Some(0), |b| b.list.length());
        let to_come = prepared
            .prefetch
            .remaining_bytes()
            .filter(|_| first.is_none_or(|b| b.source == 0));
        let is_refresh = self.options.refresh.is_some();
        // The length of a refresh's old list is not known yet.
        let bytes = length.zip(to_come).filter(|_| !is_refresh);
        self.watch.set_plan(RunPlan {
            total_bytes: bytes.map(|(first, rest)| first + rest),
            rate_limiter: rate_limiter.clone(),
            started,
            details: IngestDetails {
                algorithm: prepared.template.algorithm(),
                resumed_counters: earlier,
                is_refresh,
            },
        });
    }

    /// Logs the table, the items, the rate and the concurrency of the run.
    pub(super) fn log_start(
        &self,
        table: &Table,
        template: &ItemTemplate,
        target: Option<f64>,
        calls: &str,
    ) {
        let rate = match target {
            Some(units) => format!("{} WCU/s", crate::base::human::format_number(units)),
            None => "no rate limit".to_owned(),
        };
        let key = &table.schema.partition;
        let from_row = match template.column_attributes().is_empty() {
            true => "",
            false => " (without attributes from its row)",
        };
        let dry = if self.options.dry_run {
            ", dry run: nothing is sent"
        } else {
            ""
        };
        if template.has_conditional_deletes() {
            let dry = match self.options.dry_run {
                true => "; a dry run counts all of them as deleted without a check",
                false => "",
            };
            tracing::info!(
                "deleting only items with the source of this run, one call per item; others are kept{dry}"
            );
        }
        tracing::info!(
            "writing {} to table {} {}: key {} ({}), {} bytes and {} WCU per item{from_row}, \
             {rate}, {calls}{dry}",
            template.algorithm(),
            table.name,
            self.aws.describe_dynamodb(),
            key.name,
            key.kind,
            template.item_bytes(),
            template.write_units(),
        );
    }
}
