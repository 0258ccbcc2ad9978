//! Preparation of a run before the first write.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case};
use crate::commands::ingest::checkpointing::Checkpointing;
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::sink::Sink;
use crate::commands::item_options::{with_release_attributes, with_rule_attributes};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::list::prefetch::Prefetch;
use crate::pipeline::contents::inspection::Inspection;
use crate::pipeline::contents::settings::{KeyOptions, KeySettings};
use crate::pipeline::contents::{rules, scan};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::reader::StartPosition;
use crate::pipeline::rejects::Rejects;

/// Attribute with the name of the list that an item comes from.
const SOURCE_ATTRIBUTE: &str = "source";

/// Parts of a run that exist before its first write.
pub(super) struct PreparedRun {
    /// Start position; `None` if the resumed run has read every source.
    pub(super) start: Option<StartPosition>,
    pub(super) prefetch: Prefetch,
    pub(super) table: Table,
    pub(super) template: ItemTemplate,
    pub(super) columns: ColumnAttributes,
    pub(super) rejects: Rejects,
    pub(super) sink: Sink,
    /// Checkpoint to resume; `None` for a new run.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Checkpointing of this run; `None` if it is off.
    pub(super) checkpointing: Option<Checkpointing>,
}

impl Ingest {
    /// Completes the rules of a list of paths from the table's items.
    pub(super) async fn resolve_path_rules(&mut self) -> Result<Option<Inspection>> {
        let (options, given) = (&self.options, self.options.read.given_rules());
        let (key, stop) = (options.table.key.as_ref(), &options.run.stop);
        let (rules, look) =
            rules::rules_for(&self.aws, &options.table.name, key, given.as_ref(), stop).await?;
        self.options.read.form.path_normalizer =
            rules.or(self.options.read.form.path_normalizer.take());
        Ok(look)
    }

    /// Opens the first source, describes and inspects the table, and resumes a checkpoint.
    pub(super) async fn prepare(&self, look: Option<Inspection>) -> Result<PreparedRun> {
        let options = &self.options;
        if self.sources.has_stdin() || self.old_sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let (opened, prefetch) = self.open_first().await?;
        let table = self.load_table(&opened).await?;
        let mut look = match look {
            Some(look) => look,
            None => scan::inspect(&self.aws, &table.name, &table.schema.partition).await?,
        };
        look.log(&table, false);
        let given = KeyOptions::from_flags(options.table.algorithm, options.table.key.as_ref());
        let algorithm = opened.algorithm_for(&table, &look, given, &options.read.form)?;
        let attributes = self.attributes(&opened).await?;
        let key_settings = KeySettings {
            algorithm,
            case: options.table.case,
            attributes: &attributes,
        };
        let case = opened
            .case_for(
                &self.aws,
                &table,
                &mut look,
                key_settings,
                &options.read.form,
            )
            .await?;
        let template = self.template(&table, algorithm, case, &attributes)?;
        if self.is_ordered() || options.distinct == Distinct::Sorted {
            check_no_row_sort_key(&table, &options.table.attributes_from)?;
        }
        let columns = ColumnAttributes::new(
            &options.table.name,
            &table.schema,
            &options.table.attributes_from,
            template.item_bytes(),
        )?;
        // Report missing columns before the first write.
        opened.parser(&options.read.form, algorithm, columns.column_names())?;
        self.check_ordering(algorithm, &columns).await?;
        let (checkpointing, checkpoint) = match self
            .open_checkpoint(&opened.identity(), &table, &template)
            .await?
        {
            Some((checkpointing, checkpoint)) => (Some(checkpointing), checkpoint),
            None => (None, None),
        };
        let (start, prefetch) = self
            .start_position(
                opened,
                prefetch,
                checkpoint.as_ref(),
                checkpointing.as_ref(),
                algorithm,
            )
            .await?;
        let rejects = self.rejects(checkpoint.as_ref())?;
        let sink = Sink::new(self, &template)?;
        match (&checkpointing, &checkpoint, &start) {
            (Some(checkpointing), Some(checkpoint), _) => {
                checkpointing.store.claim(checkpoint, &self.aws).await?;
            }
            (Some(checkpointing), None, Some(start)) => {
                self.save_initial(checkpointing, start, &rejects).await?;
            }
            _ => {}
        }
        Ok(PreparedRun {
            start,
            prefetch,
            table,
            template,
            columns,
            rejects,
            sink,
            checkpoint,
            checkpointing,
        })
    }

