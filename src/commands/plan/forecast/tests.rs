use super::capacity_filling_hours;
use super::*;
use crate::base::hash::{Algorithm, Case};
use crate::commands::plan::import_table::ImportFormat;
use crate::commands::plan::options::PlanOptions;
use crate::commands::plan::survey::{LineStats, RatioEstimator, SourceCounts};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyType;
use crate::dynamodb::table;
use crate::dynamodb::table::{Billing, Table};

fn counted(lengths: &[(u64, bool)]) -> SourceCounts {
    let mut c = SourceCounts::default();
    for &(length, hash) in lengths {
        c.all.add(length);
        c.length_squares += u128::from(length) * u128::from(length);
        if hash {
            c.hashes.add(length);
        } else {
            c.skipped.add(length);
        }
    }
    c
}

fn estimate(c: &SourceCounts, column: LineStats, rest: u64) -> Estimate {
    let mut total = RatioEstimator::default();
    total.add(c, column, rest);
    total.estimate()
}

#[test]
fn lines_of_one_length_have_no_margin() {
    let c = counted(&[(66, true); 1000]);
    assert_eq!(estimate(&c, c.all, 66 * 500), Estimate::exact(1500));
    // The last line has no line feed.
    assert_eq!(estimate(&c, c.all, 66 * 500 - 2), Estimate::exact(1500));
    assert_eq!(estimate(&c, c.hashes, 66 * 500), Estimate::exact(1500));
    assert_eq!(estimate(&c, c.skipped, 66 * 500), Estimate::exact(0));
    assert_eq!(estimate(&c, c.all, 0), Estimate::exact(1000));
    assert_eq!(
        estimate(&SourceCounts::default(), LineStats::default(), 9),
        Estimate::exact(0)
    );
}

#[test]
fn the_margin_follows_from_the_variance_of_line_lengths() {
    // 15 bytes a line, so 40 more lines; the deviations 1 - l / 15 are +-1/3,
    // their variance 4/27, and 1.96 * sqrt(4/27 * (40² / 4 + 40)) is 15.8.
    let c = counted(&[(10, true), (20, true), (10, true), (20, true)]);
    let expected = Estimate {
        value: 44,
        low: 28,
        high: 60,
    };
    assert_eq!(estimate(&c, c.all, 600), expected);
    // Never less than the lines of the sample.
    let c = counted(&[(1, true), (50, true)]);
    assert_eq!(estimate(&c, c.all, 51).low, 2);
}

#[test]
fn intervals_have_the_true_value_in_95_percent_of_samples() {
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
        for (i, column, truth) in [(0, c.all, whole.all), (1, c.hashes, whole.hashes)] {
            let estimated = estimate(&c, column, bytes);
            held[i] += u32::from((estimated.low..=estimated.high).contains(&truth.lines));
        }
    }
    // 380 of 400 are expected, with a deviation of 4.4.
    for held in held {
        assert!((367..=393).contains(&held), "{held} of 400");
    }
}

#[test]
fn the_proposed_capacity_fills_the_billed_hours() {
    for (units, capacity) in [
        (0, 1),
        (3300, 1),
        (3301, 2),
        (63_663, 20),
        (132_000_000, 40_000),
        (132_000_001, 19_131),
        (10_000_000_000, 39_730),
    ] {
        assert_eq!(capacity_filling_hours(units), capacity, "{units}");
    }
    assert!(capacity_filling_hours(u64::MAX) >= 1);
}

fn survey_with(hashes: Estimate) -> Survey {
    Survey {
        algorithm: Algorithm::Sha256,
        sources: vec![SurveyedSource {
            uri: "s3://lists/a b.txt".into(),
            bytes: Some(1 << 30),
            bytes_read: 1 << 30,
            whole: hashes.is_exact(),
        }],
        further_sources: None,
        lines: hashes,
        hashes,
        write_units: hashes,
        row_bytes: 0.0,
        duplicates: Estimate::exact(0),
        rejected: Estimate::exact(0),
        skipped: Estimate::exact(0),
        other_algorithms: crate::base::algorithm_counts::AlgorithmCounts::default(),
        is_key_csv: false,
        too_many_rejects: false,
    }
}

fn options() -> PlanOptions {
    PlanOptions {
        unpack: crate::source::decompress::codec::DecompressOptions::default(),
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
        rate: None,
        replicas: None,
        indexes: None,
        prices: Prices::default(),
        aws_flags: vec![],
        hashferry_flags: vec![],
    }
}

fn forecast(survey: Survey, target: &Target, options: &PlanOptions) -> Forecast {
    let template = ItemTemplate::new(
        "t",
        &target.schema,
        Algorithm::Sha256,
        options.case,
        &options.attributes,
    )
    .expect("fits");
    let assumptions = Assumptions {
        rate: options.rate,
        prices: options.prices.clone(),
        commands: ShellCommands::new(options),
    };
    Forecast::new(survey, &template, target, &assumptions)
}

fn target(billing: Option<Billing>) -> Target {
    Target {
        billing,
        ..Target::new_table(Some("known".into()), Algorithm::Sha256)
    }
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got}, not {expected}");
}

const HASHES: u64 = 7_200_000;

