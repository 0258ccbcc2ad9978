//! Inspection of the table before the first write or look-up. Its items complete the
//! settings that the user left open, and a setting that contradicts them is an error.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, FaultPlan, KeyType};
use serde_json::json;

/// Hashes whose text has letters.
fn hashes(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{i:062x}ab")).collect()
}

fn text(hashes: &[String]) -> String {
    hashes.iter().map(|h| format!("{h}\n")).collect()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// A table of these hashes in lower case. Scan is allowed or denied.
fn lower_case(hashes: &[String], scan_allowed: bool) -> FakeDynamo {
    let plan = match scan_allowed {
        true => FaultPlan::default(),
        false => FaultPlan::default().deny("Scan"),
    };
    let dynamo = FakeDynamo::start(table().plan(plan));
    for hash in hashes {
        dynamo.put(json!({"sha256": {"S": hash}, "source": {"S": "gold"}}));
    }
    dynamo
}

fn run(command: &str, list: &[String], dynamo: &FakeDynamo, args: &[&str]) -> Finished {
    let args = [&["--rate", "max"], args].concat();
    let run = match command {
        "ingest" => Run::ingest("list", &args),
        "verify" => Run::verify("list", &args),
        _ => Run::lookup("list", &args),
    };
    run.file("list", text(list).as_bytes()).dynamo(dynamo).run()
}

#[test]
fn a_list_in_the_other_case_does_not_add_a_second_set_of_items() {
    let hashes = hashes(58);
    for scan_allowed in [true, false] {
        let dynamo = lower_case(&hashes, scan_allowed);
        // Without --case, the case of the table applies.
        run("ingest", &hashes, &dynamo, &[]).assert_status(0);
        assert_eq!(dynamo.items().len(), 58, "{scan_allowed}");
        let failed = run("ingest", &hashes, &dynamo, &["--case", "upper"]);
        failed.assert_status(2);
        failed.assert_stderr(&["table sha256", "lower case", "give --case lower"]);
        assert_eq!(dynamo.items().len(), 58, "{scan_allowed}");
    }
    // An empty table shows no case: hashes are written in upper case.
    let dynamo = FakeDynamo::start(table());
    run("ingest", &hashes, &dynamo, &[]).assert_status(0);
    assert!(dynamo.items().iter().all(|(_, item)| {
        let key = item["sha256"]["S"].as_str().expect("text");
        key == key.to_uppercase()
    }));
}

#[test]
fn lookup_and_verify_use_the_case_of_the_table() {
    let hashes = hashes(250);
    for scan_allowed in [true, false] {
        let dynamo = lower_case(&hashes[..200], scan_allowed);
        // No hash of the first two batches is in the table.
        let list: Vec<String> = hashes.iter().rev().cloned().collect();
        let ended = run("lookup", &list, &dynamo, &[]);
        ended.assert_status(0);
        ended.assert_looked_up([250, 200, 50, 0, 0, 0]);
        ended.assert_stderr(&["lower case: using it"]);
        run("verify", &hashes[..200], &dynamo, &[]).assert_status(0);
        for command in ["lookup", "verify"] {
            let ended = run(command, &hashes[..200], &dynamo, &["--case", "upper"]);
            ended.assert_status(2);
            ended.assert_stderr(&["lower case", "give --case lower"]);
        }
    }
}

#[test]
fn a_refresh_uses_the_case_of_the_table() {
    let hashes = hashes(100);
    let dynamo = lower_case(&hashes[..60], true);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, list: &[String]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text(list)).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let (old, new) = (file("old", &hashes[..60]), file("new", &hashes[20..80]));
    let refresh = |flags: &[&str]| {
        let args = ["refresh", "--from", &old, "--to", &new, "--table", "sha256"];
        let args = [&args[..], &["--confirm", "--rate", "max"], flags].concat();
        Run::new(&args).dynamo(&dynamo).run()
    };
    let failed = refresh(&["--case", "upper"]);
    failed.assert_status(2);
    failed.assert_stderr(&["give --case lower"]);
    assert_eq!(dynamo.items().len(), 60);
    refresh(&[]).assert_status(0);
    let items = dynamo.items().into_values();
    let keys: Vec<String> = items
        .map(|item| item["sha256"]["S"].as_str().expect("text").to_owned())
        .collect();
    let (mut keys, mut expected) = (keys, hashes[20..80].to_vec());
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
}

