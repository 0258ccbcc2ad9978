//! Inspections of tables of every kind, and look-ups in both cases.

use super::*;
use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::ErrorKind;
use crate::dynamodb::client::operation::BatchGet;
use crate::dynamodb::describe_table::assume_table;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema};
use crate::flow::backoff::Backoff;
use crate::list::matchmeta::normalizer::Rules;
use crate::pipeline::contents::case_detection::WRONG_CASE;
use crate::pipeline::contents::scan::inspect_with;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;

fn key(kind: KeyType) -> KeyAttribute {
    KeyAttribute {
        name: "hash".to_owned(),
        kind,
    }
}

fn seen(kind: KeyType, items: &[Value]) -> InspectedItems {
    let mut contents = InspectedItems::new("t", &key(kind));
    items
        .iter()
        .for_each(|item| contents.add_item(&key(kind), item));
    contents
}

/// Settings with this algorithm and key.
fn given(algorithm: Option<Algorithm>, key: Option<&KeyAttribute>) -> KeyOptions<'_> {
    KeyOptions::from_flags(algorithm, key)
}

fn text_keys(keys: &[&str]) -> InspectedItems {
    let items: Vec<Value> = keys.iter().map(|k| json!({"hash": {"S": k}})).collect();
    seen(KeyType::S, &items)
}

fn hash(n: u8) -> Hash {
    let raw = [&[0xAB, 0xCD][..], &[n; 30]].concat();
    Hash::from_bytes(&raw).expect("32 bytes")
}

fn usage_error<T: std::fmt::Debug>(result: Result<T>) -> (String, String) {
    let error = result.expect_err("a usage error");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let hint = error.hint().expect("a hint").to_owned();
    (error.to_string(), hint)
}

fn ok<T>(result: Result<T>) -> T {
    result.expect("no error")
}

#[test]
fn the_case_comes_from_the_keys_and_a_given_one_that_contradicts_is_an_error() {
    let lower = text_keys(&[&hash(1).to_hex(Case::Lower), &hash(2).to_hex(Case::Lower)]);
    let case =
        |contents: &InspectedItems, given_case| ok(contents.case(given_case, SettingSyntax::Flags));
    assert_eq!(case(&lower, None), KeyCase::Known(Case::Lower));
    let given_case = case(&lower, Some(Case::Lower));
    assert_eq!(given_case, KeyCase::Known(Case::Lower));
    let (what, hint) =
        usage_error(lower.case(Some(Case::Upper), SettingSyntax::FlagsOrEnvironment));
    assert!(
        what.contains("does not fit table t: its keys are in lower case"),
        "{what}"
    );
    assert_eq!(hint, "give --case lower (in Lambda: HASHFERRY_CASE=lower)");
    // Keys of digits only, or an empty table, show no case.
    for open in [text_keys(&[&"12".repeat(32)]), text_keys(&[])] {
        for given_case in [None, Some(Case::Lower)] {
            assert_eq!(case(&open, given_case), KeyCase::Unknown(given_case));
        }
    }
    let both = text_keys(&[&hash(1).to_hex(Case::Lower), &hash(2).to_hex(Case::Upper)]);
    assert_eq!(case(&both, None), KeyCase::Both);
    let given_case = case(&both, Some(Case::Lower));
    assert_eq!(given_case, KeyCase::Known(Case::Lower));
    // A key with letters of both cases shows neither.
    let odd = text_keys(&["aB".repeat(32).as_str()]);
    assert_eq!(case(&odd, None), KeyCase::Unknown(None));
    let unseen = Inspection::new(Err("denied".to_owned()), 0.0);
    let given_case = unseen.case(Some(Case::Lower), SettingSyntax::Flags);
    assert_eq!(ok(given_case), KeyCase::Unknown(Some(Case::Lower)));
}

