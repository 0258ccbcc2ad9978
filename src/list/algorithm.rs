//! The algorithm of a list: from the options, the partition key's name, or the list itself.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::printable;
use crate::list::detect;
use crate::list::format::kind::Format;
use crate::list::open_list::OpenList;
#[cfg(feature = "rds")]
use crate::list::open_list::Text;

impl OpenList {
    /// Returns the algorithm of the list: the `requested` one, else the one that the
    /// partition key `key` names, else the one of the first hash.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if none of these decides,
    /// or if a database has no column of the algorithm.
    pub fn algorithm(&self, requested: Option<Algorithm>, key: Option<&str>) -> Result<Algorithm> {
        let algorithm = self.named_or_detected(requested, key)?;
        #[cfg(feature = "rds")]
        if let Text::Database(database) = &self.text {
            database.schema().column(&self.name(), algorithm)?;
        }
        Ok(algorithm)
    }

    fn named_or_detected(
        &self,
        requested: Option<Algorithm>,
        key: Option<&str>,
    ) -> Result<Algorithm> {
        let key = key.and_then(|key| Some((key, Algorithm::from_name(key)?)));
        if let Some(requested) = requested {
            if let Some((key, named)) = key.filter(|(_, named)| *named != requested) {
                tracing::warn!(
                    "the partition key {key} is named after {named}; reading the list as {requested} as requested"
                );
            }
            return Ok(requested);
        }
        if let Some((_, named)) = key {
            return Ok(named);
        }
        if self.layout().format == Format::Paths {
            return Ok(Algorithm::Sha256);
        }
        if let Some(seen) = self.detected.algorithm {
            if self.identity.is_database {
                tracing::info!("reading column {seen} (choose another with --hash)");
                return Ok(seen);
            }
            tracing::info!(
                "reading the list as {seen}, by {} (change with --hash)",
                match self.representative().1.columns.is_empty() {
                    true => "the length of its first hash",
                    false => "the names of its columns",
                }
            );
            return Ok(seen);
        }
        let (name, layout) = self.representative();
        let is_empty = self.ended && self.peeked.iter().all(|c| c.bytes.is_empty());
        if is_empty && self.first_with_rows.is_none() {
            return Ok(Algorithm::Sha256);
        }
        if !self.detected.candidates.is_empty() {
            let each = self.detected.candidates.iter();
            let columns: Vec<String> = each.map(|(a, column)| format!("{a} ({column})")).collect();
            return Err(Error::usage(format!(
                "{name} has hash columns of several algorithms: {}",
                printable::short_names(&columns)
            ))
            .with_hint(
                "choose one with --hash, such as --hash sha256, or a column with --column",
            ));
        }
        let columns = &layout.columns;
        if !columns.is_empty() {
            return Err(Error::usage(format!(
                "no column of {name} is named for hashes; the columns are {}",
                columns.join(", ")
            ))
            .with_hint(
                "give the column with --column (name or number), or a JSON field with --field, and the \
                 algorithm with --hash",
            ));
        }
        let first = match &self.detected.first_line {
            Some(line) => format!("its first line is {line}"),
            None => "they hold only blank lines and comments".to_owned(),
        };
        Err(Error::usage(format!(
            "found no hash in the first {} KiB of {name}: {first}",
            detect::PEEK_BYTES / 1024,
        ))
        .with_hint("give the algorithm with --hash, such as --hash sha256"))
    }
}