#[test]
fn an_algorithm_other_than_the_tables_is_an_error_before_the_first_call() {
    let config = DynamoConfig::new("sha256", "digest", KeyType::S);
    let dynamo = FakeDynamo::start(config);
    for n in 0..30 {
        dynamo.put(json!({"digest": {"S": format!("{n:030X}AB")}}));
    }
    for command in ["ingest", "verify", "lookup"] {
        let ended = run(command, &hashes(40), &dynamo, &["--hash", "sha256"]);
        ended.assert_status(2);
        ended.assert_stderr(&["25 × md5 (32 hexadecimal digits)", "give --hash md5"]);
    }
    assert_eq!((dynamo.stats().calls, dynamo.stats().gets), (0, 0));
    // Without --hash, the algorithm of the table applies.
    let md5: Vec<String> = (0..30).map(|n| format!("{n:030X}AB")).collect();
    let ended = run("lookup", &md5, &dynamo, &[]);
    ended.assert_status(0);
    ended.assert_looked_up([30, 30, 0, 0, 0, 0]);
}

#[test]
fn an_algorithm_other_than_the_name_of_the_key_is_an_error_in_every_command() {
    let md5: Vec<String> = (0..20).map(|n| format!("{n:030X}AB")).collect();
    let dynamo = FakeDynamo::start(table());
    for command in ["ingest", "refresh", "verify", "lookup", "plan", "serve"] {
        let failed = any(command, &md5, &dynamo, &["--hash", "md5"]);
        assert_eq!(failed.status, 2, "{command}: {}", failed.stderr);
        failed.assert_stderr(&[
            "md5 does not fit table sha256: its partition key is named sha256",
            "give --key sha256",
        ]);
        // Giving another key does not confirm it.
        let args = ["--hash", "md5", "--key", "digest"];
        let failed = any(command, &md5, &dynamo, &args);
        assert_eq!(failed.status, 2, "{command}: {}", failed.stderr);
    }
    assert_eq!((dynamo.stats().calls, dynamo.stats().gets), (0, 0));
    let confirmed = ["--hash", "md5", "--key", "sha256"];
    for (command, status) in [
        ("ingest", 0),
        ("refresh", 0),
        ("verify", 0),
        ("lookup", 0),
        ("plan", 0),
    ] {
        let ended = any(command, &md5, &dynamo, &confirmed);
        assert_eq!(ended.status, status, "{command}: {}", ended.stderr);
    }
    assert_eq!(dynamo.items().len(), 20);
}

/// Runs any command with `list`; a refresh has it as its new list.
fn any(command: &str, list: &[String], dynamo: &FakeDynamo, args: &[&str]) -> Finished {
    let own: &[&str] = match command {
        "ingest" => &["ingest", "list", "--rate", "max"],
        "refresh" => &["refresh", "--from", "old", "--to", "list", "--confirm"],
        "verify" => &["verify", "list"],
        "lookup" => &["lookup", "list"],
        "plan" => &["plan", "list"],
        // It exits if it cannot start.
        _ => &["serve", "--listen", "127.0.0.1:0"],
    };
    let args = [own, &["--table", "sha256"], args].concat();
    let old = text(&list[..list.len() / 2]);
    let run = Run::new(&args).file("list", text(list).as_bytes());
    run.file("old", old.as_bytes()).dynamo(dynamo).run()
}

#[test]
fn a_dry_run_and_a_plan_inspect_the_table_and_write_nothing() {
    let hashes = hashes(30);
    let dynamo = lower_case(&hashes, true);
    let args = ["--dry-run", "--case", "upper"];
    let failed = run("ingest", &hashes, &dynamo, &args);
    failed.assert_status(2);
    failed.assert_stderr(&["give --case lower"]);
    let ended = run("ingest", &hashes, &dynamo, &["--dry-run"]);
    ended.assert_status(0);
    ended.assert_stderr(&["lower case: using it"]);
    // Keys of another length contradict --hash.
    let md5 = FakeDynamo::start(DynamoConfig::new("sha256", "digest", KeyType::S));
    md5.put(json!({"digest": {"S": "ab".repeat(16)}}));
    let failed = any("plan", &hashes, &md5, &["--hash", "sha256"]);
    failed.assert_status(2);
    failed.assert_stderr(&["has no sha256 hashes", "give --hash md5"]);
    assert_eq!((dynamo.stats().calls, md5.stats().calls), (0, 0));
}

/// A table of 20 hashes in lower and 20 in upper case, and their list.
fn mixed() -> (FakeDynamo, Vec<String>) {
    let dynamo = FakeDynamo::start(table());
    let hashes = hashes(40);
    for (n, hash) in hashes.iter().enumerate() {
        let key = match n % 2 {
            0 => hash.to_uppercase(),
            _ => hash.clone(),
        };
        dynamo.put(json!({"sha256": {"S": key}}));
    }
    (dynamo, hashes)
}

