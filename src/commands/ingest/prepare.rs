//! The preparation of a run: everything that must be known before the first write.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case};
use crate::commands::ingest::checkpointing::Keeping;
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::sink::Sink;
use crate::commands::item_options::{with_release, with_rules};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::table::Table;
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::prefetch::Ahead;
use crate::pipeline::contents::look::Look;
use crate::pipeline::contents::settings::{Given, Told};
use crate::pipeline::contents::{rules, scan};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::reader::Beginning;
use crate::pipeline::rejects::Rejects;

/// The attribute whose value says which list an item is of.
const SOURCE: &str = "source";

/// What is known before the first write.
pub(super) struct Prepared {
    /// Nothing when an earlier run has read everything.
    pub(super) beginning: Option<Beginning>,
    pub(super) ahead: Ahead,
    pub(super) table: Table,
    pub(super) template: ItemTemplate,
    pub(super) columns: Columns,
    pub(super) rejects: Rejects,
    pub(super) sink: Sink,
    /// The one that the run is taken up by.
    pub(super) checkpoint: Option<Checkpoint>,
    /// How the run's own is kept.
    pub(super) keeping: Option<Keeping>,
}

impl Ingest {
    /// Takes the rules of a list of paths that are left open from the table's items.
    pub(super) async fn look_for_rules(&mut self) -> Result<Option<Look>> {
        let (with, given) = (&self.with, self.with.given_rules());
        let (key, stop) = (with.key.as_ref(), &with.stop);
        let (rules, look) =
            rules::rules_for(&self.aws, &with.table, key, given.as_ref(), stop).await?;
        self.with.form.paths = rules.or(self.with.form.paths.take());
        Ok(look)
    }

    /// Everything that must be known before the first write.
    pub(super) async fn prepare(&self, look: Option<Look>) -> Result<Prepared> {
        let with = &self.with;
        if self.sources.has_stdin() || self.from.has_stdin() {
            tracing::info!("reading standard input");
        }
        let (opened, ahead) = self.open_first().await?;
        let table = self.table(&opened).await?;
        let mut look = match look {
            Some(look) => look,
            None => scan::look(&self.aws, &table.name, &table.schema.partition).await?,
        };
        look.say(&table, false);
        let given = Given::by_flags(with.algorithm, with.key.as_ref());
        let algorithm = opened.algorithm_for(&table, &look, given, &with.form)?;
        let attributes = self.attributes(&opened).await?;
        let told = Told {
            algorithm,
            case: with.case,
            attributes: &attributes,
        };
        let case = opened
            .case_for(&self.aws, &table, &mut look, told, &with.form)
            .await?;
        let template = self.template(&table, algorithm, case, &attributes)?;
        if self.is_arranged() || with.distinct == Distinct::Sorted {
            refuse_row_key(&table, &with.attributes_from)?;
        }
        let columns = Columns::new(
            &with.table,
            &table.schema,
            &with.attributes_from,
            template.item_bytes(),
        )?;
        // What its columns lack must be known before the first write.
        opened.parser(&with.form, algorithm, columns.wanted())?;
        self.can_be_arranged(algorithm, &columns).await?;
        let (keeping, checkpoint) =
            match self.keeping(&opened.identity(), &table, &template).await? {
                Some((keeping, checkpoint)) => (Some(keeping), checkpoint),
                None => (None, None),
            };
        let (beginning, ahead) = self
            .start(
                opened,
                ahead,
                checkpoint.as_ref(),
                keeping.as_ref(),
                algorithm,
            )
            .await?;
        let rejects = self.rejects(checkpoint.as_ref())?;
        let sink = Sink::of(self, &template)?;
        match (&keeping, &checkpoint, &beginning) {
            (Some(keeping), Some(checkpoint), _) => {
                keeping.store.claim(checkpoint, &self.aws).await?;
            }
            (Some(keeping), None, Some(beginning)) => {
                self.save_first(keeping, beginning, &rejects).await?;
            }
            _ => {}
        }
        Ok(Prepared {
            beginning,
            ahead,
            table,
            template,
            columns,
            rejects,
            sink,
            checkpoint,
            keeping,
        })
    }