#[test]
fn the_algorithm_is_detected_by_the_length_of_the_keys() {
    let check = |contents: &InspectedItems, algorithm| {
        contents.check_algorithm(algorithm, given(Some(algorithm), None))
    };
    let md5 = text_keys(&[&"ab".repeat(16), &"cd".repeat(16)]);
    assert_eq!(md5.algorithm(), Some(Algorithm::Md5));
    ok(check(&md5, Algorithm::Md5));
    let (what, hint) = usage_error(check(&md5, Algorithm::Sha256));
    assert!(what.contains("has no sha256 hashes"), "{what}");
    assert!(what.contains("2 × md5 (32 hexadecimal digits)"), "{what}");
    assert!(hint.starts_with("give --hash md5"), "{hint}");
    assert!(hint.contains("give --hash sha256 --key hash"), "{hint}");
    // Algorithm and key are both given: that confirms a table of several algorithms.
    // Another key does not.
    let own = key(KeyType::S);
    let algorithm = Some(Algorithm::Sha256);
    ok(md5.check_algorithm(Algorithm::Sha256, given(algorithm, Some(&own))));
    let other = KeyAttribute {
        name: "digest".to_owned(),
        ..own
    };
    usage_error(md5.check_algorithm(Algorithm::Sha256, given(algorithm, Some(&other))));
    // If the key has the name of another algorithm, --hash alone would be an error.
    let named = KeyAttribute {
        name: "sha256".to_owned(),
        kind: KeyType::S,
    };
    let mut md5 = InspectedItems::new("t", &named);
    md5.add_item(&named, &json!({"sha256": {"S": "ab".repeat(16)}}));
    let (_, hint) = usage_error(check(&md5, Algorithm::Sha256));
    assert!(
        hint.starts_with("give --hash md5 --key sha256, or"),
        "{hint}"
    );
    let several = text_keys(&[&"ab".repeat(16), &"cd".repeat(32)]);
    assert_eq!(several.algorithm(), None);
    ok(check(&several, Algorithm::Sha256));
    let (what, _) = usage_error(check(&several, Algorithm::Sha1));
    assert!(
        what.contains("1 × md5") && what.contains("1 × sha256"),
        "{what}"
    );
    let raw = BASE64.encode([7; 20]);
    let bytes = seen(KeyType::B, &[json!({"hash": {"B": raw}})]);
    assert_eq!(bytes.algorithm(), Some(Algorithm::Sha1));
    let case = bytes.case(None, SettingSyntax::Flags);
    assert_eq!(ok(case), KeyCase::Known(Case::Upper));
    let others = text_keys(&["USER#1", "USER#2"]);
    let (what, _) = usage_error(check(&others, Algorithm::Md5));
    assert!(what.contains("has no hashes"), "{what}");
    assert!(!what.contains("USER"), "{what}");
    ok(check(&text_keys(&[]), Algorithm::Md5));
}

#[test]
fn the_rules_of_paths_come_from_the_items_and_others_are_an_error() {
    let item = |fields: &[(&str, &str)]| {
        let mut item = json!({"hash": {"S": hash(1).to_hex(Case::Upper)}});
        for (name, text) in fields {
            item[*name] = json!({"S": text});
        }
        item
    };
    let open = GivenRules::default();
    let v3 = seen(
        KeyType::S,
        &[item(&[("rules", "v3")]), item(&[("rules", "v3")])],
    );
    let taken = v3.normalizer(&open, SettingSyntax::Flags);
    assert_eq!(ok(taken), Normalizer::with_rules(Rules::V3));
    let v2 = GivenRules {
        rules: Some(Rules::V2),
        ..GivenRules::default()
    };
    let (what, hint) = usage_error(v3.normalizer(&v2, SettingSyntax::Flags));
    assert!(what.contains("v3 (users: user, Administrator)"), "{what}");
    assert_eq!(
        hint,
        "give --rules v3 --unix-user user --windows-user Administrator"
    );
    let admin = seen(
        KeyType::S,
        &[item(&[("rules", "v2"), ("unix_user", "admin")])],
    );
    let taken = admin
        .normalizer(&open, SettingSyntax::Flags)
        .expect("taken");
    assert_eq!(
        (taken.rules(), taken.users().unix.as_str()),
        (Rules::V2, "admin")
    );
    usage_error(admin.normalizer(
        &Normalizer::with_rules(Rules::V2).into(),
        SettingSyntax::Flags,
    ));
    let several = [item(&[("rules", "v2")]), item(&[("rules", "v3")])];
    let several = seen(KeyType::S, &several);
    usage_error(several.normalizer(&open, SettingSyntax::Flags));
    let whole = Normalizer::with_rules(Rules::V3);
    let normalizer = several.normalizer(&whole.clone().into(), SettingSyntax::Flags);
    assert_eq!(ok(normalizer), whole);
    // Rules of a later version, and items without rules.
    usage_error(
        seen(KeyType::S, &[item(&[("rules", "v9")])]).normalizer(&open, SettingSyntax::Flags),
    );
    let silent = seen(KeyType::S, &[item(&[])]).normalizer(&open, SettingSyntax::Flags);
    assert_eq!(ok(silent), Normalizer::default());
}

