//! Deletes with a condition: a DeleteItem request that deletes an item of one source
//! alone, and its answer.

use crate::base::record::Record;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_write;
use crate::dynamodb::batch_write::{Answer, WireCapacity};
use crate::dynamodb::item::{ItemTemplate, OwnDelete};
use crate::dynamodb::key_schema::KeySchema;
use serde::Deserialize;

/// DynamoDB's code for a condition that does not hold.
pub(crate) const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

impl ItemTemplate {
    /// The same, and a delete deletes only an item that has the attribute `owner`.
    /// BatchWriteItem knows no conditions, so that each is a call of its own. An owner
    /// that is part of the key needs none.
    #[must_use]
    pub fn deleting_only(mut self, table: &str, schema: &KeySchema, owner: &Attribute) -> Self {
        if schema.sort.as_ref().is_some_and(|s| s.name == owner.name) {
            return self;
        }
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let (partition, kind) = (&self.partition.name, self.partition.kind);
        let key = text(partition);
        let opening = format!(
            "{{\"TableName\":{},\"Key\":{{{key}:{{\"{kind}\":\"",
            text(table)
        );
        // An item that is gone already satisfies the condition: a delete whose answer was
        // lost can be repeated.
        let closing = format!(
            "}},\"ConditionExpression\":\"attribute_not_exists(#k) OR #s = :s\",\
             \"ExpressionAttributeNames\":{{\"#k\":{key},\"#s\":{}}},\
             \"ExpressionAttributeValues\":{{\":s\":{}}},\
             \"ReturnConsumedCapacity\":\"INDEXES\"}}",
            text(&owner.name),
            owner.value.to_json()
        );
        self.own_delete = Some(OwnDelete {
            opening: opening.into_bytes(),
            closing: closing.into_bytes(),
        });
        self
    }

    /// Whether each delete is a DeleteItem request with a condition.
    pub fn deletes_alone(&self) -> bool {
        self.own_delete.is_some()
    }

    /// The body of the DeleteItem request for the item of `record`; nothing where deletes
    /// have no condition.
    pub fn delete_request(&self, record: &Record, out: &mut Vec<u8>) {
        let Some(own) = &self.own_delete else { return };
        out.extend_from_slice(&own.opening);
        self.write_hash(&record.hash, out);
        out.extend_from_slice(&self.after_delete);
        out.extend_from_slice(record.extra.key_json());
        out.extend_from_slice(&own.closing);
    }

    /// Reads the body of DynamoDB's answer to such a request.
    ///
    /// # Errors
    /// If it is no such answer; the text says why.
    pub fn read_delete_answer(&self, body: &[u8]) -> Result<Answer, String> {
        // A list would be read as the fields in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is no JSON object".to_owned());
        }
        let wire: WireDeleted = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let consumed = wire.consumed.map(|c| batch_write::consumed(vec![c]));
        Ok(Answer {
            unprocessed: Vec::new(),
            consumed: consumed.and_then(crate::flow::capacity::Consumed::if_possible),
        })
    }
}

#[derive(Deserialize)]
struct WireDeleted {
    #[serde(rename = "ConsumedCapacity")]
    consumed: Option<WireCapacity>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{Algorithm, Case, Hash};
    use crate::base::record::Place;
    use crate::dynamodb::attribute::Value;
    use crate::dynamodb::key_schema::{KeyAttribute, KeyType};

    fn key(name: &str, kind: KeyType) -> KeyAttribute {
        KeyAttribute {
            name: name.into(),
            kind,
        }
    }

    fn source() -> Attribute {
        Attribute {
            name: "source".into(),
            value: Value::S("a \"feed\"".into()),
        }
    }

    fn record() -> Record {
        let place = Place {
            source: 0,
            line: 1,
            byte: 0,
        };
        Record::new(Hash::from_bytes(&[0xAB; 16]).expect("16 bytes"), place)
    }

    fn template(sort: Option<&str>) -> ItemTemplate {
        let schema = KeySchema {
            partition: key("md5", KeyType::S),
            sort: sort.map(|name| key(name, KeyType::S)),
            index_keys: vec![],
        };
        let set = Attribute {
            name: "set".into(),
            value: Value::S("x".into()),
        };
        let attributes = [source(), set];
        ItemTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &attributes)
            .expect("fits")
            .deleting_only("t", &schema, &source())
    }

    #[test]
    fn a_delete_names_its_key_and_the_source_that_it_may_delete() {
        for (sort, more) in [(None, None), (Some("set"), Some("x"))] {
            let mut body = Vec::new();
            template(sort).delete_request(&record(), &mut body);
            let got: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let mut key = serde_json::json!({"md5": {"S": "AB".repeat(16)}});
            if let Some(more) = more {
                key["set"] = serde_json::json!({"S": more});
            }
            assert_eq!(
                got,
                serde_json::json!({
                    "TableName": "t", "Key": key,
                    "ConditionExpression": "attribute_not_exists(#k) OR #s = :s",
                    "ExpressionAttributeNames": {"#k": "md5", "#s": "source"},
                    "ExpressionAttributeValues": {":s": {"S": "a \"feed\""}},
                    "ReturnConsumedCapacity": "INDEXES",
                })
            );
        }
        assert!(!template(Some("source")).deletes_alone(), "the key says it");
    }

    #[test]
    fn the_answer_says_what_it_consumed_and_anything_else_is_none() {
        let template = template(None);
        let units = |body: &[u8]| {
            let answer = template.read_delete_answer(body).expect("an answer");
            answer.consumed.map(|c| c.total)
        };
        assert_eq!(units(b"{}"), None);
        let body = br#"{"ConsumedCapacity":{"TableName":"t","CapacityUnits":3.0}}"#;
        assert_eq!(units(body), Some(3.0));
        for strange in [&b"[]"[..], b"<html>", b""] {
            assert!(template.read_delete_answer(strange).is_err());
        }
    }
}
