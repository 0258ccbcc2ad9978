//! `hashferry lookup --api` as it is run: the real binary, an API that does as it is told.

mod common;

use std::time::{Duration, Instant};

use common::binary::{Ended, Run};
use common::fake_api::{ApiFault, FakeApi, Tls, json_answer};
use common::wire::Answer;
use serde_json::{Value, json};

const KEY: &str = "k3y-that-Nobody.may_see";

/// MD5s, upper case, which are of nothing.
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

fn assert_answers(ended: &Ended, expected: &[Value]) {
    let got = ended.answers();
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got, expected, "answer {i}");
    }
    assert_eq!(got.len(), expected.len(), "{}", ended.stderr);
}

fn lookup(url: &str, args: &[&str], list: impl Into<Vec<u8>>) -> Ended {
    run(url, args).input(list).end()
}

fn run(url: &str, args: &[&str]) -> Run {
    Run::lookup("-", &[&["--api", url], args].concat())
}

fn fails(hash: &str, n: u64) -> impl Fn(u64, &str) -> Option<ApiFault> + Send + Sync + 'static {
    let (hash, seen) = (hash.to_owned(), std::sync::atomic::AtomicU64::new(0));
    move |_, path| {
        let is_it = path.ends_with(&hash);
        let turn = || seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < n;
        (is_it && turn()).then(|| ApiFault::Answer(Answer::new(503, "busy")))
    }
}

