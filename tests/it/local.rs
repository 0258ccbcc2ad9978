//! Tests of the embedded servers, with the real binary: `--local`, `demo` and `local`.

use crate::common::binary::Run;

fn list(n: u32) -> Vec<u8> {
    (0..n)
        .flat_map(|i| format!("{i:064X}\r\n").into_bytes())
        .collect()
}

#[test]
fn an_ingest_creates_the_table() {
    let run = Run::ingest("list.txt", &["--local", "data", "--type", "known"])
        .file("list.txt", &list(1000));
    let ended = run.run();
    ended.assert_status(0);
    ended.assert_line_counts([1000, 1000, 0, 0, 0, 0]);
    ended.assert_stderr(&["created table sha256 with partition key sha256 (S)"]);
}

#[test]
fn a_created_table_has_the_algorithm_of_its_name_even_if_the_list_has_another() {
    let md5s: String = (0..60).map(|i| format!("{i:032x}\n")).collect();
    let ended = Run::ingest("list.txt", &["--local", "data"])
        .file("list.txt", md5s.as_bytes())
        .run();
    ended.assert_status(1);
    ended.assert_line_counts([60, 0, 0, 60, 0, 0]);
    ended.assert_stderr(&[
        "created table sha256 with partition key sha256 (S)",
        "none of the 60 lines is a SHA-256; they look like MD5 (32 hexadecimal digits)",
    ]);
}

#[test]
fn an_object_in_a_bucket_is_a_file_in_a_folder() {
    let run = Run::ingest(
        "s3://lists/2026/a.txt",
        &["--local", "data", "--table", "known", "--hash", "sha256"],
    );
    std::fs::create_dir_all(run.dir().join("data/s3/lists/2026")).expect("a folder");
    let ended = run.file("data/s3/lists/2026/a.txt", &list(500)).run();
    ended.assert_status(0);
    ended.assert_line_counts([500, 500, 0, 0, 0, 0]);
    assert!(ended.report["sources"][0]["etag"].is_string());

    let ended = Run::ingest("s3://lists/none", &["--local", "data"]).run();
    ended.assert_status(2);
    ended.assert_stderr(&["no such bucket"]);
}

#[test]
fn the_demo_runs_to_its_end() {
    let ended = Run::new(&["demo", "--dir", "tour", "--progress", "none"]).run();
    assert_eq!(ended.status, 0, "{}{}", ended.stdout, ended.stderr);
    for part in [
        "63,663",
        "every hash of the list is in the table, with the expected attributes",
        "\"status\":\"known\",",
        "\"source\":\"Debian\"",
        "\"status\":\"unknown\"}",
        "tour/s3/demo/debian-packages.sha256.txt",
    ] {
        assert!(
            ended.stdout.contains(part),
            "expected {part:?} in:\n{}",
            ended.stdout
        );
    }
}

/// Sends `GET /` with these header lines, and returns the response.
#[cfg(unix)]
fn ask(endpoint: &str, head: &str) -> String {
    use std::io::{Read as _, Write as _};
    let address = endpoint.strip_prefix("http://").expect("an address");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET / HTTP/1.1\r\n{head}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[cfg(unix)]
#[test]
fn local_serves_only_local_clients_until_sigterm() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = Command::new(env!("CARGO_BIN_EXE_hashferry"))
        .args(["local", "--dir", "data"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let mut run =
        Run::new(&["ingest", "list.txt", "--table", "sha256"]).file("list.txt", &list(100));
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("text");
        let (name, value) = line
            .strip_prefix("export ")
            .and_then(|l| l.split_once('='))
            .expect("a variable");
        run = run.env(name, value);
        endpoints.push(value.to_owned());
    }
    // Without --local, an ingest does not create a table.
    let ended = run.run();
    assert_eq!(ended.status, 2, "{}", ended.stderr);
    ended.assert_stderr(&["there is no table sha256"]);

    // A web page cannot read from either server.
    for endpoint in endpoints {
        for foreign in [
            "Host: evil.example",
            "Host: localhost\r\nOrigin: https://evil.example",
            "Host: localhost\r\nSec-Fetch-Site: cross-site",
        ] {
            let answer = ask(&endpoint, foreign);
            assert!(answer.starts_with("HTTP/1.1 403 "), "{foreign}: {answer}");
            let lower = answer.to_ascii_lowercase();
            assert!(!lower.contains("access-control-"), "{foreign}: {answer}");
            assert!(lower.contains("accessdenied"), "{foreign}: {answer}");
        }
        let answer = ask(&endpoint, "Host: localhost");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    // The folder is locked by the running server.
    let data = dir.path().join("data");
    let ended = Run::new(&["local", "--dir", &data.display().to_string()]).run();
    assert_eq!(ended.status, 2);
    ended.assert_stderr(&["http://127.0.0.1:"]);

    let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert_eq!(server.wait().expect("it ends").code(), Some(0));
}
