//! Flags for the items of a table, shared by every command that builds items.

use crate::aws::config::Aws;
use crate::base::hash::{Algorithm, Case};
use crate::commands::run_options::TableOptions;
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub(crate) struct ItemArgs {
    /// Hash algorithm [default: from the name of the table's partition key, else from the
    /// length of its keys, else from the first hash]
    #[arg(long, value_name = "NAME")]
    pub(crate) hash: Option<Algorithm>,
    /// Partition key of the table, needed if dynamodb:DescribeTable is denied or the key is not
    /// named like the algorithm [default: named like the algorithm, type S]
    #[arg(long, value_name = "NAME[:S|B]", help_heading = "Item")]
    pub(crate) key: Option<KeyAttribute>,
    /// Case of hashes as text (a key of type B holds raw bytes) [default: detected from the
    /// table's items, else upper]
    #[arg(long, value_enum, value_name = "CASE", help_heading = "Item")]
    case: Option<CaseArg>,
    /// Attribute `type` of every item
    #[arg(long = "type", value_name = "TEXT", help_heading = "Item")]
    type_: Option<String>,
    /// Attribute `source` of every item
    #[arg(long, value_name = "TEXT", help_heading = "Item")]
    source: Option<String>,
    /// Attribute `desc` of every item
    #[arg(long, value_name = "TEXT", help_heading = "Item")]
    desc: Option<String>,
    /// A further attribute: NAME=TEXT, or NAME:TYPE=VALUE with type S, N, B (base64), BOOL,
    /// NULL, SS or NS
    #[arg(long = "attr", value_name = "NAME=VALUE", help_heading = "Item")]
    attributes: Vec<Attribute>,
    /// An attribute from a column of each row: NAME=COLUMN, or NAME:TYPE=COLUMN with type S, N or
    /// BOOL; COLUMN is a name or number, in JSON a field
    #[arg(long = "attr-from", value_name = "NAME=COLUMN", help_heading = "Item")]
    pub(crate) attributes_from: Vec<AttributeFrom>,
    /// Attributes `version`, `set` and `release_date` of every item, from the table VERSION of the
    /// NSRL database
    #[arg(long, help_heading = "Item")]
    pub(crate) attr_from_version: bool,
}

/// Letter case of a hash as text.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CaseArg {
    Upper,
    Lower,
}

impl CaseArg {
    pub(crate) fn case(self) -> Case {
        match self {
            CaseArg::Upper => Case::Upper,
            CaseArg::Lower => Case::Lower,
        }
    }
}

impl ItemArgs {
    /// Case of text keys; `None` if it is not set.
    pub(crate) fn case(&self) -> Option<Case> {
        self.case.map(CaseArg::case)
    }

    /// The options of the table `name`.
    pub(crate) fn table_options(&self, aws: &Aws, name: &str) -> TableOptions {
        TableOptions {
            aws: Some(aws.clone()),
            name: name.to_owned(),
            algorithm: self.hash,
            key: self.key.clone(),
            case: self.case(),
            attributes: self.clone().into_attributes(),
            attributes_from: self.attributes_from.clone(),
            attr_from_version: self.attr_from_version,
        }
    }

    /// True if every item has the attribute `source`.
    pub(crate) fn has_source(&self) -> bool {
        self.source.is_some() || self.attributes.iter().any(|a| a.name == "source")
    }

    /// The `--attr-from` flags as command-line arguments.
    pub(crate) fn attributes_from_args(&self) -> Vec<String> {
        let each = self.attributes_from.iter();
        each.flat_map(|a| ["--attr-from".to_owned(), a.to_string()])
            .collect()
    }

    /// The attributes of every item, in the order of the item's JSON.
    pub(crate) fn into_attributes(self) -> Vec<Attribute> {
        [
            ("type", self.type_),
            ("source", self.source),
            ("desc", self.desc),
        ]
        .into_iter()
        .filter_map(|(name, text)| {
            text.map(|text| Attribute {
                name: name.to_owned(),
                value: Value::S(text),
            })
        })
        .chain(self.attributes)
        .collect()
    }
}
