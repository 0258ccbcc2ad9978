//! Parts of an answer of BatchGetItem: its maps by table, and what it consumed.

use crate::dynamodb::batch_get::table_name;
use crate::dynamodb::batch_get::value::Text;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use std::fmt;

/// A table's capacity consumed.
#[derive(Deserialize)]
pub(super) struct WireCapacity {
    #[serde(rename = "CapacityUnits", default)]
    pub(super) units: f64,
}

/// A map by table name, of the one table that was asked. Read, it says whether it names it.
pub(super) struct ByTable<'t, S>(pub(super) &'t str, pub(super) S);

/// What can be read again and again.
pub(super) trait Part<'de> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error>;
}

impl<'de, S: Part<'de>> DeserializeSeed<'de> for ByTable<'_, S> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, S: Part<'de>> Visitor<'de> for ByTable<'_, S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by table")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        let mut named = false;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            table_name::check(self.0, &name.0, named).map_err(A::Error::custom)?;
            named = true;
            map.next_value_seed(Once(&mut self.1))?;
        }
        Ok(named)
    }
}

/// One reading of such a part.
struct Once<'p, P>(&'p mut P);

impl<'de, P: Part<'de>> DeserializeSeed<'de> for Once<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.read(from)
    }
}
