use super::*;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::dynamodb::scaling::restore_note;
use crate::dynamodb::table::Index;

fn table() -> Table {
    let partition = KeyAttribute {
        name: "sha256".into(),
        kind: KeyType::S,
    };
    let index = |name: &str, key: &str, global| Index {
        name: name.into(),
        global,
        keys: vec![key.into()],
        write_units: Some(5.0),
    };
    Table {
        name: "t".into(),
        arn: None,
        id: None,
        schema: KeySchema {
            partition,
            sort: None,
            index_keys: Vec::new(),
        },
        billing: Billing::Provisioned { write_units: 5 },
        indexes: vec![
            index("by-source", "source", true),
            index("by-name", "name", true),
            index("l", "source", false),
        ],
        replicas: Vec::new(),
        warm_write_units: None,
        read_units: None,
        warm_read_units: None,
        decreases_today: 0,
    }
}

fn part(index: Option<&str>, write_units: u64) -> PartThroughput {
    PartThroughput {
        index: index.map(str::to_owned),
        read_units: 3,
        write_units,
        decreases_today: 0,
        active: true,
    }
}

fn parts() -> Vec<PartThroughput> {
    vec![
        part(None, 5),
        part(Some("by-source"), 7),
        part(Some("by-name"), 9),
    ]
}

fn scaling(resource: &str, min: u64, max: u64) -> ScalingTarget {
    ScalingTarget {
        resource_id: resource.into(),
        min,
        max,
        target_percent: Some(70.0),
        scale_in_disabled: false,
        scale_out_disabled: false,
    }
}

fn raised(index: Option<&str>, write_units: u64, minimum: Option<u64>) -> RaisedPart {
    RaisedPart {
        index: index.map(str::to_owned),
        write_units,
        raised_to: 1000,
        minimum,
    }
}

#[test]
fn the_table_and_the_indexes_that_are_fed_are_raised() {
    let got = plan_raise(&table(), &parts(), &[], 1000, &["sha256", "source"]).expect("works");
    assert_eq!(
        got.parts,
        [raised(None, 5, None), raised(Some("by-source"), 7, None)]
    );
    let got = plan_raise(&table(), &parts(), &[], 6, &["sha256", "source"]).expect("works");
    assert_eq!(got.parts.len(), 1, "the index has 7 already");
    let got = plan_raise(&table(), &parts(), &[], 5, &["sha256", "source"]).expect("works");
    assert_eq!(got, RaisePlan::default());
}

#[test]
fn where_auto_scaling_is_its_minimum_is_moved() {
    let scalings = [
        scaling("table/t", 5, 2000),
        scaling("table/t/index/by-source", 1000, 1000),
    ];
    let parts = [part(None, 1500), part(Some("by-source"), 1000)];
    let got = plan_raise(&table(), &parts, &scalings, 1000, &["sha256", "source"]).expect("works");
    // The table has enough now, but auto scaling could lower it.
    assert_eq!(got.parts, [raised(None, 1500, Some(5))]);
}

#[test]
fn what_cannot_work_is_refused() {
    let says =
        |table: &Table, parts: &[PartThroughput], scalings: &[ScalingTarget], words: &str| {
            let e = plan_raise(table, parts, scalings, 1000, &["sha256"]).expect_err(words);
            assert_eq!(e.exit_status(), 2);
            assert!(
                format!("{e:#}").contains(words),
                "expected {words:?} in {e}"
            );
        };
    let on_demand = Table {
        billing: Billing::OnDemand { maximum: None },
        ..table()
    };
    says(&on_demand, &parts(), &[], "is on-demand");
    let global = Table {
        replicas: vec!["eu-west-1".into()],
        ..table()
    };
    says(&global, &parts(), &[], "global table");
    says(
        &table(),
        &parts(),
        &[scaling("table/t", 5, 999)],
        "maximum of 999",
    );
    let lowered = [PartThroughput {
        decreases_today: 27,
        ..part(None, 5)
    }];
    says(&table(), &lowered, &[], "lowered 27 times today");
}

#[test]
fn a_note_that_was_left_says_what_comes_back() {
    let mut plan = plan_raise(&table(), &[part(None, 800)], &[], 1000, &["sha256"]).expect("works");
    let note = RestoreNote {
        version: restore_note::NOTE_VERSION,
        table: "t".into(),
        arn: String::new(),
        raised_at: String::new(),
        parts: vec![raised(None, 5, None), raised(Some("by-name"), 9, None)],
    };
    plan.merge_note(note);
    assert_eq!(
        plan.parts,
        [raised(None, 5, None), raised(Some("by-name"), 9, None)]
    );
}
