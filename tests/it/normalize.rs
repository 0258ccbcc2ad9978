//! The command `hashferry normalize`: one output line per path, and every line accounted for.

use crate::common::binary::{Finished, Run};
use crate::common::fake_s3::{FakeS3, S3Config};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

/// The expected output line for `path`.
fn row(path: &str, normalized: &str) -> String {
    let hash: String = Sha256::digest(normalized)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    format!("{path}\t{normalized}\t{hash}\n")
}

fn normalize(args: &[&str]) -> Run {
    Run::new(&[&["normalize"], args].concat())
}

fn assert_answers(ended: &Finished, status: i32, rows: &[(&str, &str)]) {
    let expected: String = rows.iter().map(|(path, to)| row(path, to)).collect();
    assert_eq!(ended.status, status, "{}", ended.stderr);
    assert_eq!(ended.stdout, expected, "{}", ended.stderr);
    ended.assert_stderr(&[]);
}

#[test]
fn path_normalised_path_and_hash_are_printed_in_input_order() {
    let list = "/home/alice/.bashrc\nD:\\Users\\bob\\Ntuser.dat\r\n/etc/passwd\nrelative\n\
                d:\\Documents and Settings\\carol\\x y\r\n/home/\u{FC}\u{65E5}/\u{1F4BE}";
    let rows = [
        ("/home/alice/.bashrc", "/home/ubuntu/.bashrc"),
        (
            "D:\\Users\\bob\\Ntuser.dat",
            "C:\\Users\\Administrator\\Ntuser.dat",
        ),
        ("/etc/passwd", "/etc/passwd"),
        ("relative", "relative"),
        (
            "d:\\Documents and Settings\\carol\\x y",
            "C:\\Documents and Settings\\Administrator\\x y",
        ),
        ("/home/\u{FC}\u{65E5}/\u{1F4BE}", "/home/ubuntu/\u{1F4BE}"),
    ];
    // Standard input, with or without `-`, and a file.
    for run in [
        normalize(&[]).input(list),
        normalize(&["-"]).input(list),
        normalize(&["list.txt"]).file("list.txt", list.as_bytes()),
    ] {
        let ended = run.run();
        assert_answers(&ended, 0, &rows);
        ended.assert_stderr(&["6 lines: 6 paths, 0 skipped (empty), 0 rejected"]);
    }
    // The hash equals that of sha256sum.
    let ended = normalize(&[]).input("/home/alice/.bashrc\n").run();
    let hash = "DF87D2309A59EE551AE2D8381C47C03DE9B1DD7B24D517E5CE039D7D85F8D57A";
    assert!(ended.stdout.ends_with(&format!("\t{hash}\n")));
    ended.assert_stderr(&["1 line: 1 path, 0 skipped (empty), 0 rejected"]);
}

#[test]
fn every_line_is_counted_and_invalid_paths_are_rejected_with_reasons() {
    let mut list =
        b"\xEF\xBB\xBF/home/a/1\r\n\n\r\n /home/b \n/caf\xE9\n/\xED\xA0\x80\n/a\0b\n".to_vec();
    list.extend(std::iter::repeat_n(b'x', 65_537));
    list.extend(b"\n\xEF\xBB\xBF/home/c\n/home/d\r\r\n/home/e\r");
    let ended = normalize(&["--rejects", "rejects.jsonl"]).input(list).run();
    let rows = [
        ("/home/a/1", "/home/ubuntu/1"),
        (" /home/b ", " /home/b "),
        ("\u{FEFF}/home/c", "\u{FEFF}/home/c"),
        ("/home/d\r", "/home/ubuntu"),
        ("/home/e", "/home/ubuntu"),
    ];
    assert_answers(&ended, 3, &rows);
    ended.assert_stderr(&["11 lines: 5 paths, 2 skipped (empty), 4 rejected"]);
    let fields = |r: &Value| json!([r["source"], r["line"], r["byte"], r["reason"], r["detail"]]);
    let rejects: Vec<Value> = ended.rejects.iter().map(fields).collect();
    let surrogate = "holds a surrogate, encoded as in WTF-8 or CESU-8";
    assert_eq!(
        rejects,
        [
            json!(["-", 5, 27, "utf8", null]),
            json!(["-", 6, 33, "utf8", surrogate]),
            json!(["-", 7, 38, "nul", null]),
            json!(["-", 8, 43, "overlong", null]),
        ]
    );

    // Without --rejects the first ten are printed.
    let ended = normalize(&[]).input(b"\xFF\n".repeat(12)).run();
    assert_answers(&ended, 3, &[]);
    ended.assert_stderr(&[
        "line 10 (byte 18): not valid UTF-8",
        "12 lines: 0 paths, 0 skipped (empty), 12 rejected",
    ]);
    assert!(!ended.stderr.contains("line 11 "), "{}", ended.stderr);

    // Binary first bytes are not an error.
    let ended = normalize(&[]).input("a\0b\n/home/x/y\n").run();
    assert_answers(&ended, 3, &[("/home/x/y", "/home/ubuntu/y")]);
}

