//! Looks at tables of every kind, and questions in either case.

use super::*;
use crate::aws::error::{CallError, Meaning};
use crate::base::error::ErrorKind;
use crate::dynamodb::client::operation::BatchGet;
use crate::dynamodb::describe_table::assumed;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema};
use crate::flow::backoff::Backoff;
use crate::list::matchmeta::normalizer::Rules;
use crate::pipeline::contents::either_case::WRONG_CASE;
use crate::pipeline::contents::scan::look_by;
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

fn seen(kind: KeyType, items: &[Value]) -> Contents {
    let mut contents = Contents::of("t", &key(kind));
    items
        .iter()
        .for_each(|item| contents.enter(&key(kind), item));
    contents
}

/// What is given for the algorithm, and the name of the key.
fn given(algorithm: Option<Algorithm>, key: Option<&KeyAttribute>) -> Given<'_> {
    Given::by_flags(algorithm, key)
}

fn text_keys(keys: &[&str]) -> Contents {
    let items: Vec<Value> = keys.iter().map(|k| json!({"hash": {"S": k}})).collect();
    seen(KeyType::S, &items)
}

fn hash(n: u8) -> Hash {
    let raw = [&[0xAB, 0xCD][..], &[n; 30]].concat();
    Hash::from_bytes(&raw).expect("32 bytes")
}

fn refused<T: std::fmt::Debug>(result: Result<T>) -> (String, String) {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let hint = error.what_to_do().expect("a hint").to_owned();
    (error.to_string(), hint)
}

fn ok<T>(result: Result<T>) -> T {
    result.expect("not refused")
}

#[test]
fn the_case_is_taken_where_it_is_open_and_refused_where_it_contradicts() {
    let lower = text_keys(&[&hash(1).to_hex(Case::Lower), &hash(2).to_hex(Case::Lower)]);
    let case = |contents: &Contents, told| ok(contents.case(told, Settings::Flags));
    assert_eq!(case(&lower, None), KeyCase::Known(Case::Lower));
    let told = case(&lower, Some(Case::Lower));
    assert_eq!(told, KeyCase::Known(Case::Lower));
    let (what, hint) = refused(lower.case(Some(Case::Upper), Settings::FlagsOrEnvironment));
    assert!(
        what.contains("does not fit table t: its keys are in lower case"),
        "{what}"
    );
    assert_eq!(hint, "give --case lower (in Lambda: HASHFERRY_CASE=lower)");
    // Digits alone show no case, and an empty table shows nothing.
    for open in [text_keys(&[&"12".repeat(32)]), text_keys(&[])] {
        for told in [None, Some(Case::Lower)] {
            assert_eq!(case(&open, told), KeyCase::Open(told));
        }
    }
    let both = text_keys(&[&hash(1).to_hex(Case::Lower), &hash(2).to_hex(Case::Upper)]);
    assert_eq!(case(&both, None), KeyCase::Both);
    let told = case(&both, Some(Case::Lower));
    assert_eq!(told, KeyCase::Known(Case::Lower));
    // A key whose own letters are of both cases shows neither.
    let odd = text_keys(&["aB".repeat(32).as_str()]);
    assert_eq!(case(&odd, None), KeyCase::Open(None));
    let unseen = Look::new(Err("denied".to_owned()), 0.0);
    let told = unseen.case(Some(Case::Lower), Settings::Flags);
    assert_eq!(ok(told), KeyCase::Open(Some(Case::Lower)));
}

