//! Inspection of a table by a Scan of a few items.
//!
//! A look-up in upper case misses every item of a table with lower-case keys, and a write
//! adds each hash a second time. DynamoDB reports no error for either. So before the first
//! write or look-up an inspection reads up to 25 items: case and length of their keys, and
//! the rules and users in a table of paths. They complete the settings that the user left
//! open. A setting that contradicts them is an error.
//!
//! If the items do not show the case, [`CaseDetector`] also looks up hashes in the other
//! case, until the table has one.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::client::operation::PreparedOperation;
use crate::dynamodb::key_schema::KeyType;
use crate::dynamodb::table::Table;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::settings::{KeyCase, KeyOptions, KeySettings, SettingSyntax};

use crate::pipeline::contents::case_detection::{CaseDetector, detect_case};
use crate::pipeline::contents::items::InspectedItems;

/// Inspection of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inspection {
    /// Facts from its items, or the error of Scan.
    items: Result<InspectedItems, String>,
    pub(crate) consumed_rcu: f64,
    /// True if neither the items nor a look-up showed the case of the keys.
    is_case_unknown: bool,
}

impl Inspection {
    pub(super) fn new(items: Result<InspectedItems, String>, consumed_rcu: f64) -> Inspection {
        Inspection {
            items,
            consumed_rcu,
            is_case_unknown: false,
        }
    }

    fn contents(&self) -> Option<&InspectedItems> {
        self.items.as_ref().ok()
    }

    /// As [`InspectedItems::algorithm`], and logs the algorithm.
    fn algorithm(&self) -> Option<Algorithm> {
        let contents = self.contents()?;
        let shown = contents.algorithm()?;
        tracing::info!(
            "using {shown} for table {}, by the length of its keys (--hash sets another)",
            contents.table
        );
        Some(shown)
    }

