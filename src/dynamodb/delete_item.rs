//! DeleteItem with a condition: deletes an item only if it belongs to one owner.

use crate::base::record::Record;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_write;
use crate::dynamodb::batch_write::{WireCapacity, WriteResponse};
use crate::dynamodb::item::{ConditionalDelete, ItemTemplate};
use crate::dynamodb::key_schema::KeySchema;
use serde::Deserialize;

/// DynamoDB's error code for a condition that is false.
pub(crate) const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

impl ItemTemplate {
    /// Restricts deletes to items that have the attribute `owner`. BatchWriteItem has no
    /// conditions, so each delete becomes one DeleteItem call. An owner that is the sort
    /// key needs no condition.
    #[must_use]
    pub fn with_delete_condition(
        mut self,
        table: &str,
        schema: &KeySchema,
        owner: &Attribute,
    ) -> Self {
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
        // A missing item satisfies the condition, so a delete can be retried if its response
        // is lost.
        let closing = format!(
            "}},\"ConditionExpression\":\"attribute_not_exists(#k) OR #s = :s\",\
             \"ExpressionAttributeNames\":{{\"#k\":{key},\"#s\":{}}},\
             \"ExpressionAttributeValues\":{{\":s\":{}}},\
             \"ReturnConsumedCapacity\":\"INDEXES\"}}",
            text(&owner.name),
            owner.value.to_json()
        );
        self.conditional_delete = Some(ConditionalDelete {
            request_prefix: opening.into_bytes(),
            request_suffix: closing.into_bytes(),
        });
        self
    }

    /// True if each delete is a DeleteItem request with a condition.
    pub fn has_conditional_deletes(&self) -> bool {
        self.conditional_delete.is_some()
    }

    /// Writes the body of the DeleteItem request for the item of `record`; nothing if
    /// deletes have no condition.
    pub fn write_delete_request(&self, record: &Record, out: &mut Vec<u8>) {
        let Some(own) = &self.conditional_delete else {
            return;
        };
        out.extend_from_slice(&own.request_prefix);
        self.write_hash(&record.hash, out);
        out.extend_from_slice(&self.delete_suffix);
        out.extend_from_slice(record.attributes.key_json());
        out.extend_from_slice(&own.request_suffix);
    }

    /// Parses the body of a DeleteItem response.
    ///
    /// # Errors
    /// A description, if it is not a response.
    pub fn parse_delete_response(&self, body: &[u8]) -> Result<WriteResponse, String> {
        // serde would accept a list as the fields in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is not a JSON object".to_owned());
        }
        let wire: WireDeleteResponse = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let consumed = wire.consumed.map(|c| batch_write::sum_consumed(vec![c]));
        Ok(WriteResponse {
            unprocessed: Vec::new(),
            consumed: consumed.and_then(crate::flow::capacity::ConsumedCapacity::if_plausible),
        })
    }
}

#[derive(Deserialize)]
struct WireDeleteResponse {
    #[serde(rename = "ConsumedCapacity")]
    consumed: Option<WireCapacity>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{Algorithm, Case, Hash};
    use crate::base::record::Position;
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
        let place = Position {
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
            .with_delete_condition("t", &schema, &source())
    }

    #[test]
    fn a_delete_names_its_key_and_the_source_that_it_may_delete() {
        for (sort, more) in [(None, None), (Some("set"), Some("x"))] {
            let mut body = Vec::new();
            template(sort).write_delete_request(&record(), &mut body);
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
        assert!(
            !template(Some("source")).has_conditional_deletes(),
            "the key says it"
        );
    }

    #[test]
    fn the_answer_says_what_it_consumed_and_anything_else_is_none() {
        let template = template(None);
        let units = |body: &[u8]| {
            let answer = template.parse_delete_response(body).expect("an answer");
            answer.consumed.map(|c| c.total)
        };
        assert_eq!(units(b"{}"), None);
        let body = br#"{"ConsumedCapacity":{"TableName":"t","CapacityUnits":3.0}}"#;
        assert_eq!(units(body), Some(3.0));
        for strange in [&b"[]"[..], b"<html>", b""] {
            assert!(template.parse_delete_response(strange).is_err());
        }
    }
}
