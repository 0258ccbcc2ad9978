//! Before a run: what a list will take, in lines, write units, time and money.
//!
//! Two halves. [`Planning::run`] drives the reading stages of a run
//! ([`Opened`](crate::list::open::Opened),
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

use crate::commands::plan::forecast::{Assumptions, Forecast, Target};
use crate::commands::plan::shell_commands::Words;

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case};
use crate::commands::item_options::with_release;
use crate::commands::plan::survey::survey;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::item::{ItemTemplate, KeyAttribute};
use crate::dynamodb::prices::Prices;
use crate::dynamodb::table;
use crate::list::format::row_parser::Form;
use crate::list::objects::Objects;
use crate::list::prefetch::Ahead;
use crate::pipeline::contents::settings::Given;
use crate::pipeline::useful::Listed;
use crate::source::decompress::codec::Unpack;
use crate::source::sources::{Globs, Sources};

/// What is to be planned.
#[derive(Debug, Clone)]
pub struct Planning {
    /// The sources, as they were named.
    pub sources: Vec<String>,
    /// Lists of sources, after those named.
    pub manifests: Vec<String>,
    /// Which of the objects under a prefix or in a manifest.
    pub globs: Globs,
    /// How they are compressed.
    pub unpack: Unpack,
    /// Their form.
    pub form: Form,
    /// The table; without one, a text key named as the algorithm is assumed.
    pub table: Option<String>,
    /// The hash algorithm, where it was told.
    pub algorithm: Option<Algorithm>,
    /// The partition key, where it was told.
    pub key: Option<KeyAttribute>,
    /// Case of text keys.
    pub case: Case,
    /// Attributes of every item.
    pub attributes: Vec<Attribute>,
    /// Attributes that each item takes from its row.
    pub attributes_from: Vec<AttributeFrom>,
    /// Whether they include the release of the NSRL database that is read.
    pub attr_from_version: bool,
    /// Whether to read everything.
    pub exact: bool,
    /// A rate to reckon with, in write units a second.
    pub at: Option<f64>,
    /// Regions that hold the table, where that was told.
    pub replicas: Option<u64>,
    /// Global indexes that the items are in, where that was told.
    pub indexes: Option<u64>,
    /// The prices.
    pub prices: Prices,
    /// Flags for the connection, which the commands shown repeat: alike for
    /// hashferry and the AWS command line.
    pub aws_flags: Vec<String>,
    /// Further flags of hashferry alone.
    pub own_flags: Vec<String>,
}

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
        let described = match &self.table {
            // A local DynamoDB makes the table when a run needs it, not before.
            Some(name) if aws.is_local() && !table::exists(aws, name).await? => None,
            Some(name) => match table::describe(aws, name, None).await {
                Err(e) if e.kind() == ErrorKind::Denied => {
                    tracing::warn!(
                        "{e}: reckoning as for a new table, without indexes and replicas (--indexes and \
                         --replicas say otherwise). What to do: {}",
                        e.what_to_do().unwrap_or_default()
                    );
                    None
                }
                described => Some(described?),
            },
            None => None,
        };
        let algorithm = match &described {
            Some(table) => {
                let look = crate::pipeline::contents::scan::look(
                    aws,
                    &table.name,
                    &table.schema.partition,
                )
                .await?;
                let given = Given::by_flags(self.algorithm, self.key.as_ref());
                opened.algorithm_for(table, &look, given, &self.form)?
            }
            None if self.algorithm.is_none() && !opened.beginning.decides() => {
                let by_name = self.table.as_deref().and_then(Algorithm::from_name);
                opened.algorithm(by_name, None)?
            }
            None => opened.algorithm(self.algorithm, None)?,
        };
        let from = &self.attributes_from;
        let mut attributes = self.form.with_rules(&self.attributes, from)?;
        if self.attr_from_version {
            attributes =
                with_release(&attributes, from, &opened, &sources, aws, &self.unpack).await?;
        }
        let mut target = match described {
            Some(table) => Target::described(table, &attributes),
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
}