#[test]
fn items_of_any_shape_are_counted() {
    let odd = seen(
        KeyType::S,
        &[json!({}), json!(7), json!({"hash": {"S": 5}})],
    );
    assert_eq!((odd.item_count, odd.hash_lengths.len()), (3, 0));
}

/// Inspection of a table whose Scan has these responses, with the request bodies.
async fn inspect_responses(answers: Vec<Result<Value, CallError>>) -> (Inspection, Vec<Value>) {
    let answers = Mutex::new(answers.into_iter());
    let asked = Mutex::new(Vec::new());
    let scan = |body: Bytes| {
        let body = serde_json::from_slice(&body).expect("JSON");
        asked.lock().expect("no panic").push(body);
        let answer = answers.lock().expect("no panic").next().expect("one more");
        async move { answer.map(|body| Bytes::from(body.to_string())) }
    };
    let backoff = Backoff::new(fastrand::Rng::with_seed(1));
    let look = inspect_with(scan, "t", &key(KeyType::S), backoff).await;
    (look, asked.into_inner().expect("no panic"))
}

fn failure(meaning: ErrorClass) -> CallError {
    CallError {
        class: meaning,
        code: Some("SomeException".to_owned()),
        message: "no".to_owned(),
        reasons: Vec::new(),
        no_credentials: false,
    }
}