#[test]
fn the_algorithm_is_known_by_the_length_of_every_key() {
    let check = |contents: &Contents, algorithm| {
        contents.check_algorithm(algorithm, given(Some(algorithm), None))
    };
    let md5 = text_keys(&[&"ab".repeat(16), &"cd".repeat(16)]);
    assert_eq!(md5.algorithm(), Some(Algorithm::Md5));
    ok(check(&md5, Algorithm::Md5));
    let (what, hint) = refused(check(&md5, Algorithm::Sha256));
    assert!(what.contains("does not hold sha256"), "{what}");
    assert!(what.contains("2 × md5 (32 hexadecimal digits)"), "{what}");
    assert!(hint.starts_with("give --hash md5"), "{hint}");
    assert!(hint.contains("give --hash sha256 --key hash"), "{hint}");
    // Both named by a person: a table of several may be meant. Another key's name is no
    // such word.
    let own = key(KeyType::S);
    let told = Some(Algorithm::Sha256);
    ok(md5.check_algorithm(Algorithm::Sha256, given(told, Some(&own))));
    let other = KeyAttribute {
        name: "digest".to_owned(),
        ..own
    };
    refused(md5.check_algorithm(Algorithm::Sha256, given(told, Some(&other))));
    // Where the key is named as another one, the hash alone would be refused.
    let named = KeyAttribute {
        name: "sha256".to_owned(),
        kind: KeyType::S,
    };
    let mut md5 = Contents::of("t", &named);
    md5.enter(&named, &json!({"sha256": {"S": "ab".repeat(16)}}));
    let (_, hint) = refused(check(&md5, Algorithm::Sha256));
    assert!(
        hint.starts_with("give --hash md5 --key sha256, or"),
        "{hint}"
    );
    let several = text_keys(&[&"ab".repeat(16), &"cd".repeat(32)]);
    assert_eq!(several.algorithm(), None);
    ok(check(&several, Algorithm::Sha256));
    let (what, _) = refused(check(&several, Algorithm::Sha1));
    assert!(
        what.contains("1 × md5") && what.contains("1 × sha256"),
        "{what}"
    );
    let raw = BASE64.encode([7; 20]);
    let bytes = seen(KeyType::B, &[json!({"hash": {"B": raw}})]);
    assert_eq!(bytes.algorithm(), Some(Algorithm::Sha1));
    let case = bytes.case(None, Settings::Flags);
    assert_eq!(ok(case), KeyCase::Known(Case::Upper));
    let others = text_keys(&["USER#1", "USER#2"]);
    let (what, _) = refused(check(&others, Algorithm::Md5));
    assert!(what.contains("does not hold hashes"), "{what}");
    assert!(!what.contains("USER"), "{what}");
    ok(check(&text_keys(&[]), Algorithm::Md5));
}

#[test]
fn of_a_table_of_paths_the_rules_are_taken_and_others_refused() {
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
    let taken = v3.rules(&open, Settings::Flags);
    assert_eq!(ok(taken), Normalizer::of(Rules::V3));
    let v2 = GivenRules {
        rules: Some(Rules::V2),
        ..GivenRules::default()
    };
    let (what, hint) = refused(v3.rules(&v2, Settings::Flags));
    assert!(what.contains("v3 (users: user, Administrator)"), "{what}");
    assert_eq!(
        hint,
        "give --rules v3 --unix-user user --windows-user Administrator"
    );
    let admin = seen(
        KeyType::S,
        &[item(&[("rules", "v2"), ("unix_user", "admin")])],
    );
    let taken = admin.rules(&open, Settings::Flags).expect("taken");
    assert_eq!(
        (taken.rules(), taken.users().unix.as_str()),
        (Rules::V2, "admin")
    );
    refused(admin.rules(&Normalizer::of(Rules::V2).into(), Settings::Flags));
    let several = [item(&[("rules", "v2")]), item(&[("rules", "v3")])];
    let several = seen(KeyType::S, &several);
    refused(several.rules(&open, Settings::Flags));
    let whole = Normalizer::of(Rules::V3);
    let told = several.rules(&whole.clone().into(), Settings::Flags);
    assert_eq!(ok(told), whole);
    // Of rules to come, and of a table whose items say nothing.
    refused(seen(KeyType::S, &[item(&[("rules", "v9")])]).rules(&open, Settings::Flags));
    let silent = seen(KeyType::S, &[item(&[])]).rules(&open, Settings::Flags);
    assert_eq!(ok(silent), Normalizer::default());
}

#[test]
fn items_of_any_shape_are_read() {
    let odd = seen(
        KeyType::S,
        &[json!({}), json!(7), json!({"hash": {"S": 5}})],
    );
    assert_eq!((odd.items, odd.by_bytes.len()), (3, 0));
}

/// A look at a table whose Scan gives these answers, and the bodies that it is asked.
async fn looked(answers: Vec<Result<Value, CallError>>) -> (Look, Vec<Value>) {
    let answers = Mutex::new(answers.into_iter());
    let asked = Mutex::new(Vec::new());
    let scan = |body: Bytes| {
        let body = serde_json::from_slice(&body).expect("JSON");
        asked.lock().expect("no panic").push(body);
        let answer = answers.lock().expect("no panic").next().expect("one more");
        async move { answer.map(|body| Bytes::from(body.to_string())) }
    };
    let backoff = Backoff::new(fastrand::Rng::with_seed(1));
    let look = look_by(scan, "t", &key(KeyType::S), backoff).await;
    (look, asked.into_inner().expect("no panic"))
}