    /// Opens the first source, with those that come after it.
    async fn open_first(&self) -> Result<(Opened, Ahead)> {
        let with = &self.with;
        let objects = Objects::new(&self.sources, &self.aws);
        let mut ahead = Ahead::new(objects, &self.aws, &with.unpack, &with.form);
        let Some(opened) = ahead.next().await? else {
            return Err(Error::usage(
                "there is nothing to read: the sources name no object",
            ));
        };
        Ok((opened, ahead))
    }

    /// The table, described, or assumed where that is denied; made for the algorithm of the
    /// list where a local DynamoDB makes it.
    async fn table(&self, opened: &Opened) -> Result<Table> {
        let with = &self.with;
        // For a table that a local DynamoDB is to make: its name says more than a list that
        // may be a wrong one.
        let named = with.algorithm.or(Algorithm::from_name(&with.table));
        let make_for = named.or(opened.beginning.algorithm);
        match crate::dynamodb::describe_table::describe(&self.aws, &with.table, make_for).await {
            Err(e) if e.kind() == ErrorKind::Denied && with.raise_to.is_none() => {
                crate::dynamodb::describe_table::assumed(e, &with.table, with.key.clone(), make_for)
            }
            described => described,
        }
    }

    /// The attributes that every item gets: as given, of the rules, of the release.
    async fn attributes(&self, opened: &Opened) -> Result<Vec<Attribute>> {
        let with = &self.with;
        let (given, from) = (&with.attributes, &with.attributes_from);
        let mut attributes = with_rules(&with.form, given, from)?;
        if with.attr_from_version {
            let (sources, unpack) = (&self.sources, &with.unpack);
            attributes =
                with_release(&attributes, from, opened, sources, &self.aws, unpack).await?;
        }
        Ok(attributes)
    }

    /// The template of the items; of a refresh, with the condition of its deletes.
    fn template(
        &self,
        table: &Table,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
    ) -> Result<ItemTemplate> {
        let with = &self.with;
        let mut template = ItemTemplate::with_columns(
            &with.table,
            &table.schema,
            algorithm,
            case,
            attributes,
            &with.attributes_from,
        )?;
        if let (Some(refresh), Some(owner)) =
            (&with.refresh, attributes.iter().find(|a| a.name == SOURCE))
            && refresh.delete
        {
            template = template.deleting_only(&with.table, &table.schema, owner);
        }
        Ok(template)
    }

    /// Checks what must be known before the first write: that temporary files can be
    /// made, and that the old list of a refresh is one.
    async fn can_be_arranged(&self, algorithm: Algorithm, columns: &Columns) -> Result<()> {
        if !self.is_arranged() {
            return Ok(());
        }
        let folder = self.with.unpack.work.path();
        tempfile::tempfile_in(&folder).map_err(|e| {
            Error::usage(format!(
                "cannot make temporary files in {}, where hashes are sorted",
                folder.display()
            ))
            .because(e)
            .hint("name another folder by --work-dir DIR")
        })?;
        // What comes through a pipe comes once.
        if self.with.refresh.is_none() || self.from.has_stdin() {
            return Ok(());
        }
        let with = &self.with;
        let objects = Objects::new(&self.from, &self.aws);
        let mut ahead = Ahead::new(objects, &self.aws, &with.unpack, &with.form);
        if let Some(old) = ahead.next().await? {
            old.parser(&with.form, algorithm, columns.wanted())?;
        }
        Ok(())
    }
}

/// A sort key from a column goes with the hash: there is more than one item a hash.
fn refuse_row_key(table: &Table, from: &[AttributeFrom]) -> Result<()> {
    let sort = table.schema.sort.as_ref();
    match sort.filter(|key| from.iter().any(|a| a.name == key.name)) {
        None => Ok(()),
        Some(key) => Err(Error::usage(format!(
            "the sort key {:?} of table {} is taken from a column, so that a hash may have several items, and \
             each hash is to be taken once",
            key.name, table.name
        ))
        .hint("leave --distinct out; a refresh needs a table without such a key")),
    }
}