    /// Algorithm for reading a list: as given, or by the length of the table's keys. `None`
    /// if the key's name decides, or if `of_list` has the length of the keys.
    ///
    /// # Errors
    /// As [`check_key_name`].
    pub(crate) fn algorithm_for_list(
        &self,
        table: &Table,
        given: KeyOptions<'_>,
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

    /// Algorithm of look-ups: as given, else by the key's name, else by the length of the
    /// table's keys.
    ///
    /// # Errors
    /// As [`check_key_name`] and [`check_algorithm`](Self::check_algorithm).
    pub(crate) fn algorithm_for_table(
        &self,
        table: &Table,
        given: KeyOptions<'_>,
    ) -> Result<Option<Algorithm>> {
        check_key_name(table, given)?;
        let named = || Algorithm::from_name(&table.schema.partition.name);
        let algorithm = given.algorithm.or_else(named).or_else(|| self.algorithm());
        if let Some(algorithm) = algorithm {
            self.check_algorithm(algorithm, given)?;
        }
        Ok(algorithm)
    }

    /// See [`InspectedItems::check_algorithm`].
    ///
    /// # Errors
    /// As [`InspectedItems::check_algorithm`].
    pub(crate) fn check_algorithm(
        &self,
        algorithm: Algorithm,
        given: KeyOptions<'_>,
    ) -> Result<()> {
        match self.contents() {
            Some(contents) => contents.check_algorithm(algorithm, given),
            None => Ok(()),
        }
    }

    /// See [`InspectedItems::case`].
    ///
    /// # Errors
    /// As [`InspectedItems::case`].
    pub(crate) fn case(&self, given: Option<Case>, settings: SettingSyntax) -> Result<KeyCase> {
        match self.contents() {
            Some(contents) => contents.case(given, settings),
            None => Ok(KeyCase::Unknown(given)),
        }
    }

    /// See [`InspectedItems::normalizer`].
    ///
    /// # Errors
    /// As [`InspectedItems::normalizer`].
    pub(crate) fn normalizer(
        &self,
        given: &GivenRules,
        settings: SettingSyntax,
    ) -> Result<Normalizer> {
        match self.contents() {
            Some(contents) => contents.normalizer(given, settings),
            None => given.normalizer(),
        }
    }

    /// Warns if no hash was found and `table` may have them in the other case.
    pub(crate) fn warn_about_case(&self, case: Case, table: &str, found: u64, missing: u64) {
        if self.is_case_unknown && found == 0 && missing > 0 {
            let (case, other) = match case {
                Case::Upper => ("upper", "lower"),
                Case::Lower => ("lower", "upper"),
            };
            tracing::warn!(
                "found none of {missing} hashes in table {table}, looked up in {case} case: if its keys are in \
                 {other} case, give --case {other}"
            );
        }
    }

    /// Logs that `table` could not be inspected, or, if `is_read` is set, that it is empty.
    pub(crate) fn log(&self, table: &Table, is_read: bool) {
        let name = &table.name;
        match &self.items {
            Ok(contents) if contents.item_count == 0 && is_read => {
                tracing::warn!("table {name} is empty");
            }
            Err(why) if table.schema.partition.kind == KeyType::S => tracing::info!(
                "cannot inspect the items of table {name}: {why}. Hashes are looked up in both cases instead; \
                 permission for dynamodb:Scan on the table avoids that"
            ),
            _ => {}
        }
    }
}

/// Checks the given algorithm against the key of `table`, unless that key is given, too.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the key has the name of
/// another algorithm; the hint has the flag that fits.
pub(crate) fn check_key_name(table: &Table, given: KeyOptions<'_>) -> Result<()> {
    let key = table.schema.partition.name.as_str();
    let named = Algorithm::from_name(key);
    let (Some(algorithm), Some(named)) = (given.algorithm, named) else {
        return Ok(());
    };
    if algorithm == named || given.is_confirmed(key) {
        return Ok(());
    }
    let confirm = given.syntax.with_values(&[("--key", key)]);
    Err(Error::usage(format!(
        "{algorithm} does not fit table {}: its partition key is named {key}",
        table.name
    ))
    .with_hint(format!(
        "leave --hash out, or give a table of {algorithm} hashes; give {confirm} as well to use this table \
         anyway"
    )))
}

/// Determines the case of the text keys of `table`: by an [`Inspection`], else by a look-up
/// of the first hashes of a list, else as given, else upper. Adds the RCU of the look-up to
/// `look`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the table contradicts the
/// given case, or if it has keys in both cases and no case is given.
pub(crate) async fn case_for(
    aws: &Aws,
    table: &Table,
    look: &mut Inspection,
    key_settings: KeySettings<'_>,
    first_hashes: impl FnOnce(usize) -> Vec<Hash>,
) -> Result<Case> {
    let case = look.case(key_settings.case, SettingSyntax::Flags)?;
    let open = match case {
        KeyCase::Known(case) => return Ok(case),
        KeyCase::Both => return Err(both_cases_error(&table.name)),
        KeyCase::Unknown(given) => given,
    };
    if look
        .contents()
        .is_some_and(|contents| contents.item_count == 0)
    {
        return Ok(open.unwrap_or_default());
    }
    look.is_case_unknown = true;
    let either = CaseDetector::new(
        &table.name,
        &table.schema,
        key_settings.algorithm,
        case,
        key_settings.attributes,
        SettingSyntax::Flags,
    );
    // Without the value of the sort key no item can be looked up.
    let Ok(either) = either else {
        return Ok(open.unwrap_or_default());
    };
    let operation = PreparedOperation::new(aws, "BatchGetItem", &table.name)?;
    let (shown, read_units) = detect_case(&either, &operation, &first_hashes(MAX_GET_KEYS)).await?;
    look.consumed_rcu += read_units;
    look.is_case_unknown = shown.is_none();
    Ok(shown.or(open).unwrap_or_default())
}

/// Error for a table with keys in both cases if no case is given.
fn both_cases_error(table: &str) -> Error {
    Error::usage(format!(
        "table {table} has hashes in upper and in lower case"
    ))
    .with_hint("give --case upper or --case lower: hashes in the other case are not found")
}

#[cfg(test)]
mod tests;
