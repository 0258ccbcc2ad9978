//! A list and the table that it is for: the algorithm and the case of the keys.

use crate::aws::config::Aws;
use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::table::Table;
use crate::list::format::kind::Form;
use crate::list::format::row_parser::RowParser;
use crate::list::opened::Opened;
use crate::pipeline::contents::look;
use crate::pipeline::contents::look::Look;
use crate::pipeline::contents::settings::{Given, Told};

impl Opened {
    /// The algorithm that the list is read for: as given, as the key of `table` is named,
    /// as its keys show, or as the list shows.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when nothing says it, or when
    /// the table contradicts it.
    pub(crate) fn algorithm_for(
        &self,
        table: &Table,
        look: &Look,
        given: Given<'_>,
        form: &Form,
    ) -> Result<Algorithm> {
        let of_list = self.beginning.algorithm;
        let told = match form.paths {
            // The hash of a path is always of one algorithm.
            Some(_) => look::check_key_name(table, given).map(|()| given.algorithm)?,
            None => look.algorithm_of_list(table, given, of_list)?,
        };
        let algorithm = self.algorithm(told, Some(&table.schema.partition.name))?;
        look.check_algorithm(algorithm, given)?;
        Ok(algorithm)
    }

    /// See [`contents::case_for`](crate::pipeline::contents::look::case_for).
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn case_for(
        &self,
        aws: &Aws,
        table: &Table,
        look: &mut Look,
        told: Told<'_>,
        form: &Form,
    ) -> Result<Case> {
        let first_hashes = |most| {
            let parser = RowParser::new(self.layout(), form, told.algorithm, &[]);
            // A column that is missing is an error of what reads the list.
            parser.map_or_else(|_| Vec::new(), |parser| self.first_hashes(parser, most))
        };
        look::case_for(aws, table, look, told, first_hashes).await
    }
}
