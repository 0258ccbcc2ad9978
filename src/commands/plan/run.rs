//! Plan run: estimates lines, WCU, time and cost before an ingest.
//!
//! [`PlanOptions::run`] reads the first part of each source, or all of it, and counts. It uses
//! the reading stages of an ingest: [`OpenList`], [`lines`](crate::list::lines),
//! [`record`](crate::base::record) and [`window`](crate::pipeline::window). [`Forecast::new`]
//! calculates the rest from these counts. The run writes nothing.
//!
//! # Accuracy of an estimate
//!
//! The estimate assumes that the rest of a source has as many lines (and hashes,
//! duplicates, …) a byte as its first part. The margin is the 95 % interval of this ratio
//! estimate. It follows from the variance of the line lengths, both in the sample and in
//! the rest. Lines of equal length have no margin. The estimate is wrong if the rest
//! differs in kind from the first part; only a full read shows that.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::item_options::with_release_attributes;
use crate::commands::plan::forecast::{Assumptions, Forecast};
use crate::commands::plan::options::PlanOptions;
use crate::commands::plan::shell_commands::ShellCommands;
use crate::commands::plan::survey::survey;
use crate::commands::plan::target::Target;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::list::prefetch::Prefetch;
use crate::pipeline::contents::scan;
use crate::pipeline::contents::settings::KeyOptions;
use crate::pipeline::list_check::ListTotals;
use crate::source::sources::Sources;

impl PlanOptions {
    /// Describes the table, reads the sources, and calculates the forecast.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if a source or the table does not exist, or if the items do not
    /// fit the table. Other kinds if a source or the table cannot be read.
    pub async fn run(self, aws: &Aws) -> Result<Forecast> {
        let sources = Sources::parse(&self.sources, &self.manifests, self.globs.clone())?;
        if sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let mut ahead = Prefetch::new(Objects::new(&sources, aws), aws, &self.unpack, &self.form);
        let Some(opened) = ahead.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        let described = self.describe_table(aws).await?;
        let algorithm = self
            .resolve_algorithm(aws, &opened, described.as_ref())
            .await?;
        let from = &self.attributes_from;
        let mut attributes = crate::commands::item_options::with_rule_attributes(
            &self.form,
            &self.attributes,
            from,
        )?;
        if self.attr_from_version {
            attributes =
                with_release_attributes(&attributes, from, &opened, &sources, aws, &self.unpack)
                    .await?;
        }
        let target = self.target(described, algorithm, &attributes);
        let template = ItemTemplate::with_columns(
            target.table.as_deref().unwrap_or(algorithm.name()),
            &target.schema,
            algorithm,
            self.case,
            &attributes,
            &self.attributes_from,
        )?;
        let columns = ColumnAttributes::new(
            target.table.as_deref().unwrap_or(algorithm.name()),
            &target.schema,
            &self.attributes_from,
            template.item_bytes(),
        )?;
        let (survey, read) = survey(
            opened, &mut ahead, &template, &columns, self.case, self.exact,
        )
        .await?;
        self.unpack.work_dir.finish_run();
        let listed = ListTotals {
            keeps_rejects: false,
            sources: &sources,
            algorithm: Some(algorithm).filter(|_| self.form.path_normalizer.is_none()),
            lines: read.lines,
            skipped: read.skipped,
            rejected: read.rejected,
        };
        if let Some(error) = listed.no_hash_error(&read.shapes) {
            return Err(error);
        }
        let assumptions = Assumptions {
            rate: self.rate,
            prices: self.prices.clone(),
            commands: ShellCommands::new(&self),
        };
        Ok(Forecast::new(survey, &template, &target, &assumptions))
    }

    /// The table as described by DynamoDB. `None` if it does not exist yet, or if the caller
    /// may not describe it.
    async fn describe_table(&self, aws: &Aws) -> Result<Option<Table>> {
        match &self.table {
            // An ingest creates a missing table of the local DynamoDB, a plan does not.
            Some(name)
                if aws.is_local()
                    && !crate::dynamodb::describe_table::table_exists(aws, name).await? =>
            {
                Ok(None)
            }
            Some(name) => {
                match crate::dynamodb::describe_table::describe_table(aws, name, None).await {
                    Err(e) if e.kind() == ErrorKind::Denied => {
                        tracing::warn!(
                            "{e:#}: planning for a new table without indexes and replicas (give --indexes and \
                         --replicas to change it). What to do: {}",
                            e.hint().unwrap_or_default()
                        );
                        Ok(None)
                    }
                    described => Ok(Some(described?)),
                }
            }
            None => Ok(None),
        }
    }

    /// The hash algorithm: as given, or from the table or the list.
    async fn resolve_algorithm(
        &self,
        aws: &Aws,
        opened: &OpenList,
        described: Option<&Table>,
    ) -> Result<Algorithm> {
        match described {
            Some(table) => {
                let look = scan::inspect(aws, &table.name, &table.schema.partition).await?;
                let given = KeyOptions::from_flags(self.algorithm, self.key.as_ref());
                opened.algorithm_for(table, &look, given, &self.form)
            }
            None if self.algorithm.is_none() && !opened.detected.is_decisive() => {
                let by_name = self.table.as_deref().and_then(Algorithm::from_name);
                opened.algorithm(by_name, None)
            }
            None => opened.algorithm(self.algorithm, None),
        }
    }

    /// The table for items with these `attributes`, described or assumed.
    fn target(
        &self,
        described: Option<Table>,
        algorithm: Algorithm,
        attributes: &[Attribute],
    ) -> Target {
        let mut target = match described {
            Some(table) => Target::from_table(table, attributes),
            None => Target::new_table(self.table.clone(), algorithm),
        };
        for (copies, given, flag) in [
            (&mut target.replicas, self.replicas, "--replicas"),
            (&mut target.indexes, self.indexes, "--indexes"),
        ] {
            if let Some(count) = given {
                flag.clone_into(&mut copies.source);
                copies.count = count;
            }
        }
        target
    }
}
