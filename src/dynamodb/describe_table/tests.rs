use super::*;
use aws_sdk_dynamodb::types::AttributeDefinition;

fn description(on_demand: bool, units: i64, maximum: Option<i64>) -> TableDescription {
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(kind)
            .build()
            .expect("complete")
    };
    let key = |name: &str, role| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(role)
            .build()
            .expect("complete")
    };
    let mode = if on_demand {
        BillingMode::PayPerRequest
    } else {
        BillingMode::Provisioned
    };
    TableDescription::builder()
        .attribute_definitions(attribute("sha256", ScalarAttributeType::S))
        .attribute_definitions(attribute("set", ScalarAttributeType::N))
        .attribute_definitions(attribute("source", ScalarAttributeType::S))
        .key_schema(key("sha256", SchemaRole::Hash))
        .key_schema(key("set", SchemaRole::Range))
        .billing_mode_summary(
            aws_sdk_dynamodb::types::BillingModeSummary::builder()
                .billing_mode(mode)
                .build(),
        )
        .provisioned_throughput(
            aws_sdk_dynamodb::types::ProvisionedThroughputDescription::builder()
                .write_capacity_units(units)
                .read_capacity_units(units / 2)
                .build(),
        )
        .set_on_demand_throughput(maximum.map(|m| {
            aws_sdk_dynamodb::types::OnDemandThroughput::builder()
                .max_write_request_units(m)
                .max_read_request_units(m * 2)
                .build()
        }))
        .build()
}

#[test]
fn keys_and_capacity_are_read() {
    let table = parse_table("t", &description(false, 1000, None)).expect("readable");
    assert_eq!(
        table.schema.partition,
        KeyAttribute {
            name: "sha256".into(),
            kind: KeyType::S
        }
    );
    assert_eq!(
        table.schema.sort,
        Some(KeyAttribute {
            name: "set".into(),
            kind: KeyType::N
        })
    );
    assert_eq!(
        table.schema.index_keys,
        [KeyAttribute {
            name: "source".into(),
            kind: KeyType::S
        }]
    );
    assert_eq!(table.billing, Billing::Provisioned { write_units: 1000 });
    assert_eq!(table.write_capacity(&[], &[]).start_rate(), 1000.0);
}

#[test]
fn indexes_and_regions_are_read() {
    use aws_sdk_dynamodb::types::{
        GlobalSecondaryIndexDescription, LocalSecondaryIndexDescription, ReplicaDescription,
    };
    let plain = parse_table("t", &description(false, 1, None)).expect("readable");
    assert_eq!((plain.indexes.len(), plain.region_count()), (0, 1));
    let keys = |names: &[&str]| {
        let key = |name: &&str| {
            KeySchemaElement::builder()
                .attribute_name(*name)
                .key_type(SchemaRole::Hash)
                .build()
                .expect("complete")
        };
        Some(names.iter().map(key).collect())
    };
    let replica = |region: &str| ReplicaDescription::builder().region_name(region).build();
    let mut description = description(false, 1, None);
    description.table_arn = Some("arn:aws:dynamodb:us-east-1:1:table/t".into());
    description.global_secondary_indexes = Some(vec![
        GlobalSecondaryIndexDescription::builder()
            .index_name("by-source")
            .set_key_schema(keys(&["source"]))
            .build(),
    ]);
    description.local_secondary_indexes = Some(vec![
        LocalSecondaryIndexDescription::builder()
            .index_name("by-type")
            .set_key_schema(keys(&["sha256", "type"]))
            .build(),
    ]);
    description.replicas = Some(vec![replica("us-east-1"), replica("eu-west-1")]);
    let table = parse_table("t", &description).expect("readable");
    let index = |name: &str, global, keys: &[&str]| Index {
        name: name.into(),
        global,
        keys: keys.iter().map(|&k| k.to_owned()).collect(),
        write_units: None,
    };
    assert_eq!(
        table.indexes,
        [
            index("by-source", true, &["source"]),
            index("by-type", false, &["sha256", "type"])
        ]
    );
    assert_eq!(table.region_count(), 2);
}

#[test]
fn on_demand_takes_4000_or_its_own_maximum() {
    let units = |maximum| {
        let table = parse_table("t", &description(true, 0, maximum)).expect("readable");
        table.write_capacity(&[], &[]).start_rate()
    };
    assert_eq!(units(None), 4000.0);
    assert_eq!(units(Some(-1)), 4000.0);
    assert_eq!(units(Some(500)), 500.0);
    assert_eq!(units(Some(9000)), 4000.0);
}

#[test]
fn reads_have_a_capacity_of_their_own() {
    let units = |on_demand, units, maximum| {
        let table = parse_table("t", &description(on_demand, units, maximum)).expect("readable");
        table.read_capacity().start_rate()
    };
    assert_eq!(units(false, 1000, None), 500.0);
    assert_eq!(units(true, 0, None), 12_000.0);
    assert_eq!(units(true, 0, Some(-1)), 12_000.0);
    assert_eq!(units(true, 0, Some(500)), 1000.0);
    let mut warm = description(true, 0, None);
    warm.warm_throughput = Some(
        aws_sdk_dynamodb::types::TableWarmThroughputDescription::builder()
            .read_units_per_second(20_000)
            .build(),
    );
    let table = parse_table("t", &warm).expect("readable");
    assert_eq!(table.read_capacity().start_rate(), 20_000.0);
}

#[test]
fn an_index_counts_when_the_items_are_in_it() {
    let mut table = parse_table("t", &description(false, 1000, None)).expect("readable");
    table.indexes = vec![Index {
        name: "by-source".into(),
        global: true,
        keys: vec!["source".into(), "sha256".into()],
        write_units: Some(300.0),
    }];
    assert_eq!(
        table.write_capacity(&["sha256", "set"], &[]).max_rate(),
        Some(1000.0)
    );
    assert_eq!(
        table
            .write_capacity(&["sha256", "set", "source"], &[])
            .max_rate(),
        Some(300.0)
    );
    let replicas = [("eu-west-1".to_owned(), 200.0)];
    assert_eq!(
        table.write_capacity(&["sha256"], &replicas).max_rate(),
        Some(200.0)
    );
}
