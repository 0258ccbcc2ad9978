//! The flags that say what an item is, alike for every command that makes items.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::{Attribute, Value};
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::KeyAttribute;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub(crate) struct ItemArgs {
    /// Hash algorithm [default: by the name of the table's partition key, else by the
    /// length of its keys, else by the first hash]
    #[arg(long, value_name = "NAME")]
    pub(crate) hash: Option<Algorithm>,
    /// The table's partition key, where it may not be described (dynamodb:DescribeTable) or its
    /// name is not that of --hash [default: named as the hash, type S]
    #[arg(long, value_name = "NAME[:S|B]", help_heading = "Item")]
    pub(crate) key: Option<KeyAttribute>,
    /// Case of the hash as text (a key of type B holds raw bytes) [default: as a look at the
    /// table's items shows, else upper]
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
    /// BOOL; the column by its name or number, in JSON the field
    #[arg(long = "attr-from", value_name = "NAME=COLUMN", help_heading = "Item")]
    pub(crate) attributes_from: Vec<AttributeFrom>,
    /// Attributes `version`, `set` and `release_date` of every item, from the table VERSION of the
    /// NSRL database that is read
    #[arg(long, help_heading = "Item")]
    pub(crate) attr_from_version: bool,
}

/// The case of a hash as text.
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
    /// Case of text keys, where it is given.
    pub(crate) fn case(&self) -> Option<Case> {
        self.case.map(CaseArg::case)
    }

    /// Whether every item has the attribute `source`.
    pub(crate) fn has_source(&self) -> bool {
        self.source.is_some() || self.attributes.iter().any(|a| a.name == "source")
    }

    /// The flags for attributes from columns, to be given again.
    pub(crate) fn words_from(&self) -> Vec<String> {
        let each = self.attributes_from.iter();
        each.flat_map(|a| ["--attr-from".to_owned(), a.to_string()])
            .collect()
    }

    /// The attributes of every item, in the order in which they are written.
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
