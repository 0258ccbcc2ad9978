//! The contents of a table, as a Scan of a few of its items shows them.
//!
//! A question in upper case to a table of lower-case keys misses every item, and a write
//! puts each hash in a second time. Neither is an error to DynamoDB. So before the first
//! write or question `look` reads up to 25 items: the case and the length of
//! their keys, and in a table of paths the rules and users. What a person left open is
//! taken from them. What contradicts them ends the run.
//!
//! Where the items do not show the case, [`EitherCase`] asks for a hash in the other case
//! as well, until the table holds one.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::key_schema::KeyType;
use crate::dynamodb::table::Table;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::settings::{Given, KeyCase, Settings, Told};

use crate::pipeline::contents::either_case::{EitherCase, case_by_keys};
use crate::pipeline::contents::items::Contents;

/// A look at a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    /// Its items, or why Scan did not show them.
    seen: Result<Contents, String>,
    /// Read units consumed.
    pub(crate) read_units: f64,
    /// Whether neither the items nor a question showed the case of the keys.
    is_case_open: bool,
}

impl Look {
    pub(super) fn new(seen: Result<Contents, String>, read_units: f64) -> Look {
        Look {
            seen,
            read_units,
            is_case_open: false,
        }
    }

    fn contents(&self) -> Option<&Contents> {
        self.seen.as_ref().ok()
    }

    /// See [`Contents::algorithm`]. Says what it takes.
    fn algorithm(&self) -> Option<Algorithm> {
        let contents = self.contents()?;
        let shown = contents.algorithm()?;
        tracing::info!(
            "taking the keys of table {} for {shown}, by their length (--hash says otherwise)",
            contents.table
        );
        Some(shown)
    }

    /// The algorithm that a list is read for: as given; else nothing where the key's name
    /// says it; else as the table's keys show, unless `of_list` has their length.
    ///
    /// # Errors
    /// As [`check_key_name`].
    pub(crate) fn algorithm_of_list(
        &self,
        table: &Table,
        given: Given<'_>,
        of_list: Option<Algorithm>,
    ) -> Result<Option<Algorithm>> {
        check_key_name(table, given)?;
        let shown = || {
            let shown = self.contents()?.algorithm()?;
            let is_other = of_list.is_none_or(|a| a.bytes() != shown.bytes());
            is_other.then(|| self.algorithm())?
        };
        let is_named = Algorithm::from_name(&table.schema.partition.name).is_some();
        let or_shown = || if is_named { None } else { shown() };
        Ok(given.algorithm.or_else(or_shown))
    }

    /// The algorithm of questions: as given; else as the key is named; else as the table's
    /// keys show.
    ///
    /// # Errors
    /// As [`check_key_name`] and [`check_algorithm`](Self::check_algorithm).
    pub(crate) fn algorithm_of_table(
        &self,
        table: &Table,
        given: Given<'_>,
    ) -> Result<Option<Algorithm>> {
        check_key_name(table, given)?;
        let named = || Algorithm::from_name(&table.schema.partition.name);
        let algorithm = given.algorithm.or_else(named).or_else(|| self.algorithm());
        if let Some(algorithm) = algorithm {
            self.check_algorithm(algorithm, given)?;
        }
        Ok(algorithm)
    }

