use super::filling_hours;
use super::*;
use crate::base::hash::{Algorithm, Case};
use crate::commands::plan::import_table::ImportForm;
use crate::commands::plan::options::Planning;
use crate::commands::plan::survey::{Column, Counted, Total};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyType;
use crate::dynamodb::table;
use crate::dynamodb::table::{Billing, Table};

fn counted(lengths: &[(u64, bool)]) -> Counted {
    let mut c = Counted::default();
    for &(length, hash) in lengths {
        c.all.add(length);
        c.squares += u128::from(length) * u128::from(length);
        if hash {
            c.hashes.add(length);
        } else {
            c.skipped.add(length);
        }
    }
    c
}

fn estimate(c: &Counted, column: Column, rest: u64) -> Figure {
    let mut total = Total::default();
    total.add(c, column, rest);
    total.figure()
}

#[test]
fn lines_of_one_length_have_no_margin() {
    let c = counted(&[(66, true); 1000]);
    assert_eq!(estimate(&c, c.all, 66 * 500), Figure::exact(1500));
    // The last line lacks its end.
    assert_eq!(estimate(&c, c.all, 66 * 500 - 2), Figure::exact(1500));
    assert_eq!(estimate(&c, c.hashes, 66 * 500), Figure::exact(1500));
    assert_eq!(estimate(&c, c.skipped, 66 * 500), Figure::exact(0));
    assert_eq!(estimate(&c, c.all, 0), Figure::exact(1000));
    assert_eq!(
        estimate(&Counted::default(), Column::default(), 9),
        Figure::exact(0)
    );
}

#[test]
fn the_margin_follows_from_how_lengths_vary() {
    // 15 bytes a line, so 40 more lines; the departures 1 - l / 15 are +-1/3,
    // their variance 4/27, and 1.96 * sqrt(4/27 * (40² / 4 + 40)) is 15.8.
    let c = counted(&[(10, true), (20, true), (10, true), (20, true)]);
    let expected = Figure {
        value: 44,
        low: 28,
        high: 60,
    };
    assert_eq!(estimate(&c, c.all, 600), expected);
    // Never less than what was seen.
    let c = counted(&[(1, true), (50, true)]);
    assert_eq!(estimate(&c, c.all, 51).low, 2);
}

#[test]
fn nineteen_of_twenty_intervals_hold_the_truth() {
    let mut held = [0; 2];
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let list: Vec<_> = (0..3000)
            .map(|_| match random.u32(0..10) {
                0 => (random.u64(1..80), false),
                _ => (66, true),
            })
            .collect();
        let (sample, rest) = list.split_at(500);
        let c = counted(sample);
        let whole = counted(&list);
        let bytes = rest.iter().map(|(l, _)| l).sum();
        for (i, of, truth) in [(0, c.all, whole.all), (1, c.hashes, whole.hashes)] {
            let figure = estimate(&c, of, bytes);
            held[i] += u32::from((figure.low..=figure.high).contains(&truth.lines));
        }
    }
    // 380 of 400 are expected, with a deviation of 4.4.
    for held in held {
        assert!((367..=393).contains(&held), "{held} of 400");
    }
}

#[test]
fn a_capacity_fills_the_hours_it_is_paid_for() {
    for (units, capacity) in [
        (0, 1),
        (3300, 1),
        (3301, 2),
        (63_663, 20),
        (132_000_000, 40_000),
        (132_000_001, 19_131),
        (10_000_000_000, 39_730),
    ] {
        assert_eq!(filling_hours(units), capacity, "{units}");
    }
    assert!(filling_hours(u64::MAX) >= 1);
}

fn survey_of(hashes: Figure) -> Survey {
    Survey {
        algorithm: Algorithm::Sha256,
        sources: vec![Surveyed {
            uri: "s3://lists/a b.txt".into(),
            bytes: Some(1 << 30),
            bytes_read: 1 << 30,
            whole: hashes.is_exact(),
        }],
        further_sources: None,
        lines: hashes,
        hashes,
        units: hashes,
        row_bytes: 0.0,
        duplicates: Figure::exact(0),
        rejected: Figure::exact(0),
        skipped: Figure::exact(0),
        others: crate::base::algorithm_counts::AlgorithmCounts::default(),
        verbatim: false,
        too_many_rejects: false,
    }
}