#[tokio::test]
async fn an_empty_page_with_a_next_page_does_not_mean_an_empty_table() {
    let empty = json!({"Items": [], "LastEvaluatedKey": {"hash": {"S": "a"}},
                       "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 0.5}});
    let item = json!({"hash": {"S": hash(1).to_hex(Case::Lower)}});
    let full = json!({"Items": [item], "LastEvaluatedKey": {"hash": {"S": "b"}},
                      "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 1.5}});
    let (look, asked) = inspect_responses(vec![Ok(empty.clone()), Ok(full)]).await;
    assert_eq!(look.items.as_ref().map(|c| c.lower_keys), Ok(1));
    assert_eq!(look.consumed_rcu, 2.0);
    assert_eq!(asked[0].get("ExclusiveStartKey"), None);
    assert_eq!(asked[1]["ExclusiveStartKey"], json!({"hash": {"S": "a"}}));
    assert_eq!((&asked[0]["Limit"], asked.len()), (&json!(25), 2));
    // The number of calls is limited, and then the result is an error, not an empty table.
    let (look, asked) = inspect_responses(vec![Ok(empty); 4]).await;
    assert!(look.items.is_err());
    assert_eq!(asked.len(), 4);
    let (look, _) = inspect_responses(vec![Ok(json!({"Items": []}))]).await;
    assert_eq!(look.items.map(|c| c.item_count), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_scan_is_retried_and_a_denied_one_is_not() {
    for meaning in [ErrorClass::Throttled, ErrorClass::Transient] {
        let answers = vec![Err(failure(meaning)), Ok(json!({"Items": []}))];
        let (look, asked) = inspect_responses(answers).await;
        assert_eq!((look.items.is_ok(), asked.len()), (true, 2));
        let (look, asked) = inspect_responses(vec![Err(failure(meaning)); 4]).await;
        assert_eq!((look.items.is_err(), asked.len()), (true, 4));
    }
    for meaning in [
        ErrorClass::Permanent,
        ErrorClass::Invalid,
        ErrorClass::Expired,
    ] {
        let (look, asked) = inspect_responses(vec![Err(failure(meaning))]).await;
        assert_eq!((look.items.is_err(), asked.len()), (true, 1));
    }
    for strange in [json!({}), json!([]), json!({"Items": {}}), json!("<html>")] {
        let (look, asked) = inspect_responses(vec![Ok(strange); 4]).await;
        assert_eq!((look.items.is_err(), asked.len()), (true, 4));
    }
}

#[test]
fn an_algorithm_other_than_the_name_of_the_key_needs_the_key_too() {
    let table = |name: &str| {
        let key = KeyAttribute {
            name: name.to_owned(),
            kind: KeyType::S,
        };
        let denied = Error::usage("denied");
        assume_table(denied, "t", Some(key), None).expect("a table")
    };
    let own = |name: &str| table(name).schema.partition;
    let check = |name, algorithm, key| check_key_name(&table(name), given(algorithm, key));
    let md5 = Some(Algorithm::Md5);
    let (what, hint) = usage_error(check("sha256", md5, None));
    assert!(what.contains("md5 does not fit table t"), "{what}");
    assert!(hint.contains("give --key sha256 as well"), "{hint}");
    let (digest, sha256) = (own("digest"), own("sha256"));
    usage_error(check("sha256", md5, Some(&digest)));
    ok(check("sha256", md5, Some(&sha256)));
    ok(check("sha256", None, None));
    ok(check("md5", md5, None));
    // A key name that is not an algorithm fits any.
    ok(check("digest", md5, None));
}

/// A table of text keys that leaves the key `unread` unprocessed once.
#[derive(Debug, Default)]
struct Table {
    keys: BTreeSet<String>,
    unread: Mutex<Option<String>>,
    calls: Mutex<u32>,
}

impl Table {
    fn holds(hashes: &[Hash], case: Case) -> Table {
        Table {
            keys: hashes.iter().map(|h| h.to_hex(case)).collect(),
            ..Table::default()
        }
    }

    fn calls(&self) -> u32 {
        *self.calls.lock().expect("no panic")
    }
}

impl BatchGet for Table {
    async fn batch_get(&self, body: Bytes) -> Result<Bytes, CallError> {
        *self.calls.lock().expect("no panic") += 1;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let keys = body["RequestItems"]["t"]["Keys"].as_array().expect("keys");
        let (mut items, mut left) = (Vec::new(), Vec::new());
        for key in keys {
            let text = key["hash"]["S"].as_str().expect("text");
            if self
                .unread
                .lock()
                .expect("no panic")
                .take_if(|u| u == text)
                .is_some()
            {
                left.push(key.clone());
            } else if self.keys.contains(text) {
                items.push(key.clone());
            }
        }
        let unprocessed = match left.is_empty() {
            true => json!({}),
            false => json!({"t": {"Keys": left}}),
        };
        let answer = json!({"Responses": {"t": items}, "UnprocessedKeys": unprocessed});
        Ok(Bytes::from(answer.to_string()))
    }
}

fn either(case: KeyCase) -> CaseDetector {
    let schema = KeySchema {
        partition: key(KeyType::S),
        sort: None,
        index_keys: Vec::new(),
    };
    CaseDetector::new(
        "t",
        &schema,
        Algorithm::Sha256,
        case,
        &[],
        SettingSyntax::Flags,
    )
    .expect("fits")
}

/// Looks up `hashes` in `table`: those found, and the total number of calls.
async fn found(either: &CaseDetector, table: &Table, hashes: &[Hash]) -> (Vec<Hash>, u32) {
    let answered = either.get(table, hashes, false).await.expect("an answer");
    let items = answered.response.items.iter();
    (items.map(|item| item.hash).collect(), table.calls())
}

#[tokio::test]
async fn a_batch_without_a_found_hash_is_looked_up_in_the_other_case() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let open = either(KeyCase::Unknown(None));
    // No hash found in either case: the case stays unknown.
    let none = found(&open, &table, &[hash(8), hash(9)]).await;
    assert_eq!(none, (vec![], 2));
    let one = found(&open, &table, &[hash(1), hash(2)]).await;
    assert_eq!(one, (vec![hash(1)], 4));
    // The case is known: one call per batch from now on.
    let one = found(&open, &table, &[hash(1)]).await;
    assert_eq!(one, (vec![hash(1)], 5));
}

#[tokio::test]
async fn a_given_case_that_the_table_does_not_have_is_an_error() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let detector = either(KeyCase::Unknown(Some(Case::Upper)));
    let error = detector
        .get(&table, &[hash(1)], false)
        .await
        .expect_err("a usage error");
    assert_eq!(error.code.as_deref(), Some(WRONG_CASE));
    assert!(error.message.contains("give --case lower"), "{error}");
    let (what, hint) = usage_error(detect_case(&detector, &table, &[hash(1)]).await);
    assert!(what.contains("in lower case"), "{what}");
    assert_eq!(hint, "give --case lower");
    let right = either(KeyCase::Unknown(Some(Case::Lower)));
    let (case, _) = ok(detect_case(&right, &table, &[hash(1)]).await);
    assert_eq!(case, Some(Case::Lower));
    let open = either(KeyCase::Unknown(None));
    let (case, _) = ok(detect_case(&open, &table, &[hash(9)]).await);
    assert_eq!(case, None);
}

#[tokio::test]
async fn a_given_case_is_checked_with_the_first_thousand_hashes() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let detector = either(KeyCase::Unknown(Some(Case::Upper)));
    let unknown: Vec<Hash> = (100..200).map(hash).collect();
    for batch in 1..=10 {
        let none = found(&detector, &table, &unknown).await;
        assert_eq!(none, (vec![], 2 * batch));
    }
    let none = found(&detector, &table, &unknown).await;
    assert_eq!(none, (vec![], 21));
    // A case that was not given stays unknown: a false "unknown" is worse than a second call.
    let open = either(KeyCase::Unknown(None));
    for batch in 1..=11 {
        let none = found(&open, &table, &unknown).await;
        assert_eq!(none, (vec![], 21 + 2 * batch));
    }
}

#[tokio::test]
async fn with_a_known_case_only_that_case_is_looked_up() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let known = either(KeyCase::Known(Case::Upper));
    let none = found(&known, &table, &[hash(1)]).await;
    assert_eq!(none, (vec![], 1));
}

#[tokio::test]
async fn in_a_table_with_both_cases_every_hash_is_found() {
    let mut table = Table::holds(&[hash(1)], Case::Lower);
    table.keys.insert(hash(2).to_hex(Case::Upper));
    let both = either(KeyCase::Both);
    let two = found(&both, &table, &[hash(1), hash(2), hash(3)]).await;
    assert_eq!(two, (vec![hash(2), hash(1)], 2));
    // All hashes are found in the first case: no second call.
    assert_eq!(found(&both, &table, &[hash(2)]).await, (vec![hash(2)], 3));
    // A table may show only later that it has both cases.
    let open = either(KeyCase::Unknown(None));
    assert_eq!(found(&open, &table, &[hash(1)]).await.0, [hash(1)]);
    assert!(!open.record_case(0));
    let two = found(&open, &table, &[hash(1), hash(2)]).await.0;
    assert_eq!(two, [hash(2), hash(1)]);
}

#[tokio::test]
async fn keys_left_unprocessed_by_either_call_are_reported() {
    for case in [Case::Upper, Case::Lower] {
        let table = Table::holds(&[hash(1)], Case::Upper);
        *table.unread.lock().expect("no panic") = Some(hash(2).to_hex(case));
        let open = either(KeyCase::Unknown(None));
        let answered = open.get(&table, &[hash(2), hash(3)], false).await;
        let answer = answered.expect("an answer").response;
        assert_eq!(answer.unprocessed, [hash(2)], "{case:?}");
        assert_eq!(answer.items, []);
    }
}
