//! Tests of `hashferry lookup --api`: the real binary, a scripted fake API.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::binary::{Finished, Run, answers};
use crate::common::fake_api::{ApiFault, FakeApi, Tls, json_answer};
use crate::common::wire::Answer;
use serde_json::{Value, json};

const KEY: &str = "k3y-that-Nobody.may_see";

/// Made-up MD5 hashes in upper case.
fn hashes(n: u32) -> Vec<String> {
    (1..=n)
        .map(|i| format!("{:08X}{:024X}", i.wrapping_mul(2_654_435_761), i))
        .collect()
}

fn text(hashes: &[String]) -> String {
    hashes
        .iter()
        .map(|h| format!("{}\n", h.to_lowercase()))
        .collect()
}

fn known(hashes: &[String]) -> Vec<(String, Value)> {
    let every_second = hashes.iter().step_by(2);
    every_second
        .map(|h| {
            (
                h.clone(),
                json!({"md5": h, "source": "NSRL", "n": [1, {"a b": null}]}),
            )
        })
        .collect()
}

fn expected(hashes: &[String]) -> Vec<Value> {
    let each = hashes.iter().enumerate();
    each.map(|(i, h)| match i % 2 {
        0 => json!({"input": h.to_lowercase(), "hash": h, "status": "known", "source": "NSRL", "n": [1, {"a b": null}]}),
        _ => json!({"input": h.to_lowercase(), "hash": h, "status": "unknown"}),
    })
    .collect()
}

fn assert_answers(ended: &Finished, expected: &[Value]) {
    let got = ended.answers();
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got, expected, "answer {i}");
    }
    assert_eq!(got.len(), expected.len(), "{}", ended.stderr);
}

fn lookup(url: &str, args: &[&str], list: impl Into<Vec<u8>>) -> Finished {
    run(url, args).input(list).run()
}

fn run(url: &str, args: &[&str]) -> Run {
    Run::lookup("-", &[&["--api", url], args].concat())
}

fn fails(hash: &str, n: u64) -> impl Fn(u64, &str) -> Option<ApiFault> + Send + Sync + 'static {
    let (hash, seen) = (hash.to_owned(), std::sync::atomic::AtomicU64::new(0));
    move |_, path| {
        let is_same = path.ends_with(&hash);
        let fails = || seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < n;
        (is_same && fails()).then(|| ApiFault::Answer(Answer::new(503, "busy")))
    }
}