fn failure(meaning: Meaning) -> CallError {
    CallError {
        meaning,
        code: Some("SomeException".to_owned()),
        message: "no".to_owned(),
        reasons: Vec::new(),
        no_credentials: false,
    }
}

#[tokio::test]
async fn an_empty_page_that_has_a_next_one_is_no_empty_table() {
    let empty = json!({"Items": [], "LastEvaluatedKey": {"hash": {"S": "a"}},
                       "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 0.5}});
    let item = json!({"hash": {"S": hash(1).to_hex(Case::Lower)}});
    let full = json!({"Items": [item], "LastEvaluatedKey": {"hash": {"S": "b"}},
                      "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 1.5}});
    let (look, asked) = looked(vec![Ok(empty.clone()), Ok(full)]).await;
    assert_eq!(look.seen.as_ref().map(|c| c.lower), Ok(1));
    assert_eq!(look.read_units, 2.0);
    assert_eq!(asked[0].get("ExclusiveStartKey"), None);
    assert_eq!(asked[1]["ExclusiveStartKey"], json!({"hash": {"S": "a"}}));
    assert_eq!((&asked[0]["Limit"], asked.len()), (&json!(25), 2));
    // Not for ever, and then it is not taken for an empty table.
    let (look, asked) = looked(vec![Ok(empty); 4]).await;
    assert!(look.seen.is_err());
    assert_eq!(asked.len(), 4);
    let (look, _) = looked(vec![Ok(json!({"Items": []}))]).await;
    assert_eq!(look.seen.map(|c| c.items), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_is_throttled_is_sent_again_and_a_denied_one_is_not() {
    for meaning in [Meaning::Throttled, Meaning::Transient] {
        let answers = vec![Err(failure(meaning)), Ok(json!({"Items": []}))];
        let (look, asked) = looked(answers).await;
        assert_eq!((look.seen.is_ok(), asked.len()), (true, 2));
        let (look, asked) = looked(vec![Err(failure(meaning)); 4]).await;
        assert_eq!((look.seen.is_err(), asked.len()), (true, 4));
    }
    for meaning in [Meaning::Permanent, Meaning::Invalid, Meaning::Expired] {
        let (look, asked) = looked(vec![Err(failure(meaning))]).await;
        assert_eq!((look.seen.is_err(), asked.len()), (true, 1));
    }
    for strange in [json!({}), json!([]), json!({"Items": {}}), json!("<html>")] {
        let (look, asked) = looked(vec![Ok(strange); 4]).await;
        assert_eq!((look.seen.is_err(), asked.len()), (true, 4));
    }
}

#[test]
fn an_algorithm_that_is_not_the_keys_name_needs_the_key_too() {
    let table = |name: &str| {
        let key = KeyAttribute {
            name: name.to_owned(),
            kind: KeyType::S,
        };
        let denied = Error::usage("denied");
        assumed(denied, "t", Some(key), None).expect("a table")
    };
    let own = |name: &str| table(name).schema.partition;
    let check = |name, told, key| check_key_name(&table(name), given(told, key));
    let md5 = Some(Algorithm::Md5);
    let (what, hint) = refused(check("sha256", md5, None));
    assert!(what.contains("md5 does not fit table t"), "{what}");
    assert!(hint.contains("give --key sha256 as well"), "{hint}");
    let (digest, sha256) = (own("digest"), own("sha256"));
    refused(check("sha256", md5, Some(&digest)));
    ok(check("sha256", md5, Some(&sha256)));
    ok(check("sha256", None, None));
    ok(check("md5", md5, None));
    // A name that is no algorithm's says nothing.
    ok(check("digest", md5, None));
}

/// A table of text keys that leaves `unread` unprocessed once.
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

fn either(case: KeyCase) -> EitherCase {
    let schema = KeySchema {
        partition: key(KeyType::S),
        sort: None,
        index_keys: Vec::new(),
    };
    EitherCase::new("t", &schema, Algorithm::Sha256, case, &[], Settings::Flags).expect("fits")
}

/// What `table` answers when it is asked for `hashes`: those found, and calls in all.
async fn found(either: &EitherCase, table: &Table, hashes: &[Hash]) -> (Vec<Hash>, u32) {
    let answered = either.ask(table, hashes, false).await.expect("an answer");
    let items = answered.answer.items.iter();
    (items.map(|item| item.hash).collect(), table.calls())
}

#[tokio::test]
async fn a_batch_that_finds_nothing_is_asked_in_the_other_case() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let open = either(KeyCase::Open(None));
    // Nothing known in either case: both are asked, and stay open.
    let none = found(&open, &table, &[hash(8), hash(9)]).await;
    assert_eq!(none, (vec![], 2));
    let one = found(&open, &table, &[hash(1), hash(2)]).await;
    assert_eq!(one, (vec![hash(1)], 4));
    // Settled: one call a batch from now on.
    let one = found(&open, &table, &[hash(1)]).await;
    assert_eq!(one, (vec![hash(1)], 5));
}

#[tokio::test]
async fn a_case_that_was_told_and_is_not_the_tables_is_an_error() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let told = either(KeyCase::Open(Some(Case::Upper)));
    let error = told
        .ask(&table, &[hash(1)], false)
        .await
        .expect_err("refused");
    assert_eq!(error.code.as_deref(), Some(WRONG_CASE));
    assert!(error.message.contains("give --case lower"), "{error}");
    let (what, hint) = refused(case_by_keys(&told, &table, &[hash(1)]).await);
    assert!(what.contains("in lower case"), "{what}");
    assert_eq!(hint, "give --case lower");
    let right = either(KeyCase::Open(Some(Case::Lower)));
    let (case, _) = ok(case_by_keys(&right, &table, &[hash(1)]).await);
    assert_eq!(case, Some(Case::Lower));
    let open = either(KeyCase::Open(None));
    let (case, _) = ok(case_by_keys(&open, &table, &[hash(9)]).await);
    assert_eq!(case, None);
}

#[tokio::test]
async fn a_case_that_was_told_is_checked_for_the_first_thousand_hashes() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let told = either(KeyCase::Open(Some(Case::Upper)));
    let unknown: Vec<Hash> = (100..200).map(hash).collect();
    for batch in 1..=10 {
        let none = found(&told, &table, &unknown).await;
        assert_eq!(none, (vec![], 2 * batch));
    }
    let none = found(&told, &table, &unknown).await;
    assert_eq!(none, (vec![], 21));
    // What was not told stays open: a false unknown is worse than a second call.
    let open = either(KeyCase::Open(None));
    for batch in 1..=11 {
        let none = found(&open, &table, &unknown).await;
        assert_eq!(none, (vec![], 21 + 2 * batch));
    }
}

#[tokio::test]
async fn a_case_that_is_known_is_asked_alone() {
    let table = Table::holds(&[hash(1)], Case::Lower);
    let known = either(KeyCase::Known(Case::Upper));
    let none = found(&known, &table, &[hash(1)]).await;
    assert_eq!(none, (vec![], 1));
}

#[tokio::test]
async fn of_a_table_of_both_cases_every_hash_is_found() {
    let mut table = Table::holds(&[hash(1)], Case::Lower);
    table.keys.insert(hash(2).to_hex(Case::Upper));
    let both = either(KeyCase::Both);
    let two = found(&both, &table, &[hash(1), hash(2), hash(3)]).await;
    assert_eq!(two, (vec![hash(2), hash(1)], 2));
    // Found in the first case, nothing is left to ask for.
    assert_eq!(found(&both, &table, &[hash(2)]).await, (vec![hash(2)], 3));
    // That a table has both can also show late.
    let open = either(KeyCase::Open(None));
    assert_eq!(found(&open, &table, &[hash(1)]).await.0, [hash(1)]);
    assert!(!open.settle(0));
    let two = found(&open, &table, &[hash(1), hash(2)]).await.0;
    assert_eq!(two, [hash(2), hash(1)]);
}

#[tokio::test]
async fn what_either_call_left_unprocessed_is_asked_again() {
    for case in [Case::Upper, Case::Lower] {
        let table = Table::holds(&[hash(1)], Case::Upper);
        *table.unread.lock().expect("no panic") = Some(hash(2).to_hex(case));
        let open = either(KeyCase::Open(None));
        let answered = open.ask(&table, &[hash(2), hash(3)], false).await;
        let answer = answered.expect("an answer").answer;
        assert_eq!(answer.unprocessed, [hash(2)], "{case:?}");
        assert_eq!(answer.items, []);
    }
}