fn planning() -> Planning {
    Planning {
        unpack: crate::source::decompress::codec::Unpack::default(),
        sources: vec!["s3://lists/a b.txt".into()],
        manifests: vec![],
        globs: Default::default(),
        form: Default::default(),
        attributes_from: vec![],
        table: None,
        algorithm: None,
        key: None,
        case: Case::Upper,
        attributes: vec![],
        attr_from_version: false,
        exact: false,
        at: None,
        replicas: None,
        indexes: None,
        prices: Prices::default(),
        aws_flags: vec![],
        own_flags: vec![],
    }
}

fn forecast(survey: Survey, target: &Target, given: &Planning) -> Forecast {
    let template = ItemTemplate::new(
        "t",
        &target.schema,
        Algorithm::Sha256,
        given.case,
        &given.attributes,
    )
    .expect("fits");
    let with = Assumptions {
        at: given.at,
        prices: given.prices.clone(),
        words: Words::new(given),
    };
    Forecast::of(survey, &template, target, &with)
}

fn target(billing: Option<Billing>) -> Target {
    Target {
        billing,
        ..Target::assumed(Some("known".into()), Algorithm::Sha256)
    }
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got}, not {expected}");
}

const HASHES: u64 = 7_200_000;

#[test]
fn each_way_costs_what_its_price_says() {
    let billing = Billing::Provisioned { write_units: 1000 };
    let f = forecast(
        survey_of(Figure::exact(HASHES)),
        &target(Some(billing)),
        &planning(),
    );
    let [provisioned, on_demand, import] = &f.routes[..] else {
        panic!("{:?}", f.routes)
    };
    // Two hours of 1,000 units.
    close(provisioned.seconds.expect("known").value, 7200.0);
    assert_eq!(provisioned.billed_hours, Some(Figure::exact(2)));
    close(provisioned.usd.value, 2.0 * 1000.0 * 0.00065);
    assert_eq!(
        provisioned.commands,
        ["hashferry ingest 's3://lists/a b.txt' --table known"]
    );
    close(on_demand.seconds.expect("known").value, 1800.0);
    close(on_demand.usd.value, 7.2 * 0.625);
    assert_eq!(
        on_demand.commands[0],
        "aws dynamodb update-table --table-name known --billing-mode PAY_PER_REQUEST"
    );
    // 64 digits and a line feed.
    assert_eq!(import.billed_bytes, Some(Figure::exact(65 * HASHES)));
    close(
        import.usd.value,
        65.0 * HASHES as f64 / 1_073_741_824.0 * 0.15,
    );
    assert!(
        import.commands[0].contains(r#""TableName":"known-imported""#),
        "{import:?}"
    );
    assert_eq!(
        (f.cheapest, f.cheapest_ingest, f.fastest),
        (Some(2), Some(0), Some(1))
    );
}

#[test]
fn replicas_and_indexes_multiply() {
    let mut target = target(None);
    target.replicas.count = 2;
    target.indexes.count = 1;
    let mut given = planning();
    given.at = Some(1000.0);
    let f = forecast(survey_of(Figure::exact(HASHES)), &target, &given);
    assert_eq!(f.write_units, Figure::exact(4 * HASHES));
    assert_eq!(f.table_write_units, Figure::exact(HASHES));
    assert_eq!(f.routes[0].billed_capacity, Some(4000));
    close(f.routes[0].usd.value, 4000.0 * 2.0 * 0.00065);
    close(f.routes[1].usd.value, 28.8 * 0.625);
    assert_ne!(f.cheapest, Some(2), "an import without its replicas");
    // A local index draws on the table's own capacity.
    target.local_indexes.count = 1;
    let f = forecast(survey_of(Figure::exact(HASHES)), &target, &given);
    assert_eq!(f.table_write_units, Figure::exact(2 * HASHES));
    close(f.routes[0].seconds.expect("known").value, 14_400.0);
    assert_eq!(f.routes[0].billed_capacity, Some(3000));
}

#[test]
fn a_rate_below_the_tables_capacity_saves_nothing() {
    let billing = Billing::Provisioned { write_units: 2000 };
    let mut given = planning();
    given.at = Some(1000.0);
    let f = forecast(
        survey_of(Figure::exact(HASHES)),
        &target(Some(billing)),
        &given,
    );
    let at = &f.routes[1];
    assert_eq!(at.billed_capacity, Some(2000));
    close(at.usd.value, 2000.0 * 2.0 * 0.00065);
    assert!(at.commands[0].ends_with("--rate 1000"), "{at:?}");
    // Above it the table has to be raised, and is brought back.
    given.at = Some(4000.0);
    let f = forecast(survey_of(Figure::exact(1)), &target(Some(billing)), &given);
    assert!(
        f.routes[1].commands[0].ends_with("--raise-to 4000"),
        "{f:?}"
    );
}

#[test]
fn an_interval_goes_through_to_time_and_cost() {
    let hashes = Figure {
        value: 3_500_000,
        low: 3_400_000,
        high: 3_700_000,
    };
    let billing = Billing::Provisioned { write_units: 1000 };
    let f = forecast(survey_of(hashes), &target(Some(billing)), &planning());
    let hours = f.routes[0].billed_hours.expect("by the hour");
    assert_eq!((hours.low, hours.value, hours.high), (1, 1, 2));
    let usd = f.routes[1].usd;
    close(usd.low, 3.4 * 0.625);
    close(usd.high, 3.7 * 0.625);
    assert!(f.notes[0].contains("95 %"), "{:?}", f.notes);
}

#[test]
fn items_of_several_kilobytes_cost_as_many_units() {
    let mut given = planning();
    given.attributes = vec![format!("a={}", "x".repeat(2000)).parse().expect("one")];
    // 6 + 64 + 1 + 2,000 bytes.
    let survey = Survey {
        units: Figure::exact(3000),
        ..survey_of(Figure::exact(1000))
    };
    let f = forecast(survey, &target(None), &given);
    assert_eq!(f.item.write_units, 3);
    assert_eq!(f.write_units, Figure::exact(3000));
}

#[test]
fn an_import_takes_csv_of_texts_and_json_of_anything_else() {
    let form = |list: &[&str], kind, verbatim| {
        let mut target = target(None);
        target.schema.partition.kind = kind;
        let attributes: Vec<Attribute> = list.iter().map(|a| a.parse().expect("one")).collect();
        let template = ItemTemplate::new(
            "t",
            &target.schema,
            Algorithm::Sha256,
            Case::Upper,
            &attributes,
        )
        .expect("fits");
        let survey = Survey {
            verbatim,
            ..survey_of(Figure::exact(1))
        };
        ImportForm::of(&survey, &template, &target.schema)
    };
    let key = "AB".repeat(32);
    let csv = form(&["source=a \"b\", c", "desc=d"], KeyType::S, true);
    assert_eq!(csv.columns, ["sha256", "desc", "source"]);
    assert_eq!(csv.row, format!("{key},d,\"a \"\"b\"\", c\""));
    assert_eq!(csv.as_it_lies, None, "the attributes are not in the list");
    assert!(form(&[], KeyType::S, true).as_it_lies.is_some());
    assert!(form(&[], KeyType::S, false).as_it_lies.is_none());
    let json = form(&["n:N=7"], KeyType::S, true);
    assert_eq!(json.name, "DYNAMODB_JSON");
    assert_eq!(
        json.row,
        format!(r#"{{"Item":{{"n":{{"N":"7"}},"sha256":{{"S":"{key}"}}}}}}"#)
    );
    assert_eq!(form(&[], KeyType::B, true).name, "DYNAMODB_JSON");
}

#[test]
fn indexes_count_when_the_items_have_their_keys() {
    let index = |global, keys: &[&str]| table::Index {
        name: "i".into(),
        global,
        keys: keys.iter().map(|&k| k.to_owned()).collect(),
        write_units: None,
    };
    let assumed = target(None);
    let described = Target::described(
        Table {
            name: "known".into(),
            arn: None,
            id: None,
            schema: assumed.schema,
            billing: Billing::OnDemand { maximum: None },
            indexes: vec![
                index(true, &["source"]),
                index(true, &["source", "sha256"]),
                index(true, &["other"]),
                index(false, &["sha256", "source"]),
            ],
            replicas: vec!["eu-west-1".into(), "eu-west-2".into()],
            warm: None,
            read_units: None,
            warm_reads: None,
            decreases_today: 0,
        },
        &["source=x".parse().expect("one")],
    );
    assert_eq!(described.indexes.count, 2);
    assert_eq!(described.local_indexes.count, 1);
    assert_eq!(described.replicas.count, 3);
}
