//! Parts of a BatchGetItem response: maps by table, and consumed capacity.

use crate::dynamodb::batch_get::table_name;
use crate::dynamodb::batch_get::value::WireText;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use std::fmt;

/// Consumed capacity of a table.
#[derive(Deserialize)]
pub(super) struct WireCapacity {
    #[serde(rename = "CapacityUnits", default)]
    pub(super) units: f64,
}

/// A map by table name, for the one requested table. Deserialising returns true if the map
/// names it.
pub(super) struct TableMapSeed<'t, S>(pub(super) &'t str, pub(super) S);

/// A part of a response that can occur more than once.
pub(super) trait ResponsePart<'de> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error>;
}

impl<'de, S: ResponsePart<'de>> DeserializeSeed<'de> for TableMapSeed<'_, S> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, S: ResponsePart<'de>> Visitor<'de> for TableMapSeed<'_, S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by table")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        let mut named = false;
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            table_name::check(self.0, &name.0, named).map_err(A::Error::custom)?;
            named = true;
            map.next_value_seed(PartSeed(&mut self.1))?;
        }
        Ok(named)
    }
}

/// Reads such a part once.
struct PartSeed<'p, P>(&'p mut P);

impl<'de, P: ResponsePart<'de>> DeserializeSeed<'de> for PartSeed<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.read(from)
    }
}