#[test]
fn json_output_holds_any_path_and_the_rules() {
    let ended = normalize(&["--json", "--rules", "v3"])
        .input("/home/al\tice/\"q\"\\\u{1B}\nD:\\Users\\Public\\x\n\n")
        .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let lines: Vec<Value> = (ended.stdout.lines())
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    let answer = |path: &str, normalized: &str| {
        let row = row(path, normalized);
        let sha256 = row.trim_end().rsplit('\t').next();
        json!({"path": path, "normalized": normalized, "sha256": sha256, "rules": "v3"})
    };
    let expected = [
        answer("/home/al\tice/\"q\"\\\u{1B}", "/home/user/\"q\"\\\u{1B}"),
        answer("D:\\Users\\Public\\x", "D:\\Users\\Public\\x"),
    ];
    assert_eq!(lines, expected);
    assert!(!ended.stderr.contains("tab"), "{}", ended.stderr);

    // A path with a tab is ambiguous in tab-separated output: a warning says so.
    let ended = normalize(&[]).input("/a\tb\n/c\n").run();
    assert_answers(&ended, 0, &[("/a\tb", "/a\tb"), ("/c", "/c")]);
    ended.assert_stderr(&["paths with a tab: 1", "--json"]);
}

#[test]
fn rules_and_users_are_options_and_invalid_ones_are_an_error() {
    let list = "/home/a/b\n/Users/a/b\nD:\\Users\\a\\b\nD:\\b\n";
    let users = ["--unix-user", "ec2-user", "--windows-user", "J\u{FC}rgen M"];
    let ended = normalize(&users).input(list).run();
    let rows = [
        ("/home/a/b", "/home/ec2-user/b"),
        ("/Users/a/b", "/Users/a/b"),
        ("D:\\Users\\a\\b", "C:\\Users\\J\u{FC}rgen M\\b"),
        ("D:\\b", "C:\\b"),
    ];
    assert_answers(&ended, 0, &rows);
    let ended = normalize(&["--rules", "v3"]).input(list).run();
    let rows = [
        ("/home/a/b", "/home/user/b"),
        ("/Users/a/b", "/Users/user/b"),
        ("D:\\Users\\a\\b", "C:\\Users\\Administrator\\b"),
        ("D:\\b", "D:\\b"),
    ];
    assert_answers(&ended, 0, &rows);
    for (args, says) in [
        (["--rules", "v1"], "expected v2 or v3"),
        (["--unix-user", "a/b"], "one component of a path"),
        (["--windows-user", ""], "one component of a path"),
    ] {
        let ended = normalize(&args).input(list).run();
        assert_answers(&ended, 2, &[]);
        ended.assert_stderr(&[says]);
    }
}

#[test]
fn several_lists_are_read_in_order_each_with_a_byte_order_mark() {
    let ended = normalize(&["a", "-", "b"])
        .file("a", b"\xEF\xBB\xBF/home/a/1")
        .file("b", b"\xEF\xBB\xBF/home/b/1\n")
        .input("\u{FEFF}/home/c/2\n\n")
        .run();
    let rows = [
        ("/home/a/1", "/home/ubuntu/1"),
        ("/home/c/2", "/home/ubuntu/2"),
        ("/home/b/1", "/home/ubuntu/1"),
    ];
    assert_answers(&ended, 0, &rows);
    ended.assert_stderr(&["4 lines: 3 paths, 1 skipped (empty), 0 rejected"]);
}

