//! The write rate of a run: what the table takes, and raising it for the run.

use crate::base::error::Result;
use crate::commands::ingest::options::Ingest;
use crate::dynamodb::scaling::raise::Raise;
use crate::dynamodb::scaling::restore_note::Raised;
use crate::dynamodb::scaling::{raise, restore_note};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Capacity;
use crate::flow::rate_limiter::Pace;
use crate::list::opened::RELEASE;
use crate::pipeline::report::{RaisedReport, Report};

impl Ingest {
    /// The pace of this run: as it is told, by what `table` takes.
    pub(super) async fn pace(&self, table: &Table) -> Pace {
        let with = &self.with;
        let capacity = self.capacity(table).await;
        let pace = match with.dry_run {
            true => Pace::fixed(None),
            false => with.rate.pace(capacity, with.max_rate),
        };
        pace.grant(with.burst);
        pace
    }

    /// What the table takes of this run's items: itself, the indexes that they
    /// feed, its replicas.
    pub(super) async fn capacity(&self, table: &Table) -> Capacity {
        let with = &self.with;
        let mut replicas = Vec::new();
        for region in table.replicas.iter().filter(|r| *r != self.aws.region()) {
            let units = match (with.replica_capacity, table.billing) {
                (Some(told), _) => Some(told),
                // On-demand replicas have no capacity to be asked for.
                (None, Billing::OnDemand { .. }) => None,
                (None, _) => {
                    match crate::dynamodb::describe_table::in_region(&self.aws, region, &table.name)
                        .await
                    {
                        Ok(units) => units,
                        Err(e) => {
                            let what = "its capacity is not known: --replica-capacity N tells it";
                            tracing::warn!(
                                "the replica in {region} cannot be asked ({e:#}); {what}"
                            );
                            None
                        }
                    }
                }
            };
            replicas.extend(units.map(|u| (region.clone(), u)));
        }
        table.capacity(&self.attribute_names(table), &replicas)
    }

    /// The attributes that every item of this run has, its key included.
    fn attribute_names<'a>(&'a self, table: &'a Table) -> Vec<&'a str> {
        let names = self.with.attributes.iter().map(|a| a.name.as_str());
        let of_rows = self.with.attributes_from.iter().map(|a| a.name.as_str());
        let of_release = match self.with.attr_from_version {
            true => &RELEASE[..],
            false => &[],
        };
        names
            .chain(of_rows)
            .chain(of_release.iter().map(|(name, _)| *name))
            .chain(self.with.form.rule_names())
            .chain([table.schema.partition.name.as_str()])
            .collect()
    }

    /// Raises the table for this run.
    pub(super) async fn raise(&self, units: u64, table: &Table) -> Result<Option<Raise>> {
        let with = &self.with;
        let note = match &with.raise_note {
            Some(path) => path.clone(),
            None => restore_note::place(&self.aws, &with.table)?,
        };
        let raised = raise::raise(
            &self.aws,
            table,
            units,
            &self.attribute_names(table),
            note,
            &with.stop,
        )
        .await?;
        if let Some(raised) = &raised {
            tracing::info!(
                "should this process be killed, hashferry capacity --table {} --restore {} brings the table back",
                with.table,
                raised.note().display()
            );
        }
        Ok(raised)
    }

    /// Brings the table back, and enters that in the report.
    pub(super) async fn restore(&self, raised: Raise, report: &mut Report) -> Result<()> {
        let parts = raised.parts().to_vec();
        let restored = raised.restore(&self.aws, &self.with.stop).await;
        let entry = |p: Raised| RaisedReport {
            index: p.index,
            from_wcu: p.write_units,
            to_wcu: p.raised_to,
            restored: restored.is_ok(),
        };
        report.raised = parts.into_iter().map(entry).collect();
        restored
    }
}
