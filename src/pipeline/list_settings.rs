//! Algorithm and key case for a list and its table.

use crate::aws::config::Aws;
use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::table::Table;
use crate::list::format::kind::ListOptions;
use crate::list::format::row_parser::RowParser;
use crate::list::open_list::OpenList;
use crate::pipeline::contents::inspection;
use crate::pipeline::contents::inspection::Inspection;
use crate::pipeline::contents::settings::{KeyOptions, KeySettings};

impl OpenList {
    /// Determines the algorithm of the list: as given, by the name of the table's key, by
    /// the length of its keys, or by the list.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it remains unknown, or
    /// if the table contradicts it.
    pub(crate) fn algorithm_for(
        &self,
        table: &Table,
        look: &Inspection,
        given: KeyOptions<'_>,
        form: &ListOptions,
    ) -> Result<Algorithm> {
        let of_list = self.detected.algorithm;
        let known = match form.path_normalizer {
            // All paths are hashed with the same algorithm.
            Some(_) => inspection::check_key_name(table, given).map(|()| given.algorithm)?,
            None => look.algorithm_for_list(table, given, of_list)?,
        };
        let algorithm = self.algorithm(known, Some(&table.schema.partition.name))?;
        look.check_algorithm(algorithm, given)?;
        Ok(algorithm)
    }

    /// Determines the case of text keys:
    /// see [`inspection::case_for`].
    ///
    /// # Errors
    /// As [`inspection::case_for`].
    pub(crate) async fn case_for(
        &self,
        aws: &Aws,
        table: &Table,
        look: &mut Inspection,
        key_settings: KeySettings<'_>,
        form: &ListOptions,
    ) -> Result<Case> {
        let first_hashes = |max| {
            let parser = RowParser::new(self.layout(), form, key_settings.algorithm, &[]);
            // The reader reports a missing column.
            parser.map_or_else(|_| Vec::new(), |parser| self.first_hashes(parser, max))
        };
        inspection::case_for(aws, table, look, key_settings, first_hashes).await
    }
}
