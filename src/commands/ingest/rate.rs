//! Write rate of a run: capacity of the table, and raising it for the run.

use crate::base::error::Result;
use crate::commands::ingest::options::Ingest;
use crate::dynamodb::scaling::raise::Raise;
use crate::dynamodb::scaling::restore_note::RaisedPart;
use crate::dynamodb::scaling::{raise, restore_note};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Capacity;
use crate::flow::rate_limiter::RateLimiter;
use crate::list::open_list::RELEASE_FIELDS;
use crate::pipeline::report::{RaisedReport, Report};

impl Ingest {
    /// Rate limiter of this run, from its rate setting and the capacity of `table`.
    pub(super) async fn rate_limiter(&self, table: &Table) -> RateLimiter {
        let options = &self.options;
        let capacity = self.capacity(table).await;
        let rate_limiter = match options.dry_run {
            true => RateLimiter::fixed(None),
            false => options.run.rate.rate_limiter(capacity, options.max_rate),
        };
        rate_limiter.grant_burst(options.burst);
        rate_limiter
    }

    /// Write capacity for this run's items: of the table, of the indexes that contain them,
    /// of the replicas.
    pub(super) async fn capacity(&self, table: &Table) -> Capacity {
        let options = &self.options;
        let mut replicas = Vec::new();
        for region in table.replicas.iter().filter(|r| *r != self.aws.region()) {
            let units = match (options.replica_capacity, table.billing) {
                (Some(given), _) => Some(given),
                // On-demand replicas have no provisioned capacity.
                (None, Billing::OnDemand { .. }) => None,
                (None, _) => {
                    match crate::dynamodb::describe_table::describe_replica_write_units(
                        &self.aws,
                        region,
                        &table.name,
                    )
                    .await
                    {
                        Ok(units) => units,
                        Err(e) => {
                            tracing::warn!(
                                "cannot describe the replica in {region}, its capacity is unknown: {e:#}; \
                                 --replica-capacity N sets it"
                            );
                            None
                        }
                    }
                }
            };
            replicas.extend(units.map(|u| (region.clone(), u)));
        }
        table.write_capacity(&self.attribute_names(table), &replicas)
    }

    /// Names of the attributes that every item of this run has, including the key.
    fn attribute_names<'a>(&'a self, table: &'a Table) -> Vec<&'a str> {
        let names = self
            .options
            .table
            .attributes
            .iter()
            .map(|a| a.name.as_str());
        let of_rows = self
            .options
            .table
            .attributes_from
            .iter()
            .map(|a| a.name.as_str());
        let of_release = match self.options.table.attr_from_version {
            true => &RELEASE_FIELDS[..],
            false => &[],
        };
        names
            .chain(of_rows)
            .chain(of_release.iter().map(|(name, _)| *name))
            .chain(self.options.read.form.rule_names())
            .chain([table.schema.partition.name.as_str()])
            .collect()
    }

    /// Raises the capacity of the table for this run.
    pub(super) async fn raise(&self, units: u64, table: &Table) -> Result<Option<Raise>> {
        let options = &self.options;
        let note = match &options.raise_note {
            Some(path) => path.clone(),
            None => restore_note::note_path(&self.aws, &options.table.name)?,
        };
        let raised = raise::raise(
            &self.aws,
            table,
            units,
            &self.attribute_names(table),
            note,
            &options.run.stop,
        )
        .await?;
        if let Some(raised) = &raised {
            tracing::info!(
                "if this process is killed, hashferry capacity --table {} --restore {} restores the table",
                options.table.name,
                raised.note_path().display()
            );
        }
        Ok(raised)
    }

    /// Restores the capacity of the table, and adds that to the report.
    pub(super) async fn restore(&self, raised: Raise, report: &mut Report) -> Result<()> {
        let parts = raised.parts().to_vec();
        let restored = raised.restore(&self.aws, &self.options.run.stop).await;
        let entry = |p: RaisedPart| RaisedReport {
            index: p.index,
            from_wcu: p.write_units,
            to_wcu: p.raised_to,
            restored: restored.is_ok(),
        };
        report.raised = parts.into_iter().map(entry).collect();
        restored
    }
}
