//! The algorithm of a list: as told, as the table's partition key is named, or as the list shows.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::printable;
use crate::list::detect;
use crate::list::format::kind::Format;
use crate::list::opened::Opened;
#[cfg(feature = "rds")]
use crate::list::opened::Text;

impl Opened {
    /// The algorithm of the list: as `told`, as the table's partition key is
    /// named (`key`), or as the first hash shows.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when nothing says it.
    pub fn algorithm(&self, told: Option<Algorithm>, key: Option<&str>) -> Result<Algorithm> {
        let algorithm = self.named_or_seen(told, key)?;
        #[cfg(feature = "rds")]
        if let Text::Database(database) = &self.text {
            database.schema().column(&self.name(), algorithm)?;
        }
        Ok(algorithm)
    }

    fn named_or_seen(&self, told: Option<Algorithm>, key: Option<&str>) -> Result<Algorithm> {
        let of_key = key.and_then(|key| Some((key, Algorithm::from_name(key)?)));
        if let Some(told) = told {
            if let Some((key, named)) = of_key.filter(|(_, named)| *named != told) {
                tracing::warn!(
                    "the partition key is named {key}, which is {named}; taking the list for {told} as told"
                );
            }
            return Ok(told);
        }
        if let Some((_, named)) = of_key {
            return Ok(named);
        }
        if self.layout().format == Format::Paths {
            return Ok(Algorithm::Sha256);
        }
        if let Some(seen) = self.beginning.algorithm {
            if self.identity.database {
                tracing::info!("reading the column {seen} (--hash names another)");
                return Ok(seen);
            }
            tracing::info!(
                "taking the list for {seen}, by {} (--hash says otherwise)",
                match self.shown().1.columns.is_empty() {
                    true => "the length of its first hash",
                    false => "the names of its columns",
                }
            );
            return Ok(seen);
        }
        let (name, layout) = self.shown();
        let is_empty = self.ended && self.peeked.iter().all(|c| c.bytes.is_empty());
        if is_empty && self.follows.is_none() {
            return Ok(Algorithm::Sha256);
        }
        if !self.beginning.several.is_empty() {
            let each = self.beginning.several.iter();
            let columns: Vec<String> = each.map(|(a, column)| format!("{a} ({column})")).collect();
            return Err(Error::usage(format!(
                "{name} has hashes of several algorithms, by their columns: {}",
                printable::names(&columns)
            ))
            .hint("name one by --hash, such as --hash sha256, or a column by --column"));
        }
        let columns = &layout.columns;
        if !columns.is_empty() {
            return Err(Error::usage(format!(
                "no column of {name} is named as one of hashes; there are {}",
                columns.join(", ")
            ))
            .hint(
                "name the column by --column NAME or its number, or a field of JSON by --field, and the \
                 algorithm by --hash",
            ));
        }
        let first = match &self.beginning.first_line {
            Some(line) => format!("its first line is {line}"),
            None => "it has nothing but blank lines and comments there".to_owned(),
        };
        Err(Error::usage(format!(
            "the first {} KiB of {name} show no hash: {first}",
            detect::PEEK_BYTES / 1024,
        ))
        .hint("name the algorithm by --hash, such as --hash sha256"))
    }
}