#[test]
fn answers_are_in_list_order_over_few_connections() {
    let hashes = hashes(2000);
    // Some responses are held, so that they arrive out of order.
    let api = FakeApi::start_with(known(&hashes), None, |k, _| {
        (k % 50 == 7).then_some(ApiFault::HoldUntil(k + 20))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    ended.assert_looked_up([2000, 1000, 1000, 0, 0, 0]);
    assert_eq!(
        (&ended.report["table"], &ended.report["hash"]),
        (&Value::Null, &json!("md5"))
    );
    assert_eq!(
        (ended.number("requests"), ended.number("consumed_rcu")),
        (2000, 0)
    );
    let stats = api.stats();
    assert_eq!((stats.requests, stats.probes), (2000, 2));
    // One connection for each call in flight, and two for the probes.
    assert!(stats.connections <= 66, "{}", stats.connections);
    assert!(stats.paths.values().all(|n| *n == 1));
    assert_eq!(stats.keys.keys().collect::<Vec<_>>(), [&None]);
}

#[test]
fn duplicate_hashes_cause_one_request_and_invalid_lines_none() {
    let few = hashes(20);
    let api = FakeApi::start(known(&few));
    let mut list = text(&few).repeat(30);
    list.push_str("# comment\nxyz\n");
    let ended = lookup(
        &api.url("md5"),
        &["--case", "lower", "--concurrency", "3"],
        list,
    );
    ended.assert_status(3);
    ended.assert_looked_up([602, 300, 300, 2, 0, 0]);
    let stats = api.stats();
    assert_eq!(stats.requests, 20);
    assert!(stats.paths.keys().all(|p| *p == p.to_lowercase()));
    assert!(stats.connections <= 5, "{}", stats.connections);
}

#[test]
fn failed_calls_are_retried_and_a_hash_without_tries_left_is_an_error() {
    let hashes = hashes(60);
    let api = FakeApi::start_with(known(&hashes), None, |k, _| match k {
        3 => Some(ApiFault::Drop),
        9 => Some(ApiFault::Answer(Answer::new(500, "{\"error\":\"oops\"}"))),
        12 => Some(ApiFault::Answer(Answer::new(200, "cut").header("X-A", "b"))),
        20 => Some(ApiFault::Answer(
            Answer::new(502, "<html>").header("Retry-After", "0"),
        )),
        _ => None,
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    // An invalid response is an error at once, without a retry.
    ended.assert_status(1);
    let mut expected = expected(&hashes);
    let answers = ended.answers();
    let wrong: Vec<usize> = (0..60).filter(|i| answers[*i] != expected[*i]).collect();
    let [wrong] = wrong[..] else {
        panic!("{wrong:?}")
    };
    assert_eq!(
        answers[wrong]["error"],
        "status 200: cut: not a JSON object"
    );
    assert_eq!(ended.number("retries"), 3);
    ended.assert_stderr(&["1 line could not be looked up"]);

    // Two failures, then a valid response: known with three tries, an error with two.
    for (tries, status) in [("3", 0), ("2", 1)] {
        let api = FakeApi::start_with(known(&hashes), None, fails(&hashes[7], 2));
        let ended = lookup(&api.url("md5"), &["--tries", tries], text(&hashes));
        ended.assert_status(status);
        if status == 1 {
            let hash = &hashes[7];
            expected[7] = json!({"input": hash.to_lowercase(), "hash": hash, "status": "error",
                "error": "status 503: busy (tried 2 times)"});
        }
        assert_answers(&ended, &expected);
    }
}

#[test]
fn a_throttled_call_is_retried_after_retry_after() {
    let hashes = hashes(40);
    let api = FakeApi::start_with(known(&hashes), None, |k, _| {
        (k == 10).then(|| ApiFault::Answer(Answer::new(429, "{}").header("Retry-After", "1")))
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    assert_eq!((ended.number("throttled"), ended.number("retries")), (1, 1));
    let times = api.stats().times;
    assert!(
        times[10] - times[9] >= Duration::from_secs(1),
        "the retry came too soon"
    );

    // A longer wait than --give-up-after ends the run with a message.
    let api = FakeApi::start_with(known(&hashes), None, |k, _| {
        (k > 10)
            .then(|| ApiFault::Answer(Answer::new(429, "slow down").header("Retry-After", "7200")))
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    ended.assert_status(1);
    assert_answers(&ended, &expected(&hashes)[..10]);
    ended.assert_stderr(&["7200 s", "slow down", "--resume"]);
    ended.assert_looked_up([40, 5, 5, 0, 0, 30]);
}

#[test]
fn an_api_that_never_responds_ends_the_run() {
    let hashes = hashes(3);
    // It responds to the probes, and then to nothing.
    let api = FakeApi::start_with(known(&hashes), None, |k, _| {
        (k > 0).then_some(ApiFault::Stall)
    });
    let ended = lookup(
        &api.url("md5"),
        &["--timeout", "100ms", "--tries", "2"],
        text(&hashes),
    );
    ended.assert_status(1);
    ended.assert_looked_up([3, 0, 0, 0, 3, 0]);
    let error = ended.answers()[0]["error"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(error.starts_with("no response in time"), "{error}");
    let args = [
        "--timeout",
        "50ms",
        "--tries",
        "1000",
        "--give-up-after",
        "300ms",
    ];
    let ended = lookup(&api.url("md5"), &args, text(&hashes));
    ended.assert_status(1);
    ended.assert_stderr(&["nothing could be read from http://127.0.0.1:", "for 0 s"]);
    drop(api);
    // No response to the probes: no line is looked up, and the message has a hint.
    let api = FakeApi::start_with([], None, |_, _| Some(ApiFault::Stall));
    for args in [&["--timeout", "50ms", "--tries", "2"][..], &args] {
        let ended = lookup(&api.url("md5"), args, text(&hashes));
        ended.assert_status(1);
        assert_eq!(ended.stdout, "");
        ended.assert_stderr(&[
            "nothing could be read from",
            "no response in time",
            "--tries",
        ]);
    }
    let ended = lookup("http://127.0.0.1:1/md5", &["--tries", "2"], text(&hashes));
    ended.assert_status(1);
    ended.assert_stderr(&["nothing could be read from", "(tried 2 times)"]);
    // An empty list causes no call.
    let ended = lookup("http://127.0.0.1:1/md5", &["--tries", "2"], "");
    ended.assert_status(0);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_wrong_url_makes_no_hash_unknown() {
    let hashes = hashes(500);
    let api = FakeApi::start(known(&hashes));
    let wrong = api.url("md5").replace("/v1/", "/v2/");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("answers");
    let output = path.display().to_string();
    for list in [text(&hashes), text(&hashes[..1]), "no hash\n".repeat(3)] {
        let ended = lookup(&wrong, &["--output", &output], list);
        ended.assert_status(2);
        assert_eq!(ended.stdout, "");
        assert!(!path.exists(), "nothing was written");
        ended.assert_stderr(&["status 404: <html>Not Found</html>", "check the URL"]);
    }
    let stats = api.stats();
    assert_eq!((stats.requests, stats.probes), (0, 6));
    // A body above the maximum size.
    let huge = FakeApi::start_with([], None, |_, _| {
        Some(ApiFault::Answer(Answer::new(200, vec![b' '; 2 << 20])))
    });
    let ended = lookup(&huge.url("md5"), &[], text(&hashes[..2]));
    ended.assert_status(2);
    ended.assert_stderr(&["status 200, and a body of more than 1 MiB"]);
}

#[test]
fn a_url_with_the_same_response_to_everything_fails_the_probe() {
    let hashes = hashes(20);
    for (status, body) in [
        // API Gateway, FastAPI, Spring, Kong, and made-up ones.
        (404, json!({"message": "Not Found"})),
        (404, json!({"detail": "Not Found"})),
        (
            404,
            json!({"timestamp": "2026-11-24T10:00:00Z", "status": 404, "error": "Not Found", "path": "/v1/md5/"}),
        ),
        (
            404,
            json!({"message": "no Route matched with those values"}),
        ),
        (404, json!({})),
        (
            404,
            json!({"status": "error", "error": "there is no such route"}),
        ),
        (200, json!({"login": "required"})),
        (200, json!({})),
        (400, json!({"message": "Missing Authentication Token"})),
    ] {
        let shown = format!("status {status}: ");
        let text_of_body = body.to_string();
        let shown_body = serde_json::to_string_pretty(&body).expect("JSON");
        let shown_body = shown_body
            .split_once('\n')
            .map_or(&*shown_body, |(first, _)| first)
            .to_owned();
        let api = FakeApi::start_with(known(&hashes), None, move |_, _| {
            Some(ApiFault::Answer(json_answer(status, &body)))
        });
        for args in [&[][..], &["--output", "answers", "--resume"]] {
            let ended = lookup(&api.url("md5"), args, text(&hashes));
            assert_eq!(ended.status, 2, "{text_of_body}\n{}", ended.stderr);
            assert_eq!(ended.stdout, "");
            ended.assert_stderr(&[
                &shown,
                &shown_body,
                "(hashferry-probe): the same",
                "--api-unknown",
            ]);
        }
        let stats = api.stats();
        assert_eq!((stats.requests, stats.probes), (0, 4), "{text_of_body}");
    }
}

#[test]
fn a_url_that_echoes_the_request_fails_the_probe_unless_it_knows_the_check_hash() {
    let hashes = hashes(10);
    let known = known(&hashes);
    let api = FakeApi::start_with([], None, move |_, path| {
        let requested = path.rsplit('/').next()?;
        let item = known.iter().find(|(hash, _)| hash == requested);
        Some(ApiFault::Answer(match item {
            Some((_, item)) => json_answer(200, item),
            None => json_answer(404, &json!({"message": "Not Found", "query": requested})),
        }))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(2);
    assert_eq!(ended.stdout, "");
    ended.assert_stderr(&[
        "gives the same response to a word that is not a hash as to a hash",
        "--api-check",
    ]);
    let ended = lookup(&api.url("md5"), &["--api-check", &hashes[0]], text(&hashes));
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    // Only hashferry's API sends this status, so it passes the probe.
    let hashferry = FakeApi::start_with([], None, |_, path| {
        let requested = path.rsplit('/').next()?;
        let body = json!({"hash": requested, "status": "unknown"});
        Some(ApiFault::Answer(json_answer(404, &body)))
    });
    let ended = lookup(&hashferry.url("md5"), &[], text(&hashes));
    ended.assert_status(0);
    ended.assert_looked_up([10, 0, 10, 0, 0, 0]);
}

#[test]
fn a_url_that_knows_a_random_hash_fails_the_probe() {
    let hashes = hashes(3);
    let api = FakeApi::start_with([], None, |_, path| {
        let hash = path.rsplit('/').next()?;
        Some(ApiFault::Answer(json_answer(
            200,
            &json!({"hash": hash, "score": 0}),
        )))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(2);
    assert_eq!(ended.stdout, "");
    ended.assert_stderr(&["claims to know a random hash"]);
    assert_eq!(api.stats().requests, 0);
}

#[test]
fn a_throttled_or_failed_probe_is_retried() {
    let hashes = hashes(10);
    for answer in [
        Answer::new(429, "{}").header("Retry-After", "0"),
        Answer::new(503, "busy"),
    ] {
        let faults = std::sync::atomic::AtomicU64::new(0);
        let api = FakeApi::start_with(known(&hashes), None, move |k, _| {
            let n = faults.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            (k == 0 && n < 4).then(|| ApiFault::Answer(answer.clone()))
        });
        let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
        ended.assert_status(0);
        assert_answers(&ended, &expected(&hashes));
        let stats = api.stats();
        assert_eq!((stats.requests, stats.probes), (10, 6));
    }
    // The response to the retried probe counts.
    let faults = std::sync::atomic::AtomicU64::new(0);
    let api = FakeApi::start_with([], None, move |_, _| {
        let n = faults.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Some(ApiFault::Answer(match n {
            0..=1 => Answer::new(503, "busy"),
            _ => json_answer(404, &json!({"message": "Not Found"})),
        }))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(2);
    assert_eq!(ended.stdout, "");
    // A longer wait than --give-up-after ends the run.
    let api = FakeApi::start_with([], None, |_, _| {
        Some(ApiFault::Answer(
            Answer::new(429, "slow down").header("Retry-After", "7200"),
        ))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(1);
    ended.assert_stderr(&["7200 s", "slow down"]);
}

/// An API with plain text responses.
fn plain(hashes: &[String], validates: bool) -> FakeApi {
    let known: Vec<String> = hashes.iter().step_by(2).cloned().collect();
    FakeApi::start_with([], None, move |_, path| {
        let Some(hash) = path.strip_prefix("/v1/md5/") else {
            return Some(ApiFault::Answer(Answer::new(404, "not found")));
        };
        let is_hash = hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        Some(ApiFault::Answer(match is_hash {
            false if validates => Answer::new(400, "no hash"),
            _ if known.iter().any(|k| k == hash) => Answer::new(200, "NSRL \u{9b}2J 2026\n"),
            _ => Answer::new(404, "no such hash\n"),
        }))
    })
}

#[test]
fn declared_patterns_decide_plain_text_responses() {
    let hashes = hashes(40);
    let shape = ["--api-known", "any", "--api-unknown", "no such hash"];
    let api = plain(&hashes, true);
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(2);
    ended.assert_stderr(&["status 404: no such hash", "--api-unknown"]);
    let ended = lookup(&api.url("md5"), &shape, text(&hashes));
    ended.assert_status(0);
    ended.assert_looked_up([40, 20, 20, 0, 0, 0]);
    assert_eq!(ended.answers()[0]["answer"], "NSRL \u{9b}2J 2026");
    assert_eq!(ended.answers()[1]["status"], "unknown");
    assert!(
        !ended.stdout.contains('\u{9b}'),
        "a control character of terminals"
    );
    let wrong = api.url("md5").replace("/v1/", "/v2/");
    let ended = lookup(&wrong, &shape, text(&hashes));
    ended.assert_status(2);
    ended.assert_stderr(&["status 404: not found"]);

    // The same response to the word and to a hash fails the probe.
    let api = plain(&hashes, false);
    let ended = lookup(&api.url("md5"), &shape, text(&hashes));
    ended.assert_status(2);
    ended.assert_stderr(&["to a word that is not a hash as to a hash", "--api-check"]);
    for (hash, status) in [(&hashes[0], 0), (&hashes[1], 2)] {
        let args = [&shape[..], &["--api-check", hash]].concat();
        let ended = lookup(&api.url("md5"), &args, text(&hashes));
        ended.assert_status(status);
        match status {
            0 => ended.assert_looked_up([40, 20, 20, 0, 0, 0]),
            _ => ended.assert_stderr(&["does not know the hash of --api-check"]),
        }
    }

    for (args, says) in [
        (&["--api-unknown", "any"][..], "--api-unknown any"),
        (
            &["--api-check", "abc"],
            "--api-check is not a valid md5 hash",
        ),
        (&["--api-known", "."], "names no field"),
    ] {
        let ended = lookup(&api.url("md5"), args, text(&hashes));
        ended.assert_status(2);
        ended.assert_stderr(&[says]);
    }
}

#[test]
fn a_declared_field_decides_known_and_unknown() {
    let hashes = hashes(10);
    let every_second: Vec<String> = hashes.iter().step_by(2).cloned().collect();
    let api = FakeApi::start_with([], None, move |_, path| {
        let found = every_second.iter().any(|h| path.ends_with(h.as_str()));
        let is_hash = path.rsplit('/').next().is_some_and(|h| h.len() == 32);
        let body = json!({"data": {"found": found, "set": "NSRL"}});
        Some(ApiFault::Answer(match is_hash {
            true => json_answer(200, &body),
            false => json_answer(422, &json!({"detail": "no hash"})),
        }))
    });
    let shape = [
        "--api-known",
        ".data.found=true",
        "--api-unknown",
        ".data.found=false",
    ];
    let ended = lookup(&api.url("md5"), &shape, text(&hashes));
    ended.assert_status(0);
    ended.assert_looked_up([10, 5, 5, 0, 0, 0]);
    assert_eq!(
        ended.answers()[0]["data"],
        json!({"found": true, "set": "NSRL"})
    );
}

#[test]
fn a_response_that_does_not_name_the_hash_is_an_error() {
    let hashes = hashes(4);
    let answers = [
        json_answer(404, &json!({"message": "Not Found"})),
        json_answer(200, &json!({"login": "required"})),
        json_answer(
            404,
            &json!({"message": "Non existing SHA-1", "query": hashes[2]}),
        ),
        json_answer(
            404,
            &json!({"message": "Non existing MD5", "query": hashes[3].to_lowercase()}),
        ),
    ];
    let api = FakeApi::start_with([], None, move |k, _| {
        let answer = usize::try_from(k).ok()?.checked_sub(1)?;
        answers.get(answer).cloned().map(ApiFault::Answer)
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    ended.assert_status(1);
    ended.assert_looked_up([4, 0, 1, 0, 3, 0]);
    let answers = ended.answers();
    assert_eq!(answers[3]["status"], "unknown");
    for (at, says) in [
        (0, "status 404: Not Found"),
        (1, "status 200: "),
        (2, "sha1"),
    ] {
        let error = answers[at]["error"].as_str().expect("text");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_output_does_not_depend_on_the_order_of_fields() {
    let hashes = hashes(3);
    let ask = |turn: usize| {
        let api = FakeApi::start_with([], None, move |k, path| {
            let hash = path.rsplit('/').next()?;
            let members = [
                "\"b\":{\"d\":[1,2],\"c\":\"x\"}",
                "\"a\":1.50",
                "\"status\":\"kept\"",
            ];
            let other = [
                "\"a\":1.50",
                "\"status\":\"kept\"",
                "\"b\" : {\"c\":\"x\", \"d\":[1, 2]}",
            ];
            let members = if turn == 0 { members } else { other };
            let body = format!("{{{},\"md5\":\"{hash}\"}}", members.join(","));
            (k > 0).then(|| ApiFault::Answer(Answer::new(200, body)))
        });
        let ended = lookup(&api.url("md5"), &[], text(&hashes));
        ended.assert_status(0);
        ended.stdout
    };
    let (one, other) = (ask(0), ask(1));
    assert_eq!(one, other);
    assert!(
        one.contains("\"a\":1.50,\"b\":{\"c\":\"x\",\"d\":[1,2]},\"item.status\":\"kept\"}"),
        "{one}"
    );
}

#[test]
fn the_key_goes_only_to_its_host_and_is_never_shown() {
    let hashes = hashes(20);
    let api = FakeApi::start_with(known(&hashes), Some(KEY), |_, _| None);
    let other = FakeApi::start(known(&hashes));
    let elsewhere = format!("{}/x", other.url("md5"));
    let sends_on = FakeApi::start_with([], None, move |_, _| {
        Some(ApiFault::Answer(
            Answer::new(302, "").header("Location", elsewhere.clone()),
        ))
    });
    let sees_key = |ended: &Finished| {
        let all = format!("{}{}{}", ended.stdout, ended.stderr, ended.report);
        assert!(!all.contains(KEY), "{all}");
        assert!(!all.contains("k3y"), "{all}");
    };
    let verbose = ["-vv"];
    let ways: [&dyn Fn(&str) -> Run; 3] = [
        &|url| run(url, &verbose).env("HASHFERRY_API_KEY", KEY),
        &|url| {
            run(
                url,
                &["-vv", "--api-key-env", "OTHER", "--log-format", "json"],
            )
            .env("OTHER", KEY)
        },
        &|url| {
            run(url, &["-vv", "--api-key-file", "key"]).file("key", format!("{KEY}\n").as_bytes())
        },
    ];
    for way in ways {
        let ended = way(&api.url("md5")).input(text(&hashes)).run();
        ended.assert_status(0);
        assert_answers(&ended, &expected(&hashes));
        sees_key(&ended);
        // It does not follow a redirect to another host.
        let ended = way(&sends_on.url("md5")).input(text(&hashes)).run();
        ended.assert_status(2);
        assert_eq!(ended.stdout, "");
        ended.assert_stderr(&["which must not receive the key"]);
        sees_key(&ended);
    }
    assert_eq!(other.stats().requests, 0);

    // An invalid key, which the server echoes, ends the run.
    let wrong = format!("{KEY}2");
    let ended = run(&api.url("md5"), &verbose)
        .env("HASHFERRY_API_KEY", &wrong)
        .input(text(&hashes))
        .run();
    ended.assert_status(1);
    assert_eq!(ended.stdout, "");
    ended.assert_stderr(&["denies access", "no such key: …", "check the key"]);
    sees_key(&ended);
    let ended = run(&api.url("md5"), &verbose).input(text(&hashes)).run();
    ended.assert_status(1);
    ended.assert_stderr(&["HASHFERRY_API_KEY"]);

    for (run, says) in [
        (
            run("http://h/md5", &["--api-key-env", "NONE"]),
            "a variable that is not set",
        ),
        (
            run("http://h/md5", &["--api-key-file", "none"]),
            "cannot read the key",
        ),
        (
            run("http://h/md5", &[]).env("HASHFERRY_API_KEY", "k3y\u{1}"),
            "a header cannot have",
        ),
        (
            run("http://h/md5", &[]).env("HASHFERRY_API_KEY", ""),
            "is empty",
        ),
        (
            run("http://k3y:k3y@h/md5", &[]),
            "a user name or a password",
        ),
        (run("k3y", &[]), "is not a URL"),
        (run("http://h/md5", &["--table", "t"]), "--table"),
        (run("http://h/md5", &["--consistent"]), "--consistent"),
        (
            run("http://h/md5", &["--rate", "80%"]),
            "a share of an API's rate",
        ),
    ] {
        let ended = run.input(text(&hashes)).run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[says]);
        if !says.contains("--") {
            sees_key(&ended);
        }
    }
}

/// Function from the requested path to a response.
type Say = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

#[test]
fn a_key_in_a_response_is_redacted_everywhere() {
    let key = "s3cret-\\\"KEY\"-0123456789";
    let hashes = hashes(3);
    let cut = format!("{}{key}", "x".repeat(190));
    let said = json!({"error": format!("no such key: {key}")});
    let echo = move |path: &str| {
        let hash = path.rsplit('/').next().unwrap_or_default();
        json_answer(
            200,
            &json!({"md5": hash, "headers": {"x-api-key": key}, "source": "x"}),
        )
    };
    let cut = move |_: &str| Answer::new(400, cut.clone().into_bytes());
    let said = move |_: &str| json_answer(400, &said);
    let answers: [Say; 3] = [Arc::new(echo), Arc::new(cut), Arc::new(said)];
    // In the responses to the queries only, and to the probes as well.
    for (answer, from) in answers.iter().flat_map(|answer| [(answer, 1), (answer, 0)]) {
        let answer = Arc::clone(answer);
        let api = FakeApi::start_with([], Some(key), move |k, path| {
            (k >= from).then(|| ApiFault::Answer(answer(path)))
        });
        let ended = run(&api.url("md5"), &["-vv"])
            .env("HASHFERRY_API_KEY", key)
            .input(text(&hashes))
            .run();
        assert_eq!(
            api.stats().keys.keys().flatten().next().map(String::as_str),
            Some(key)
        );
        let all = format!("{}{}{}", ended.stdout, ended.stderr, ended.report);
        assert!(!all.contains("s3cret"), "{all}");
        match from {
            1 => assert_eq!(ended.answers().len(), 3),
            _ => assert_eq!((ended.status, &*ended.stdout), (2, "")),
        }
    }
    let named = run("http://127.0.0.1:9/md5", &["--api-key-env", "s3cret-KEY"])
        .input("x")
        .run();
    assert_eq!(named.status, 2);
    assert!(!format!("{}{}", named.stderr, named.report).contains("s3cret"));
}

#[test]
fn unencrypted_calls_use_no_proxy() {
    let hashes = hashes(3);
    let api = FakeApi::start(known(&hashes));
    let proxy = FakeApi::start([]);
    let address = proxy
        .url("")
        .split("/v1")
        .next()
        .expect("an address")
        .to_owned();
    let ended = run(&api.url("md5"), &[])
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address)
        .env("ALL_PROXY", &address)
        .input(text(&hashes))
        .run();
    ended.assert_status(0);
    assert_eq!((proxy.stats().requests, api.stats().requests), (0, 3));
}

#[test]
fn a_response_about_another_hash_is_an_error() {
    let hashes = hashes(2);
    let body = json!({"hash": "F".repeat(32), "status": "known", "source": "NSRL"});
    let api = FakeApi::start_with([], None, move |k, _| {
        (k > 0).then(|| ApiFault::Answer(json_answer(200, &body)))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(1);
    ended.assert_looked_up([2, 0, 0, 0, 2, 0]);
}

#[test]
fn errors_at_the_beginning_do_not_delay_invalid_lines() {
    let hashes = hashes(1);
    let api = FakeApi::start_with([], None, |k, _| {
        (k > 0).then(|| ApiFault::Answer(Answer::new(400, b"no".to_vec())))
    });
    let list = format!("{}{}", text(&hashes), "\n".repeat(40_000));
    let ended = lookup(&api.url("md5"), &[], list);
    ended.assert_status(1);
    ended.assert_looked_up([40_001, 0, 0, 40_000, 1, 0]);
}

#[test]
fn a_failed_run_does_not_wait_for_more_input() {
    let api = FakeApi::start_with([], Some("right"), |_, _| None);
    let ended = run(&api.url("md5"), &[])
        .env("HASHFERRY_API_KEY", "a-wrong-one")
        .open_input(text(&hashes(1)))
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["denies access"]);
}

#[test]
fn redirects_within_the_host_are_followed() {
    let hashes = hashes(10);
    let api = FakeApi::start_with(known(&hashes), Some(KEY), |_, path| {
        let rest = path.strip_prefix("/v1/old/")?;
        let to = format!("/v1/md5/{rest}");
        Some(ApiFault::Answer(
            Answer::new(307, "").header("Location", to),
        ))
    });
    let ended = run(&api.url("old"), &["--hash", "md5"])
        .env("HASHFERRY_API_KEY", KEY)
        .input(text(&hashes))
        .run();
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
}

#[test]
fn certificates_are_checked_unless_insecure() {
    let hashes = hashes(50);
    let api = FakeApi::start_with(known(&hashes), Some(KEY), |_, _| None);
    let tls = Tls::in_front_of(&api);
    let run = |args: &[&str]| {
        run(&tls.url("md5"), args)
            .env("HASHFERRY_API_KEY", KEY)
            .file("ca.pem", tls.ca.as_bytes())
            .file("other.pem", Tls::in_front_of(&api).ca.as_bytes())
            .file("none.pem", b"nothing")
            .input(text(&hashes))
            .run()
    };
    let ended = run(&["--ca-cert", "ca.pem"]);
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
    let asked = api.stats().requests;
    let ended = run(&["--ca-cert", "other.pem"]);
    ended.assert_status(1);
    ended.assert_stderr(&["is not trusted", "--ca-cert"]);
    assert_eq!(ended.stdout, "");
    let ended = run(&["--ca-cert", "none.pem"]);
    ended.assert_status(2);
    assert_eq!(
        api.stats().requests,
        asked,
        "nothing is sent to an untrusted server"
    );
    let ended = run(&["--ca-cert", "other.pem", "--insecure"]);
    ended.assert_status(0);
    ended.assert_stderr(&["WARN", "--insecure"]);
    assert_answers(&ended, &expected(&hashes));
}

#[test]
fn paths_are_looked_up_by_their_hash_at_the_target_rate() {
    // Hash of /home/ubuntu/.bashrc, calculated by another program.
    let hash = "DF87D2309A59EE551AE2D8381C47C03DE9B1DD7B24D517E5CE039D7D85F8D57A".to_owned();
    let item = json!({"hash": hash, "status": "known", "item.rules": "v3", "source": "gold"});
    let api = FakeApi::start([(hash.clone(), item)]);
    let begun = Instant::now();
    let ended = lookup(
        &api.url("paths"),
        &["--paths", "--rate", "10"],
        "/home/alice/.bashrc\n/home/x/y\n",
    );
    ended.assert_status(0);
    let answers = ended.answers();
    assert_eq!(
        answers[0],
        json!({"input": "/home/alice/.bashrc", "hash": hash, "status": "known", "normalized": "/home/ubuntu/.bashrc",
            "rules": "v2", "item.rules": "v3", "source": "gold"})
    );
    assert_eq!(answers[1]["status"], "unknown");
    assert_eq!(ended.number("other_rules"), 1);
    ended.assert_stderr(&["was built with other rules: v3"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[cfg(unix)]
#[test]
fn a_run_stopped_by_a_signal_resumes() {
    use nix::sys::signal::Signal;
    let hashes = hashes(200);
    let api = FakeApi::start_with(known(&hashes), None, |k, _| {
        (k > 100).then_some(ApiFault::Stall)
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("answers").display().to_string();
    let args = ["--output", path.as_str(), "--resume", "--concurrency", "4"];
    let mut started = run(&api.url("md5"), &args)
        .open_input(text(&hashes))
        .start();
    api.wait_for(104);
    started.signal(Signal::SIGTERM);
    started.wait_for_stderr("press Ctrl-C again to stop now");
    started.signal(Signal::SIGTERM);
    let ended = started.wait();
    ended.assert_status(4);
    // The order of the calls in flight is not fixed, so up to three answers may be missing.
    let answered = 200 - ended.number("unanswered");
    assert!((97..=100).contains(&answered), "{answered}");
    let api = FakeApi::start(known(&hashes));
    let ended = lookup(&api.url("md5"), &args, text(&hashes));
    ended.assert_status(0);
    ended.assert_looked_up([200, 100, 100, 0, 0, 0]);
    let got = std::fs::read_to_string(&path).expect("answers");
    assert_eq!(answers(&got), expected(&hashes));
    assert_eq!(api.stats().requests, 200 - answered);
}
