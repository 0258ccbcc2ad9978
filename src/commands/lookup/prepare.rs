//! Preparation of a look-up: whom it asks, for hashes of which algorithm, by which questions.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::lookup::api_backend::ApiOracle;
use crate::commands::lookup::api_probe;
use crate::commands::lookup::backend::AskedBy;
use crate::commands::lookup::input::Input;
use crate::commands::lookup::options::Lookup;
use crate::commands::lookup::query::Questions;
use crate::commands::lookup::table_backend::TableOracle;
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::table::Table;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::either_case::EitherCase;
use crate::pipeline::contents::scan;
use crate::pipeline::contents::settings::{Given, Settings};

/// What is known before the first question.
pub(super) struct Prepared {
    pub(super) input: Input,
    pub(super) whom: Whom,
    pub(super) algorithm: Algorithm,
    /// Of a list of paths.
    pub(super) paths: Option<Normalizer>,
    pub(super) questions: Questions,
}

/// Who is asked.
pub(super) enum Whom {
    Table(Box<TableOracle<RawOperation>>, Box<Table>),
    Api(Box<ApiOracle>, u32),
}

impl Lookup {
    /// Everything that must be known before the first question.
    pub(super) async fn prepare(&self) -> Result<Prepared> {
        let with = &self.with;
        if self.sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let mut input = Input::open(&self.sources, &self.aws, &with.unpack).await?;
        let told = match with.paths {
            Some(_) => Some(Algorithm::Sha256),
            None => with.algorithm,
        };
        let (whom, algorithm, paths) = match &with.api {
            Some(api) => {
                let named = told.or_else(|| api.algorithm());
                let algorithm = match named {
                    Some(algorithm) => algorithm,
                    None => input.algorithm().await?,
                };
                let given = with.paths.as_ref();
                let paths = given.map(GivenRules::normalizer).transpose()?;
                let rules = paths.as_ref().map(AskedBy::of);
                let oracle = api.oracle(algorithm, with.case.unwrap_or_default(), rules)?;
                if !input.is_empty().await? {
                    api_probe::run(&oracle, api.most_tries(), with.give_up_after).await?;
                }
                let whom = Whom::Api(Box::new(oracle), api.most_tries());
                (whom, algorithm, paths)
            }
            None => self.prepare_table(&mut input, told).await?,
        };
        let questions = match &paths {
            Some(normalizer) => Questions::of_paths(normalizer.clone()),
            None => Questions::of_hashes(algorithm)?,
        };
        Ok(Prepared {
            input,
            whom,
            algorithm,
            paths,
            questions,
        })
    }

    /// The table to ask, the algorithm of its hashes, and how paths are normalised for it.
    async fn prepare_table(
        &self,
        input: &mut Input,
        told: Option<Algorithm>,
    ) -> Result<(Whom, Algorithm, Option<Normalizer>)> {
        let with = &self.with;
        let table = match crate::dynamodb::describe_table::describe(&self.aws, &with.table, None)
            .await
        {
            Err(e) if e.kind() == ErrorKind::Denied => {
                let shown = match (told, &with.key) {
                    (None, None) => Some(input.algorithm().await?),
                    _ => told,
                };
                crate::dynamodb::describe_table::assumed(e, &with.table, with.key.clone(), shown)?
            }
            described => described?,
        };
        let key = &table.schema.partition.name;
        if with.paths.is_some()
            && Algorithm::from_name(key).is_some_and(|named| told != Some(named))
        {
            let what = format!(
                "paths are looked up by their SHA-256, and the partition key of table {} is {key}",
                table.name
            );
            return Err(Error::usage(what).hint("name a table that ingest --paths has made"));
        }
        let look = scan::look(&self.aws, &table.name, &table.schema.partition).await?;
        look.say(&table, true);
        let given = Given::by_flags(told, with.key.as_ref());
        let algorithm = match look.algorithm_of_table(&table, given)? {
            Some(algorithm) => algorithm,
            None => {
                let shown = input.algorithm().await?;
                look.check_algorithm(shown, given)?;
                shown
            }
        };
        let given = with.paths.as_ref();
        let paths = given.map(|given| look.rules(given, Settings::Flags));
        let paths = paths.transpose()?;
        let oracle = TableOracle {
            table: RawOperation::new(&self.aws, "BatchGetItem", &with.table)?,
            name: with.table.clone(),
            questions: EitherCase::new(
                &with.table,
                &table.schema,
                algorithm,
                look.case(with.case, Settings::Flags)?,
                &with.attributes,
                Settings::Flags,
            )?,
            consistent: with.consistent,
            rules: paths.as_ref().map(AskedBy::of),
        };
        let meters = self.watch.meters();
        meters.update(|c| c.consumed += look.read_units);
        let whom = Whom::Table(Box::new(oracle), Box::new(table));
        Ok((whom, algorithm, paths))
    }
}