    /// See [`Contents::check_algorithm`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check_algorithm(&self, algorithm: Algorithm, given: Given<'_>) -> Result<()> {
        match self.contents() {
            Some(contents) => contents.check_algorithm(algorithm, given),
            None => Ok(()),
        }
    }

    /// See [`Contents::case`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn case(&self, told: Option<Case>, settings: Settings) -> Result<KeyCase> {
        match self.contents() {
            Some(contents) => contents.case(told, settings),
            None => Ok(KeyCase::Open(told)),
        }
    }

    /// See [`Contents::rules`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn rules(&self, given: &GivenRules, settings: Settings) -> Result<Normalizer> {
        match self.contents() {
            Some(contents) => contents.rules(given, settings),
            None => given.normalizer(),
        }
    }

    /// Says that none of the hashes was found, where `table` may hold them in the other case.
    pub(crate) fn hint_at_case(&self, case: Case, table: &str, found: u64, missing: u64) {
        if self.is_case_open && found == 0 && missing > 0 {
            let (case, other) = match case {
                Case::Upper => ("upper", "lower"),
                Case::Lower => ("lower", "upper"),
            };
            tracing::warn!(
                "found none of {missing} hashes in table {table}, asked for in {case} case: if its keys are in \
                 {other} case, give --case {other}"
            );
        }
    }

    /// Says that `table` could not be looked at, or that it is empty where it `is_asked`.
    pub(crate) fn say(&self, table: &Table, is_asked: bool) {
        let name = &table.name;
        match &self.seen {
            Ok(contents) if contents.items == 0 && is_asked => {
                tracing::warn!("table {name} is empty");
            }
            Err(why) if table.schema.partition.kind == KeyType::S => tracing::info!(
                "cannot look at the items of table {name}: {why}. Hashes are asked for in both cases instead; \
                 dynamodb:Scan on the table saves that"
            ),
            _ => {}
        }
    }
}

/// Refuses an algorithm that is given where the key of `table` is named as another one,
/// unless that key is given, too.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), with the flag that fits.
pub(crate) fn check_key_name(table: &Table, given: Given<'_>) -> Result<()> {
    let key = table.schema.partition.name.as_str();
    let named = Algorithm::from_name(key);
    let (Some(algorithm), Some(named)) = (given.algorithm, named) else {
        return Ok(());
    };
    if algorithm == named || given.is_confirmed(key) {
        return Ok(());
    }
    let confirm = given.settings.written(&[("--key", key)]);
    Err(Error::usage(format!(
        "{algorithm} does not fit table {}: its partition key is named {key}",
        table.name
    ))
    .hint(format!(
        "leave --hash out, or name the table of {algorithm} hashes; give {confirm} as well when this table is \
         meant all the same"
    )))
}

/// The case of the text keys of `table`: as a [`Look`] showed it, else as a question for the
/// first hashes of a list shows it, else as it is told, else upper. What the question
/// consumes is added to the look's.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when the table contradicts what is told, or when it holds keys of
/// both cases and nothing is told.
pub(crate) async fn case_for(
    aws: &Aws,
    table: &Table,
    look: &mut Look,
    told: Told<'_>,
    first_hashes: impl FnOnce(usize) -> Vec<Hash>,
) -> Result<Case> {
    let case = look.case(told.case, Settings::Flags)?;
    let open = match case {
        KeyCase::Known(case) => return Ok(case),
        KeyCase::Both => return Err(both_cases(&table.name)),
        KeyCase::Open(told) => told,
    };
    if look.contents().is_some_and(|contents| contents.items == 0) {
        return Ok(open.unwrap_or_default());
    }
    look.is_case_open = true;
    let either = EitherCase::new(
        &table.name,
        &table.schema,
        told.algorithm,
        case,
        told.attributes,
        Settings::Flags,
    );
    // Without the sort key's value no item can be asked for.
    let Ok(either) = either else {
        return Ok(open.unwrap_or_default());
    };
    let operation = RawOperation::new(aws, "BatchGetItem", &table.name)?;
    let (shown, read_units) =
        case_by_keys(&either, &operation, &first_hashes(MAX_GET_KEYS)).await?;
    look.read_units += read_units;
    look.is_case_open = shown.is_none();
    Ok(shown.or(open).unwrap_or_default())
}

/// The refusal of a table of both cases where none is told.
fn both_cases(table: &str) -> Error {
    Error::usage(format!(
        "table {table} holds hashes in upper and in lower case"
    ))
    .hint("give --case upper or --case lower: what is there in the other case is not found")
}

#[cfg(test)]
mod tests;
