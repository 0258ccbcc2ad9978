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
        warm: None,
        read_units: None,
        warm_reads: None,
        decreases_today: 0,
    }
}

fn part(index: Option<&str>, write_units: u64) -> Throughput {
    Throughput {
        index: index.map(str::to_owned),
        read_units: 3,
        write_units,
        decreases: 0,
        active: true,
    }
}

fn parts() -> Vec<Throughput> {
    vec![
        part(None, 5),
        part(Some("by-source"), 7),
        part(Some("by-name"), 9),
    ]
}

fn scaling(resource: &str, min: u64, max: u64) -> Scaling {
    Scaling {
        resource: resource.into(),
        min,
        max,
        target_percent: Some(70.0),
        scale_in_off: false,
        scale_out_off: false,
    }
}

fn raised(index: Option<&str>, write_units: u64, minimum: Option<u64>) -> Raised {
    Raised {
        index: index.map(str::to_owned),
        write_units,
        raised_to: 1000,
        minimum,
    }
}

#[test]
fn the_table_and_the_indexes_that_are_fed_are_raised() {
    let got = plan(&table(), &parts(), &[], 1000, &["sha256", "source"]).expect("works");
    assert_eq!(
        got.parts,
        [raised(None, 5, None), raised(Some("by-source"), 7, None)]
    );
    let got = plan(&table(), &parts(), &[], 6, &["sha256", "source"]).expect("works");
    assert_eq!(got.parts.len(), 1, "the index has 7 already");
    let got = plan(&table(), &parts(), &[], 5, &["sha256", "source"]).expect("works");
    assert_eq!(got, Plan::default());
}

#[test]
fn where_auto_scaling_is_its_minimum_is_moved() {
    let scalings = [
        scaling("table/t", 5, 2000),
        scaling("table/t/index/by-source", 1000, 1000),
    ];
    let parts = [part(None, 1500), part(Some("by-source"), 1000)];
    let got = plan(&table(), &parts, &scalings, 1000, &["sha256", "source"]).expect("works");
    // The table has enough now, but auto scaling could lower it.
    assert_eq!(got.parts, [raised(None, 1500, Some(5))]);
}

#[test]
fn what_cannot_work_is_refused() {
    let says = |table: &Table, parts: &[Throughput], scalings: &[Scaling], words: &str| {
        let e = plan(table, parts, scalings, 1000, &["sha256"]).expect_err(words);
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
    says(&on_demand, &parts(), &[], "paid per request");
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
    let lowered = [Throughput {
        decreases: 27,
        ..part(None, 5)
    }];
    says(&table(), &lowered, &[], "lowered 27 times today");
}

#[test]
fn a_note_that_was_left_says_what_comes_back() {
    let mut plan = plan(&table(), &[part(None, 800)], &[], 1000, &["sha256"]).expect("works");
    let note = Note {
        version: restore_note::VERSION,
        table: "t".into(),
        arn: String::new(),
        raised_at: String::new(),
        parts: vec![raised(None, 5, None), raised(Some("by-name"), 9, None)],
    };
    plan.take_over(note);
    assert_eq!(
        plan.parts,
        [raised(None, 5, None), raised(Some("by-name"), 9, None)]
    );
}