#[test]
fn a_table_with_both_cases_is_an_error_unless_a_case_is_given() {
    let (dynamo, hashes) = mixed();
    for command in ["ingest", "verify"] {
        let failed = run(command, &hashes, &dynamo, &[]);
        failed.assert_status(2);
        failed.assert_stderr(&["upper and in lower case", "give --case upper or"]);
    }
    assert_eq!(dynamo.items().len(), 40);
    let given = run("verify", &hashes, &dynamo, &["--case", "lower"]);
    given.assert_status(5);
    given.assert_stderr(&["in both cases", "in the other case are not found"]);
    assert_eq!(given.number("missing"), 20);
    run("ingest", &hashes, &dynamo, &["--case", "lower"]).assert_status(0);
    assert_eq!(dynamo.items().len(), 60);
}

#[test]
fn a_lookup_in_a_table_with_both_cases_finds_hashes_of_either() {
    let (dynamo, hashes) = mixed();
    let ended = run("lookup", &hashes, &dynamo, &[]);
    ended.assert_status(0);
    ended.assert_looked_up([40, 40, 0, 0, 0, 0]);
    ended.assert_stderr(&["in both cases"]);
    let given = run("lookup", &hashes, &dynamo, &["--case", "lower"]);
    given.assert_looked_up([40, 20, 20, 0, 0, 0]);
    given.assert_stderr(&["in the other case are not found"]);
}

#[test]
fn with_keys_of_digits_only_the_first_hashes_of_the_list_decide_the_case() {
    let dynamo = FakeDynamo::start(table());
    // The keys of the first items have no letters, those of the others lower-case ones.
    let digits: Vec<String> = (0..25).map(|n| format!("{n:064}")).collect();
    let letters: Vec<String> = (0..25).map(|n| format!("f{n:061x}ab")).collect();
    for key in digits.iter().chain(&letters) {
        dynamo.put(json!({"sha256": {"S": key}}));
    }
    run("ingest", &letters, &dynamo, &[]).assert_status(0);
    assert_eq!(dynamo.items().len(), 50);
    run("verify", &letters, &dynamo, &[]).assert_status(0);
    let failed = run("ingest", &letters, &dynamo, &["--case", "upper"]);
    failed.assert_status(2);
    failed.assert_stderr(&["give --case lower"]);
    let ended = run("lookup", &letters, &dynamo, &[]);
    ended.assert_looked_up([25, 25, 0, 0, 0, 0]);
}

#[test]
fn tables_with_a_sort_key_or_binary_keys_are_inspected_too() {
    let hashes = hashes(30);
    for scan_allowed in [true, false] {
        let plan = match scan_allowed {
            true => FaultPlan::default(),
            false => FaultPlan::default().deny("Scan"),
        };
        let sorted = FakeDynamo::start(table().sort("type", KeyType::S).plan(plan));
        for hash in &hashes {
            sorted.put(json!({"sha256": {"S": hash}, "type": {"S": "linux"}}));
        }
        for command in ["ingest", "verify", "lookup"] {
            let flag = if command == "lookup" {
                "--attr"
            } else {
                "--type"
            };
            let value = if command == "lookup" {
                "type=linux"
            } else {
                "linux"
            };
            run(command, &hashes, &sorted, &[flag, value]).assert_status(0);
            let args = [flag, value, "--case", "upper"];
            let failed = run(command, &hashes, &sorted, &args);
            failed.assert_status(2);
            failed.assert_stderr(&["give --case lower"]);
        }
        assert_eq!(sorted.items().len(), 30);
    }
    let bytes = FakeDynamo::start(DynamoConfig::new("sha256", "digest", KeyType::B));
    run("ingest", &hashes, &bytes, &[]).assert_status(0);
    for case in ["upper", "lower"] {
        run("verify", &hashes, &bytes, &["--case", case]).assert_status(0);
    }
    let failed = run("lookup", &hashes, &bytes, &["--hash", "md5"]);
    failed.assert_status(2);
    failed.assert_stderr(&["25 × sha256 (64 hexadecimal digits)", "give --hash sha256"]);
}

#[test]
fn if_reads_are_denied_the_given_or_the_default_case_is_used() {
    let hashes = hashes(10);
    let plan = FaultPlan::default().deny("Scan").deny("BatchGetItem");
    let dynamo = FakeDynamo::start(table().plan(plan));
    for (flags, is_lower) in [(&[][..], false), (&["--case", "lower"][..], true)] {
        let ended = run("ingest", &hashes, &dynamo, flags);
        ended.assert_status(0);
        let warns = ended
            .stderr
            .contains("cannot detect the case of the keys of table sha256, using upper case");
        assert_eq!(warns, !is_lower, "{}", ended.stderr);
        let lower = dynamo
            .items()
            .keys()
            .filter(|key| **key == key.to_ascii_lowercase())
            .count();
        assert_eq!(lower > 0, is_lower, "{flags:?}");
    }
    assert_eq!(dynamo.items().len(), 20);
}