#[test]
fn each_line_has_its_answer_in_order_over_few_connections() {
    let hashes = hashes(2000);
    // Held until others have come in: answers come out of order.
    let api = FakeApi::with(known(&hashes), None, |k, _| {
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
    assert_eq!(stats.requests, 2000);
    assert!(stats.connections <= 64, "{}", stats.connections);
    assert!(stats.paths.values().all(|n| *n == 1));
    assert_eq!(stats.keys.keys().collect::<Vec<_>>(), [&None]);
}

#[test]
fn repeated_lines_are_asked_once_and_what_is_no_hash_is_not() {
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
    assert!(stats.connections <= 3);
}

#[test]
fn failures_are_tried_again_and_a_hash_that_fails_for_ever_is_an_error() {
    let hashes = hashes(60);
    let api = FakeApi::with(known(&hashes), None, |k, _| match k {
        3 => Some(ApiFault::Drop),
        9 => Some(ApiFault::Answer(Answer::new(500, "{\"error\":\"oops\"}"))),
        12 => Some(ApiFault::Answer(Answer::new(200, "cut").header("X-A", "b"))),
        20 => Some(ApiFault::Answer(
            Answer::new(502, "<html>").header("Retry-After", "0"),
        )),
        _ => None,
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    // One was answered by something that is no answer: that is not asked again.
    ended.assert_status(1);
    let mut expected = expected(&hashes);
    let answers = ended.answers();
    let wrong: Vec<usize> = (0..60).filter(|i| answers[*i] != expected[*i]).collect();
    let [wrong] = wrong[..] else {
        panic!("{wrong:?}")
    };
    assert_eq!(answers[wrong]["error"], "status 200: cut: no JSON object");
    assert_eq!(ended.number("retries"), 3);
    ended.assert_says(&["1 line could not be looked up"]);

    // Twice in vain, then answered; or not, when that is one too many.
    for (tries, status) in [("3", 0), ("2", 1)] {
        let api = FakeApi::with(known(&hashes), None, fails(&hashes[7], 2));
        let ended = lookup(&api.url("md5"), &["--tries", tries], text(&hashes));
        ended.assert_status(status);
        if status == 1 {
            let hash = &hashes[7];
            expected[7] = json!({"input": hash.to_lowercase(), "hash": hash, "status": "error",
                "error": "status 503: busy (asked 2 times)"});
        }
        assert_answers(&ended, &expected);
    }
}

#[test]
fn an_api_that_has_enough_is_left_alone_as_long_as_it_says() {
    let hashes = hashes(40);
    let api = FakeApi::with(known(&hashes), None, |k, _| {
        (k == 10).then(|| ApiFault::Answer(Answer::new(429, "{}").header("Retry-After", "1")))
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    assert_eq!((ended.number("throttled"), ended.number("retries")), (1, 1));
    let times = api.stats().times;
    assert!(
        times[10] - times[9] >= Duration::from_secs(1),
        "it came back too soon"
    );

    // For longer than it has patience: that is the end, and it says so.
    let api = FakeApi::with(known(&hashes), None, |k, _| {
        (k > 10)
            .then(|| ApiFault::Answer(Answer::new(429, "slow down").header("Retry-After", "7200")))
    });
    let ended = lookup(&api.url("md5"), &["--concurrency", "1"], text(&hashes));
    ended.assert_status(1);
    assert_answers(&ended, &expected(&hashes)[..10]);
    ended.assert_says(&["7200 s", "slow down", "--resume"]);
    ended.assert_looked_up([40, 5, 5, 0, 0, 30]);
}

#[test]
fn one_that_never_answers_is_given_up() {
    let hashes = hashes(3);
    let api = FakeApi::with(known(&hashes), None, |_, _| Some(ApiFault::Stall));
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
    assert!(error.starts_with("no answer in time"), "{error}");
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
    ended.assert_says(&["nothing could be read from http://127.0.0.1:", "for 0 s"]);
    drop(api);
    let ended = lookup("http://127.0.0.1:1/md5", &["--tries", "2"], text(&hashes));
    ended.assert_status(1);
    ended.assert_looked_up([3, 0, 0, 0, 3, 0]);
}

#[test]
fn a_wrong_address_makes_nothing_unknown() {
    let hashes = hashes(500);
    let api = FakeApi::start(known(&hashes));
    let wrong = api.url("md5").replace("/v1/", "/v2/");
    // Many lines: none is answered. Few: each says it.
    let ended = lookup(&wrong, &[], text(&hashes));
    ended.assert_status(1);
    assert_eq!(ended.stdout, "");
    ended.assert_says(&["is the URL right?", "check the URL"]);
    assert!(api.stats().requests < 200);
    let ended = lookup(&wrong, &[], text(&hashes[..5]));
    ended.assert_status(1);
    ended.assert_looked_up([5, 0, 0, 0, 5, 0]);
    assert!(ended.answers().iter().all(|a| a["status"] == "error"));
    // As hashferry's own server says it.
    let body = json!({"status": "error", "error": "there is no such route"});
    let own = FakeApi::with([], None, move |_, _| {
        Some(ApiFault::Answer(json_answer(404, &body)))
    });
    let ended = lookup(&own.url("md5"), &[], text(&hashes[..5]));
    ended.assert_status(1);
    assert_eq!(
        ended.answers()[0]["error"],
        "status 404: there is no such route"
    );
    // And as others do, who say the same of a hash: that is no proof, but a person is told.
    let body = json!({"detail": "Not Found"});
    let foreign = FakeApi::with([], None, move |_, _| {
        Some(ApiFault::Answer(json_answer(404, &body)))
    });
    let ended = lookup(&foreign.url("md5"), &[], text(&hashes[..10]));
    ended.assert_status(0);
    ended.assert_says(&["not one of 10 hashes is known"]);
    // A body without end.
    let huge = FakeApi::with([], None, |_, _| {
        Some(ApiFault::Answer(Answer::new(200, vec![b' '; 2 << 20])))
    });
    let ended = lookup(&huge.url("md5"), &[], text(&hashes[..2]));
    ended.assert_status(1);
    assert_eq!(
        ended.answers()[0]["error"],
        "status 200, and a body of more than 1 MiB"
    );
}

#[test]
fn the_key_goes_where_it_is_meant_to_go_and_is_seen_nowhere() {
    let hashes = hashes(20);
    let api = FakeApi::with(known(&hashes), Some(KEY), |_, _| None);
    let other = FakeApi::start(known(&hashes));
    let elsewhere = format!("{}/x", other.url("md5"));
    let sends_on = FakeApi::with([], None, move |_, _| {
        Some(ApiFault::Answer(
            Answer::new(302, "").header("Location", elsewhere.clone()),
        ))
    });
    let sees_key = |ended: &Ended| {
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
        let ended = way(&api.url("md5")).input(text(&hashes)).end();
        ended.assert_status(0);
        assert_answers(&ended, &expected(&hashes));
        sees_key(&ended);
        // It is not sent on.
        let ended = way(&sends_on.url("md5")).input(text(&hashes)).end();
        ended.assert_status(1);
        assert!(
            ended.answers()[0]["error"]
                .as_str()
                .expect("text")
                .contains("where the key does not go")
        );
        sees_key(&ended);
    }
    assert_eq!(other.stats().requests, 0);

    // One that is not valid, which the server repeats, ends the run.
    let wrong = format!("{KEY}2");
    let ended = run(&api.url("md5"), &verbose)
        .env("HASHFERRY_API_KEY", &wrong)
        .input(text(&hashes))
        .end();
    ended.assert_status(1);
    assert_eq!(ended.stdout, "");
    ended.assert_says(&["refuses to answer", "no such key: …", "check the key"]);
    sees_key(&ended);
    let ended = run(&api.url("md5"), &verbose).input(text(&hashes)).end();
    ended.assert_status(1);
    ended.assert_says(&["HASHFERRY_API_KEY"]);

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
            "no header can have",
        ),
        (
            run("http://h/md5", &[]).env("HASHFERRY_API_KEY", ""),
            "is empty",
        ),
        (run("http://k3y:k3y@h/md5", &[]), "a name or a password"),
        (run("k3y", &[]), "names no URL"),
        (run("http://h/md5", &["--table", "t"]), "--table"),
        (run("http://h/md5", &["--consistent"]), "--consistent"),
        (
            run("http://h/md5", &["--rate", "80%"]),
            "a share of an API's rate",
        ),
    ] {
        let ended = run.input(text(&hashes)).end();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_says(&[says]);
        if !says.contains("--") {
            sees_key(&ended);
        }
    }
}

#[test]
fn a_key_that_comes_back_is_in_no_answer_and_no_message() {
    let key = "s3cret-\\\"KEY\"-0123456789";
    let hashes = hashes(3);
    let echo = json!({"headers": {"x-api-key": key}, "source": "x"});
    let cut = format!("{}{key}", "x".repeat(190));
    let said = json!({"error": format!("no such key: {key}")});
    for answer in [
        json_answer(200, &echo),
        Answer::new(400, cut.into_bytes()),
        json_answer(400, &said),
    ] {
        let api = FakeApi::with([], Some(key), move |_, _| {
            Some(ApiFault::Answer(answer.clone()))
        });
        let ended = run(&api.url("md5"), &["-vv"])
            .env("HASHFERRY_API_KEY", key)
            .input(text(&hashes))
            .end();
        assert_eq!(
            api.stats().keys.keys().flatten().next().map(String::as_str),
            Some(key)
        );
        let all = format!("{}{}{}", ended.stdout, ended.stderr, ended.report);
        assert!(!all.contains("s3cret"), "{all}");
        assert_eq!(ended.answers().len(), 3);
    }
    let named = run("http://127.0.0.1:9/md5", &["--api-key-env", "s3cret-KEY"])
        .input("x")
        .end();
    assert_eq!(named.status, 2);
    assert!(!format!("{}{}", named.stderr, named.report).contains("s3cret"));
}

#[test]
fn no_proxy_sees_what_goes_unencrypted() {
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
        .end();
    ended.assert_status(0);
    assert_eq!((proxy.stats().requests, api.stats().requests), (0, 3));
}

#[test]
fn an_answer_for_another_hash_is_none() {
    let hashes = hashes(2);
    let body = json!({"hash": "F".repeat(32), "status": "known", "source": "NSRL"});
    let api = FakeApi::with([], None, move |_, _| {
        Some(ApiFault::Answer(json_answer(200, &body)))
    });
    let ended = lookup(&api.url("md5"), &[], text(&hashes));
    ended.assert_status(1);
    ended.assert_looked_up([2, 0, 0, 0, 2, 0]);
}

#[test]
fn errors_at_the_beginning_do_not_hold_up_what_needs_no_answer() {
    let hashes = hashes(1);
    let api = FakeApi::with([], None, |_, _| {
        Some(ApiFault::Answer(Answer::new(400, b"no".to_vec())))
    });
    let list = format!("{}{}", text(&hashes), "\n".repeat(40_000));
    let ended = lookup(&api.url("md5"), &[], list);
    ended.assert_status(1);
    ended.assert_looked_up([40_001, 0, 0, 40_000, 1, 0]);
}

#[test]
fn a_run_that_failed_does_not_wait_for_who_writes_the_list() {
    let api = FakeApi::with([], Some("right"), |_, _| None);
    let ended = run(&api.url("md5"), &[])
        .env("HASHFERRY_API_KEY", "a-wrong-one")
        .open_input(text(&hashes(1)))
        .end();
    ended.assert_status(1);
    ended.assert_says(&["refuses to answer"]);
}

#[test]
fn redirections_within_the_address_are_followed() {
    let hashes = hashes(10);
    let api = FakeApi::with(known(&hashes), Some(KEY), |_, path| {
        let rest = path.strip_prefix("/v1/old/")?;
        let to = format!("/v1/md5/{rest}");
        Some(ApiFault::Answer(
            Answer::new(307, "").header("Location", to),
        ))
    });
    let ended = run(&api.url("old"), &["--hash", "md5"])
        .env("HASHFERRY_API_KEY", KEY)
        .input(text(&hashes))
        .end();
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
}

#[test]
fn a_certificate_is_checked_unless_that_is_not_wanted() {
    let hashes = hashes(50);
    let api = FakeApi::with(known(&hashes), Some(KEY), |_, _| None);
    let tls = Tls::before(&api);
    let run = |args: &[&str]| {
        run(&tls.url("md5"), args)
            .env("HASHFERRY_API_KEY", KEY)
            .file("ca.pem", tls.ca.as_bytes())
            .file("other.pem", Tls::before(&api).ca.as_bytes())
            .file("none.pem", b"nothing")
            .input(text(&hashes))
            .end()
    };
    let ended = run(&["--ca-cert", "ca.pem"]);
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
    let asked = api.stats().requests;
    let ended = run(&["--ca-cert", "other.pem"]);
    ended.assert_status(1);
    ended.assert_says(&["is not trusted", "--ca-cert"]);
    assert_eq!(ended.stdout, "");
    let ended = run(&["--ca-cert", "none.pem"]);
    ended.assert_status(2);
    assert_eq!(
        api.stats().requests,
        asked,
        "nothing went to who is not trusted"
    );
    let ended = run(&["--ca-cert", "other.pem", "--insecure"]);
    ended.assert_status(0);
    ended.assert_says(&["WARN", "--insecure"]);
    assert_answers(&ended, &expected(&hashes));
}

#[test]
fn paths_are_asked_by_their_hash_and_a_rate_is_kept() {
    // Of /home/ubuntu/.bashrc, as another program reckons it.
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
    ended.assert_says(&["was built with other rules: v3"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[cfg(unix)]
#[test]
fn a_signal_and_a_resume() {
    use nix::sys::signal::Signal;
    let hashes = hashes(200);
    let api = FakeApi::with(known(&hashes), None, |k, _| {
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
    started.wait_for_stderr("once more stops at once");
    started.signal(Signal::SIGTERM);
    let ended = started.end();
    ended.assert_status(4);
    // Which of those at once came in as the hundredth is anybody's guess.
    let answered = 200 - ended.number("unanswered");
    assert!((97..=100).contains(&answered), "{answered}");
    let api = FakeApi::start(known(&hashes));
    let ended = lookup(&api.url("md5"), &args, text(&hashes));
    ended.assert_status(0);
    ended.assert_looked_up([200, 100, 100, 0, 0, 0]);
    let got = std::fs::read_to_string(&path).expect("answers");
    assert_eq!(common::binary::answers(&got), expected(&hashes));
    assert_eq!(api.stats().requests, 200 - answered);
}
