//! Preparation of a look-up: its backend, its hash algorithm and the parser of its lines.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::commands::lookup::api_backend::ApiBackend;
use crate::commands::lookup::api_probe;
use crate::commands::lookup::backend::RulesCheck;
use crate::commands::lookup::input::Input;
use crate::commands::lookup::options::Lookup;
use crate::commands::lookup::query::QueryParser;
use crate::commands::lookup::table_backend::TableBackend;
use crate::dynamodb::client::operation::PreparedOperation;
use crate::dynamodb::table::Table;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::case_detection::CaseDetector;
use crate::pipeline::contents::scan;
use crate::pipeline::contents::settings::{KeyOptions, SettingSyntax};

/// The parts of a run that exist before the first query.
pub(super) struct Prepared {
    pub(super) input: Input,
    pub(super) backend: PreparedBackend,
    pub(super) algorithm: Algorithm,
    /// Path rules. `None` if the list is a list of hashes.
    pub(super) paths: Option<Normalizer>,
    pub(super) parser: QueryParser,
}

/// The backend, with the table or with the maximum number of tries of a hash.
pub(super) enum PreparedBackend {
    Table(Box<TableBackend<PreparedOperation>>, Box<Table>),
    Api(Box<ApiBackend>, u32),
}

impl Lookup {
    /// Opens the list and prepares the backend, before the first query.
    pub(super) async fn prepare(&self) -> Result<Prepared> {
        let options = &self.options;
        if self.sources.has_stdin() {
            tracing::info!("reading standard input");
        }
        let mut input = Input::open(&self.sources, &self.aws, &options.unpack).await?;
        let given_algorithm = match options.paths {
            Some(_) => Some(Algorithm::Sha256),
            None => options.table.algorithm,
        };
        let (backend, algorithm, paths) = match &options.api {
            Some(api) => {
                let algorithm = match given_algorithm.or_else(|| api.algorithm()) {
                    Some(algorithm) => algorithm,
                    None => input.algorithm().await?,
                };
                let given = options.paths.as_ref();
                let paths = given.map(GivenRules::normalizer).transpose()?;
                let rules = paths.as_ref().map(RulesCheck::from_normalizer);
                let backend =
                    api.backend(algorithm, options.table.case.unwrap_or_default(), rules)?;
                if !input.is_empty().await? {
                    api_probe::run(&backend, api.max_tries(), options.run.give_up_after).await?;
                }
                let backend = PreparedBackend::Api(Box::new(backend), api.max_tries());
                (backend, algorithm, paths)
            }
            None => self.prepare_table(&mut input, given_algorithm).await?,
        };
        let parser = match &paths {
            Some(normalizer) => QueryParser::for_paths(normalizer.clone()),
            None => QueryParser::for_hashes(algorithm)?,
        };
        Ok(Prepared {
            input,
            backend,
            algorithm,
            paths,
            parser,
        })
    }

    /// The table as backend, the algorithm of its hashes, and its path rules.
    async fn prepare_table(
        &self,
        input: &mut Input,
        given_algorithm: Option<Algorithm>,
    ) -> Result<(PreparedBackend, Algorithm, Option<Normalizer>)> {
        let options = &self.options;
        let table = match crate::dynamodb::describe_table::describe_table(
            &self.aws,
            &options.table.name,
            None,
        )
        .await
        {
            Err(e) if e.kind() == ErrorKind::Denied => {
                let algorithm = match (given_algorithm, &options.table.key) {
                    (None, None) => Some(input.algorithm().await?),
                    _ => given_algorithm,
                };
                let key = options.table.key.clone();
                crate::dynamodb::describe_table::assume_table(
                    e,
                    &options.table.name,
                    key,
                    algorithm,
                )?
            }
            described => described?,
        };
        let key = &table.schema.partition.name;
        if options.paths.is_some()
            && Algorithm::from_name(key).is_some_and(|named| given_algorithm != Some(named))
        {
            let problem = format!(
                "paths are looked up by their SHA-256, but the partition key of table {} is {key}",
                table.name
            );
            return Err(
                Error::usage(problem).with_hint("give a table that ingest --paths has filled")
            );
        }
        let look = scan::inspect(&self.aws, &table.name, &table.schema.partition).await?;
        look.log(&table, true);
        let given = KeyOptions::from_flags(given_algorithm, options.table.key.as_ref());
        let algorithm = match look.algorithm_for_table(&table, given)? {
            Some(algorithm) => algorithm,
            None => {
                let detected = input.algorithm().await?;
                look.check_algorithm(detected, given)?;
                detected
            }
        };
        let given = options.paths.as_ref();
        let paths = given.map(|given| look.normalizer(given, SettingSyntax::Flags));
        let paths = paths.transpose()?;
        let backend = TableBackend {
            table: PreparedOperation::new(&self.aws, "BatchGetItem", &options.table.name)?,
            name: options.table.name.clone(),
            either_case: CaseDetector::new(
                &options.table.name,
                &table.schema,
                algorithm,
                look.case(options.table.case, SettingSyntax::Flags)?,
                &options.table.attributes,
                SettingSyntax::Flags,
            )?,
            consistent: options.consistent,
            rules: paths.as_ref().map(RulesCheck::from_normalizer),
        };
        let counters = self.watch.counters();
        counters.update(|c| c.consumed_rcu += look.consumed_rcu);
        let backend = PreparedBackend::Table(Box::new(backend), Box::new(table));
        Ok((backend, algorithm, paths))
    }
}