#[test]
fn a_verification_that_finds_no_hash_warns_about_the_case() {
    let hashes = hashes(300);
    // The table has the first hashes of the list in neither case.
    let dynamo = lower_case(&hashes[200..], false);
    let ended = run("verify", &hashes, &dynamo, &[]);
    ended.assert_status(5);
    ended.assert_stderr(&["found none", "--case lower"]);
}

#[test]
fn an_inspection_costs_one_scan_of_25_items() {
    let hashes = hashes(100);
    let dynamo = lower_case(&hashes, true);
    run("lookup", &hashes, &dynamo, &[]).assert_status(0);
    let scans = dynamo
        .stats()
        .targets
        .get("DynamoDB_20120810.Scan")
        .copied();
    assert_eq!(scans, Some(1));
    assert_eq!(dynamo.stats().gets, 1);
    // The report includes its RCU.
    let stats = dynamo.stats();
    assert_eq!(stats.consumed_read_units, 50.5);
    let ended = run("verify", &hashes, &dynamo, &[]);
    assert_eq!(ended.report["consumed_rcu"], 50.5);
    assert_eq!(dynamo.stats().consumed_read_units, 101.0);
}

#[test]
fn paths_use_the_rules_of_the_table_and_other_rules_are_an_error() {
    let dynamo = FakeDynamo::start(table());
    let paths = b"/home/anna/x\n/etc/x\n";
    let paths_of = |command: &str, args: &[&str]| {
        let args = [&["--paths"], args].concat();
        let run = match command {
            "ingest" => Run::ingest("list", &args),
            "verify" => Run::verify("list", &args),
            _ => Run::lookup("list", &args),
        };
        run.file("list", paths).dynamo(&dynamo).run()
    };
    paths_of("ingest", &["--rules", "v3", "--unix-user", "admin"]).assert_status(0);
    for command in ["ingest", "verify", "lookup"] {
        let ended = paths_of(command, &[]);
        ended.assert_status(0);
        ended.assert_stderr(&["has paths of the rules v3 (users: admin, "]);
    }
    assert_eq!(paths_of("lookup", &[]).number("known"), 2);
    for command in ["ingest", "verify", "lookup"] {
        for flags in [["--rules", "v2"], ["--unix-user", "ubuntu"]] {
            let failed = paths_of(command, &flags);
            failed.assert_status(2);
            failed.assert_stderr(&["give --rules v3 --unix-user admin --windows-user"]);
        }
    }
    let failed = any("serve", &hashes(1), &dynamo, &["--unix-user", "ubuntu"]);
    failed.assert_status(2);
    failed.assert_stderr(&["--unix-user admin", "HASHFERRY_UNIX_USER=admin"]);
    assert_eq!(dynamo.items().len(), 2);
}

#[test]
fn a_list_of_paths_costs_one_scan() {
    let dynamo = FakeDynamo::start(table());
    for command in ["ingest", "verify"] {
        let run = match command {
            "ingest" => Run::ingest("list", &["--paths", "--rules", "v3"]),
            _ => Run::verify("list", &["--paths"]),
        };
        let ended = run
            .file("list", b"/etc/x\n/usr/bin/ls\n")
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
    }
    let stats = dynamo.stats();
    assert_eq!(stats.targets.get("DynamoDB_20120810.Scan"), Some(&2));
}

#[cfg(feature = "local")]
#[test]
fn the_embedded_dynamodb_is_inspected() {
    let hashes = hashes(30);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("data");
    let place = place.to_str().expect("text");
    let local = |command: &str, args: &[&str]| {
        let args = [&["--local", place], args].concat();
        let run = match command {
            "ingest" => Run::ingest("list", &args),
            "verify" => Run::verify("list", &args),
            _ => Run::lookup("list", &args),
        };
        run.file("list", text(&hashes).as_bytes()).run()
    };
    local("ingest", &["--case", "lower"]).assert_status(0);
    local("ingest", &[]).assert_status(0);
    let ended = local("lookup", &[]);
    ended.assert_looked_up([30, 30, 0, 0, 0, 0]);
    ended.assert_stderr(&["lower case: using it"]);
    for command in ["ingest", "verify", "lookup"] {
        let failed = local(command, &["--case", "upper"]);
        failed.assert_status(2);
        failed.assert_stderr(&["give --case lower"]);
    }
}
