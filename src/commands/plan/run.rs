//! Before a run: what a list will take, in lines, write units, time and money.
//!
//! Two halves. [`Planning::run`] drives the reading stages of a run
//! ([`Opened`],
//! [`lines`](crate::list::lines), [`record`](crate::base::record), [`window`](crate::pipeline::window))
//! over the beginning of each source, or all of it, and counts. [`Forecast::of`]
//! is arithmetic on what was counted. Nothing is written anywhere.
//!
//! # What an estimate is worth
//!
//! The rest of a source is taken to be like its beginning: as many lines (and
//! hashes, duplicates, …) a byte. The margin is the 95 % interval of that ratio
//! estimate, from how the lengths of the sample's lines vary, and of how they
//! may vary in the rest. Lines that are all of one length have no margin. What
//! it cannot know is a list whose rest is unlike its beginning; a full read
//! can.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::item_options::with_release;
use crate::commands::plan::forecast::{Assumptions, Forecast};
use crate::commands::plan::options::Planning;
use crate::commands::plan::shell_commands::Words;
use crate::commands::plan::survey::survey;
use crate::commands::plan::target::Target;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::prefetch::Ahead;
use crate::pipeline::contents::scan;
use crate::pipeline::contents::settings::Given;
use crate::pipeline::useful::Listed;
use crate::source::sources::Sources;

impl Planning {
    /// Asks for the table, reads the sources, and reckons.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when a source or the
    /// table is not there or the items do not fit it; other kinds when one of
    /// them cannot be read.
    pub async fn run(self, aws: &Aws) -> Result<Forecast> {
        let sources = Sources::read(&self.sources, &self.manifests, self.globs.clone())?;
        if sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let mut ahead = Ahead::new(Objects::new(&sources, aws), aws, &self.unpack, &self.form);
        let Some(opened) = ahead.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        let described = self.described(aws).await?;
        let algorithm = self.algorithm_of(aws, &opened, described.as_ref()).await?;
        let from = &self.attributes_from;
        let mut attributes =
            crate::commands::item_options::with_rules(&self.form, &self.attributes, from)?;
        if self.attr_from_version {
            attributes =
                with_release(&attributes, from, &opened, &sources, aws, &self.unpack).await?;
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
        let columns = Columns::new(
            target.table.as_deref().unwrap_or(algorithm.name()),
            &target.schema,
            &self.attributes_from,
            template.item_bytes(),
        )?;
        let (survey, seen) = survey(
            opened, &mut ahead, &template, &columns, self.case, self.exact,
        )
        .await?;
        self.unpack.work.done();
        let listed = Listed {
            keeps_rejects: false,
            sources: &sources,
            algorithm: Some(algorithm).filter(|_| self.form.paths.is_none()),
            lines: seen.lines,
            skipped: seen.skipped,
            rejected: seen.rejected,
        };
        if let Some(useless) = listed.useless(&seen.shapes) {
            return Err(useless);
        }
        let assumptions = Assumptions {
            at: self.at,
            prices: self.prices.clone(),
            words: Words::new(&self),
        };
        Ok(Forecast::of(survey, &template, &target, &assumptions))
    }

    /// The table as DynamoDB describes it; nothing where it is yet to be made, or may not
    /// be described.
    async fn described(&self, aws: &Aws) -> Result<Option<Table>> {
        match &self.table {
            // A local DynamoDB makes the table when a run needs it, not before.
            Some(name)
                if aws.is_local()
                    && !crate::dynamodb::describe_table::exists(aws, name).await? =>
            {
                Ok(None)
            }
            Some(name) => match crate::dynamodb::describe_table::describe(aws, name, None).await {
                Err(e) if e.kind() == ErrorKind::Denied => {
                    tracing::warn!(
                        "{e:#}: reckoning as for a new table, without indexes and replicas (--indexes and \
                         --replicas say otherwise). What to do: {}",
                        e.what_to_do().unwrap_or_default()
                    );
                    Ok(None)
                }
                described => Ok(Some(described?)),
            },
            None => Ok(None),
        }
    }

    /// The algorithm of the hashes: as it was told, or the table or the list shows.
    async fn algorithm_of(
        &self,
        aws: &Aws,
        opened: &Opened,
        described: Option<&Table>,
    ) -> Result<Algorithm> {
        match described {
            Some(table) => {
                let look = scan::look(aws, &table.name, &table.schema.partition).await?;
                let given = Given::by_flags(self.algorithm, self.key.as_ref());
                opened.algorithm_for(table, &look, given, &self.form)
            }
            None if self.algorithm.is_none() && !opened.beginning.decides() => {
                let by_name = self.table.as_deref().and_then(Algorithm::from_name);
                opened.algorithm(by_name, None)
            }
            None => opened.algorithm(self.algorithm, None),
        }
    }

    /// What the items, which have these `attributes`, are written into.
    fn target(
        &self,
        described: Option<Table>,
        algorithm: Algorithm,
        attributes: &[Attribute],
    ) -> Target {
        let mut target = match described {
            Some(table) => Target::described(table, attributes),
            None => Target::assumed(self.table.clone(), algorithm),
        };
        for (copies, told, flag) in [
            (&mut target.replicas, self.replicas, "--replicas"),
            (&mut target.indexes, self.indexes, "--indexes"),
        ] {
            if let Some(count) = told {
                flag.clone_into(&mut copies.source);
                copies.count = count;
            }
        }
        target
    }
}