#[test]
fn a_missing_list_is_an_error_before_the_first_line() {
    for (args, says) in [
        (
            &["a", "none"][..],
            "printf '%s\\n' PATH | hashferry normalize",
        ),
        (&["a", "."], "find DIR -type f"),
        (&["a", "-", "-"], "named twice"),
        (&["a", "https://x/y"], "is not supported"),
        (&["a", "--rejects", "none/x"], "cannot write rejected lines"),
    ] {
        let ended = normalize(args).file("a", b"/x\n").run();
        assert_answers(&ended, 2, &[]);
        ended.assert_stderr(&[says]);
    }
    let utf_16 = b"\xFF\xFE/\0a\0\r\0\n\0/\0b\0\r\0\n\0";
    let ended = normalize(&[]).input(utf_16).run();
    assert_answers(&ended, 2, &[]);
    ended.assert_stderr(&["UTF-16", "iconv -f UTF-16 -t UTF-8"]);
}

/// More lines than any buffer holds, and the expected output.
fn many() -> (Vec<u8>, String) {
    let paths = (0..20_000).map(|i| {
        (
            format!("/home/u{}/f{i}", i % 7),
            format!("/home/ubuntu/f{i}"),
        )
    });
    let mut list = Vec::new();
    let mut answers = String::new();
    for (path, normalized) in paths {
        list.extend(format!("{path}\r\n").into_bytes());
        answers += &row(&path, &normalized);
    }
    (list, answers)
}

#[test]
fn a_compressed_list_is_decompressed_and_a_cut_one_fails_after_its_lines() {
    let (list, answers) = many();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let gzip = gzip
        .write_all(&list)
        .and_then(|()| gzip.finish())
        .expect("gzip");
    let zstd = zstd::encode_all(&list[..], 3).expect("zstd");
    for compressed in [&gzip, &zstd] {
        let ended = normalize(&["-q", "list"]).file("list", compressed).run();
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stdout == answers, "{} bytes", ended.stdout.len());
        assert_eq!(ended.stderr, "");
    }
    let ended = normalize(&["list"])
        .file("list", &gzip[..gzip.len() / 2])
        .run();
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    assert!(answers.starts_with(&ended.stdout) && ended.stdout.ends_with('\n'));
    assert!(!ended.stdout.is_empty());
    ended.assert_stderr(&["it is cut off", " skipped (empty), 0 rejected"]);
}

#[test]
fn objects_in_s3_are_read_by_key_and_by_prefix() {
    let config = S3Config::default()
        .object("lists", "gold/b.txt", "/home/b/2\n")
        .object("lists", "gold/a.txt", "/home/a/1\n");
    let s3 = FakeS3::start(config);
    let ended = normalize(&["s3://lists/gold/b.txt"]).s3(&s3).run();
    assert_answers(&ended, 0, &[("/home/b/2", "/home/ubuntu/2")]);
    let rows = [
        ("/home/a/1", "/home/ubuntu/1"),
        ("/home/b/2", "/home/ubuntu/2"),
    ];
    let ended = normalize(&["s3://lists/gold/"]).s3(&s3).run();
    assert_answers(&ended, 0, &rows);
    let ended = normalize(&["s3://lists/none.txt"]).s3(&s3).run();
    assert_answers(&ended, 2, &[]);
    ended.assert_stderr(&["s3://lists/none.txt"]);
    s3.stop();
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_output_after_a_complete_line() {
    use nix::sys::signal::Signal;
    let mut run = normalize(&[])
        .open_input("/home/a/1\n/caf\u{0}\n/home/b/2\n/home/half")
        .start();
    run.wait_for_stderr("line 2 (byte 10): holds a NUL byte");
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    let rows = [
        ("/home/a/1", "/home/ubuntu/1"),
        ("/home/b/2", "/home/ubuntu/2"),
    ];
    assert_answers(&ended, 4, &rows);
    ended.assert_stderr(&["3 lines: 2 paths, 0 skipped (empty), 1 rejected"]);
}

#[cfg(unix)]
#[test]
fn output_is_line_by_line_and_a_closed_pipe_is_not_an_error() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_hashferry"))
        .arg("normalize")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    for path in ["/home/a/1", "/home/b/2"] {
        writeln!(stdin, "{path}").expect("it reads");
        let mut answer = String::new();
        stdout.read_line(&mut answer).expect("text");
        assert!(answer.starts_with(path), "{answer}");
    }
    drop(stdout);
    // Write until the pipe breaks, at the latest when all buffers are full.
    let line = b"/home/c/3\n".repeat(1000);
    while stdin.write_all(&line).is_ok() {}
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
}