    /// Opens the first source, and prefetches the sources after it.
    async fn open_first(&self) -> Result<(OpenList, Prefetch)> {
        let options = &self.options;
        let objects = Objects::new(&self.sources, &self.aws);
        let mut prefetch =
            Prefetch::new(objects, &self.aws, &options.read.unpack, &options.read.form);
        let Some(opened) = prefetch.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        Ok((opened, prefetch))
    }

    /// Describes the table, or assumes its schema if DescribeTable is denied. A local DynamoDB
    /// creates the table for the algorithm of the list.
    async fn load_table(&self, opened: &OpenList) -> Result<Table> {
        let options = &self.options;
        // For a table that a local DynamoDB creates, prefer the name of the table: the list
        // may be the wrong one.
        let named = options
            .table
            .algorithm
            .or(Algorithm::from_name(&options.table.name));
        let make_for = named.or(opened.detected.algorithm);
        match crate::dynamodb::describe_table::describe_table(
            &self.aws,
            &options.table.name,
            make_for,
        )
        .await
        {
            Err(e) if e.kind() == ErrorKind::Denied && options.raise_to.is_none() => {
                crate::dynamodb::describe_table::assume_table(
                    e,
                    &options.table.name,
                    options.table.key.clone(),
                    make_for,
                )
            }
            described => described,
        }
    }

    /// Attributes of every item: given ones, rules of paths, NSRL release.
    async fn attributes(&self, opened: &OpenList) -> Result<Vec<Attribute>> {
        let options = &self.options;
        let (given, from) = (&options.table.attributes, &options.table.attributes_from);
        let mut attributes = with_rule_attributes(&options.read.form, given, from)?;
        if options.table.attr_from_version {
            let (sources, unpack) = (&self.sources, &options.read.unpack);
            attributes =
                with_release_attributes(&attributes, from, opened, sources, &self.aws, unpack)
                    .await?;
        }
        Ok(attributes)
    }

    /// Template of the items; for a refresh, with the condition of its deletes.
    fn template(
        &self,
        table: &Table,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
    ) -> Result<ItemTemplate> {
        let options = &self.options;
        let mut template = ItemTemplate::with_columns(
            &options.table.name,
            &table.schema,
            algorithm,
            case,
            attributes,
            &options.table.attributes_from,
        )?;
        if let (Some(refresh), Some(owner)) = (
            &options.refresh,
            attributes.iter().find(|a| a.name == SOURCE_ATTRIBUTE),
        ) && refresh.delete
        {
            template = template.with_delete_condition(&options.table.name, &table.schema, owner);
        }
        Ok(template)
    }

    /// Checks the conditions of an ordered run: temporary files can be created, and the old
    /// list of a refresh can be parsed.
    async fn check_ordering(&self, algorithm: Algorithm, columns: &ColumnAttributes) -> Result<()> {
        if !self.is_ordered() {
            return Ok(());
        }
        let folder = self.options.read.unpack.work_dir.path();
        tempfile::tempfile_in(&folder).map_err(|e| {
            Error::usage(format!(
                "cannot create temporary files for sorting in {}",
                folder.display()
            ))
            .with_source(e)
            .with_hint("give another folder with --work-dir DIR")
        })?;
        // A pipe can be read only once.
        if self.options.refresh.is_none() || self.old_sources.has_stdin() {
            return Ok(());
        }
        let options = &self.options;
        let objects = Objects::new(&self.old_sources, &self.aws);
        let mut prefetch =
            Prefetch::new(objects, &self.aws, &options.read.unpack, &options.read.form);
        if let Some(old) = prefetch.next().await? {
            old.parser(&options.read.form, algorithm, columns.column_names())?;
        }
        Ok(())
    }
}

/// Checks that the sort key does not come from a column: a hash could then have several
/// items.
fn check_no_row_sort_key(table: &Table, from: &[AttributeFrom]) -> Result<()> {
    let sort = table.schema.sort.as_ref();
    match sort.filter(|key| from.iter().any(|a| a.name == key.name)) {
        None => Ok(()),
        Some(key) => Err(Error::usage(format!(
            "the sort key {:?} of table {} comes from a column, so a hash may have several items; \
             a refresh and --distinct need one item per hash",
            key.name, table.name
        ))
        .with_hint(
            "leave --distinct out; a refresh needs a table whose sort key does not come from a \
             column",
        )),
    }
}