#[test]
fn the_cost_of_each_route_follows_from_its_price() {
    let billing = Billing::Provisioned { write_units: 1000 };
    let f = forecast(
        survey_with(Estimate::exact(HASHES)),
        &target(Some(billing)),
        &options(),
    );
    let [provisioned, on_demand, import] = &f.routes[..] else {
        panic!("{:?}", f.routes)
    };
    // Two hours of 1,000 WCU.
    close(provisioned.seconds.expect("known").value, 7200.0);
    assert_eq!(provisioned.billed_hours, Some(Estimate::exact(2)));
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
    assert_eq!(import.billed_bytes, Some(Estimate::exact(65 * HASHES)));
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
    let mut options = options();
    options.rate = Some(1000.0);
    let f = forecast(survey_with(Estimate::exact(HASHES)), &target, &options);
    assert_eq!(f.write_units, Estimate::exact(4 * HASHES));
    assert_eq!(f.table_write_units, Estimate::exact(HASHES));
    assert_eq!(f.routes[0].billed_capacity, Some(4000));
    close(f.routes[0].usd.value, 4000.0 * 2.0 * 0.00065);
    close(f.routes[1].usd.value, 28.8 * 0.625);
    assert_ne!(f.cheapest, Some(2), "an import without its replicas");
    // A local index draws on the table's own capacity.
    target.local_indexes.count = 1;
    let f = forecast(survey_with(Estimate::exact(HASHES)), &target, &options);
    assert_eq!(f.table_write_units, Estimate::exact(2 * HASHES));
    close(f.routes[0].seconds.expect("known").value, 14_400.0);
    assert_eq!(f.routes[0].billed_capacity, Some(3000));
}

#[test]
fn a_rate_below_the_table_capacity_costs_the_same() {
    let billing = Billing::Provisioned { write_units: 2000 };
    let mut options = options();
    options.rate = Some(1000.0);
    let f = forecast(
        survey_with(Estimate::exact(HASHES)),
        &target(Some(billing)),
        &options,
    );
    let at = &f.routes[1];
    assert_eq!(at.billed_capacity, Some(2000));
    close(at.usd.value, 2000.0 * 2.0 * 0.00065);
    assert!(at.commands[0].ends_with("--rate 1000"), "{at:?}");
    // A higher rate needs --raise-to.
    options.rate = Some(4000.0);
    let f = forecast(
        survey_with(Estimate::exact(1)),
        &target(Some(billing)),
        &options,
    );
    assert!(
        f.routes[1].commands[0].ends_with("--raise-to 4000"),
        "{f:?}"
    );
}

#[test]
fn time_and_cost_have_the_interval_of_the_hashes() {
    let hashes = Estimate {
        value: 3_500_000,
        low: 3_400_000,
        high: 3_700_000,
    };
    let billing = Billing::Provisioned { write_units: 1000 };
    let f = forecast(survey_with(hashes), &target(Some(billing)), &options());
    let hours = f.routes[0].billed_hours.expect("by the hour");
    assert_eq!((hours.low, hours.value, hours.high), (1, 1, 2));
    let usd = f.routes[1].usd;
    close(usd.low, 3.4 * 0.625);
    close(usd.high, 3.7 * 0.625);
    assert!(f.notes[0].contains("95 %"), "{:?}", f.notes);
}

#[test]
fn items_of_several_kilobytes_cost_several_wcu() {
    let mut options = options();
    options.attributes = vec![format!("a={}", "x".repeat(2000)).parse().expect("one")];
    // 6 + 64 + 1 + 2,000 bytes.
    let survey = Survey {
        write_units: Estimate::exact(3000),
        ..survey_with(Estimate::exact(1000))
    };
    let f = forecast(survey, &target(None), &options);
    assert_eq!(f.item.write_units, 3);
    assert_eq!(f.write_units, Estimate::exact(3000));
}

#[test]
fn an_import_uses_csv_for_texts_and_json_for_other_types() {
    let format = |list: &[&str], kind, verbatim| {
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
            is_key_csv: verbatim,
            ..survey_with(Estimate::exact(1))
        };
        ImportFormat::new(&survey, &template, &target.schema)
    };
    let key = "AB".repeat(32);
    let csv = format(&["source=a \"b\", c", "desc=d"], KeyType::S, true);
    assert_eq!(csv.columns, ["sha256", "desc", "source"]);
    assert_eq!(csv.row, format!("{key},d,\"a \"\"b\"\", c\""));
    assert_eq!(
        csv.existing_object, None,
        "the attributes are not in the list"
    );
    assert!(format(&[], KeyType::S, true).existing_object.is_some());
    assert!(format(&[], KeyType::S, false).existing_object.is_none());
    let json = format(&["n:N=7"], KeyType::S, true);
    assert_eq!(json.name, "DYNAMODB_JSON");
    assert_eq!(
        json.row,
        format!(r#"{{"Item":{{"n":{{"N":"7"}},"sha256":{{"S":"{key}"}}}}}}"#)
    );
    assert_eq!(format(&[], KeyType::B, true).name, "DYNAMODB_JSON");
}

#[test]
fn only_indexes_whose_keys_the_items_have_count() {
    let index = |global, keys: &[&str]| table::Index {
        name: "i".into(),
        global,
        keys: keys.iter().map(|&k| k.to_owned()).collect(),
        write_units: None,
    };
    let assumed = target(None);
    let described = Target::from_table(
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
            warm_write_units: None,
            read_units: None,
            warm_read_units: None,
            decreases_today: 0,
        },
        &["source=x".parse().expect("one")],
    );
    assert_eq!(described.indexes.count, 2);
    assert_eq!(described.local_indexes.count, 1);
    assert_eq!(described.replicas.count, 3);
}
