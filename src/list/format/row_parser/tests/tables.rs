//! Tables and lists in the style of exports: blanks, types, several algorithms.

use super::*;

fn with_others(text: &str, others: OtherAlgorithms) -> TestList {
    let options = ListOptions {
        other_algorithms: others,
        ..ListOptions::default()
    };
    detected(text, &options)
}

fn parser_error(text: &str, algorithm: Algorithm) -> String {
    let error = layout(text).parser(algorithm, &[]).expect_err("no parser");
    assert_eq!(error.exit_status(), 2, "{error}");
    format!("{error}; {}", error.hint().unwrap_or_default())
}

/// A hash with `digits` digits, unique for each `n`.
fn nth(n: u64, digits: usize) -> String {
    format!("{n:0digits$x}")
}

#[test]
fn blanks_around_quoted_fields_are_dropped() {
    let rows = (0..40).map(|n| {
        let hash = nth(n, 64);
        format!("\"2026-11-01\", \"10{n}\" , \"{hash}\", \"sha256_hash\", \"x, \"\"{n}\"\"\"  \r\n")
    });
    let text = format!(
        "# \"first_seen\", \"id\", \"ioc\"\r\n#\r\n{}",
        rows.collect::<String>()
    );
    let (format, rows) = read(&text, Algorithm::Sha256, &["5", "2"]);
    assert_eq!((format, rows.len()), (Format::Csv, 42));
    for n in 0..40u64 {
        let (_, result, columns) = &rows[n as usize + 2];
        assert_eq!(*result, nth(n, 64));
        assert_eq!(*columns, [format!("x, \"{n}\""), format!("10{n}")]);
    }
    // A field that spans lines, with blanks after its closing quote.
    let text = format!("name, sha256\n\"a \" \t, \"{SHA256}\" \n \"b  \n c\" ,{SHA256}\n");
    let rows = read(&text, Algorithm::Sha256, &["name"]).1;
    assert_eq!(results(&rows), ["Skipped", SHA256, SHA256]);
    assert_eq!((&rows[1].2[0][..], &rows[2].2[0][..]), ("a ", "b  \n c"));
    for (text, format) in [
        (
            format!("\"name\" | \"md5\"\n\"x|y\" | \"{MD5}\"\n"),
            Format::Psv,
        ),
        (
            format!("\"name\"\t \"md5\"\n\"x|y\" \t \"{MD5}\"\n"),
            Format::Tsv,
        ),
        (
            format!("\"file_id\", \"hashset_id\", \"name\", \"hash\"\n1, 2, \"x|y\", \"{MD5}\"\n"),
            Format::Hashkeeper,
        ),
    ] {
        let (detected, rows) = read(&text, Algorithm::Md5, &["name"]);
        assert_eq!((detected, results(&rows)), (format, vec!["Skipped", MD5]));
        assert_eq!(rows[1].2, ["x|y"]);
    }
}

#[test]
fn a_row_with_a_hash_is_not_a_header() {
    let text = format!("\"sha256:{SHA256}\",\"sha256_hash\",\"x\"\n{SHA256},sha256_hash,y\n");
    let list = layout(&text);
    assert!(list.layout.columns.is_empty(), "{:?}", list.layout);
    let rows = rows_of(&[text.as_bytes()], &list, Algorithm::Sha256, &[]);
    assert_eq!(results(&rows), [SHA256, SHA256]);
}

#[test]
fn consecutive_headers_are_rejected_above_the_limit() {
    // The user chose the type column as the hash column.
    let options = ListOptions {
        column: Some("kind".into()),
        ..ListOptions::default()
    };
    let text = format!("kind,x\n{}", "kind,y\n".repeat(5));
    let rows = rows_of(
        &[text.as_bytes()],
        &detected(&text, &options),
        Algorithm::Md5,
        &[],
    );
    assert_eq!(results(&rows), [&["Skipped"][..], &["Header"; 5]].concat());
    // Concatenated lists, some of them empty.
    let list = |empty: usize| format!("{}name,md5\nx,{MD5}\n\n", "name,md5\n# \n".repeat(empty));
    let text: String = [0, 0, 15, 0].map(list).concat();
    let rows = read(&text, Algorithm::Md5, &[]).1;
    assert!(rows.iter().all(|r| r.1 == "Skipped" || r.1 == MD5));
    let text: String = [0, 17].map(list).concat();
    let rows = read(&text, Algorithm::Md5, &[]).1;
    let rejected = rows.iter().filter(|r| r.1 == "Header").count();
    assert_eq!(
        (rejected, rows.last().map(|r| r.1.as_str())),
        (2, Some("Skipped"))
    );
    // Lists without columns.
    for (first, rest) in [
        (format!("{MD5}\n"), 16),
        (format!("{MD5}  x\n"), 16),
        (String::new(), 16),
    ] {
        let text = format!("{first}{}", "md5\n".repeat(20));
        let rows = read(&text, Algorithm::Md5, &[]).1;
        let skipped = rows.iter().filter(|r| r.1 == "Skipped").count();
        let rejected = rows.iter().filter(|r| r.1 == "Header").count();
        assert_eq!((skipped, rejected), (rest, 20 - rest), "{first}");
    }
}

#[test]
fn a_column_of_another_name_is_not_detected_by_its_values() {
    for name in [
        "imphash",
        "ja3",
        "guid",
        "authentihash",
        "pe_sha256",
        "Telfhash (x)",
    ] {
        for delimiter in [",", "\t", "|"] {
            let text = ["name", name, "size\n\"a b\"", MD5, "5\nc", MD5, "6\n"].join(delimiter);
            let message = parser_error(&text, Algorithm::Md5);
            assert!(
                message.contains(&format!("name, {name}, size")),
                "{message}"
            );
            assert!(message.contains("--column"), "{message}");
            let rows = rows_of(
                &[text.as_bytes()],
                &detected(&text, &column(name)),
                Algorithm::Md5,
                &[],
            );
            assert_eq!(results(&rows), ["Skipped", MD5, MD5], "{name}");
        }
    }
    // The header may follow a title and precede rows without a hash.
    let text = format!("Report of May\n,file,imphash\n1,x.exe,\n2,y.exe,{MD5}\n");
    assert!(parser_error(&text, Algorithm::Md5).contains(", file, imphash"));
    // A row of data is not a header.
    for first in [
        "x,n/a",
        "x,",
        "7,none",
        "C:\\a,fail",
        &format!("x,{}", &MD5[1..]),
    ] {
        let text = format!("{first}\ny,{MD5}\nz,{MD5}\n");
        let rows = read(&text, Algorithm::Md5, &[]).1;
        assert_eq!(results(&rows)[1..], [MD5, MD5], "{first}");
    }
    // A row with a damaged hash is not a header either, even if `column` is a number.
    let text = format!("x,{}\ny,{MD5}\n", &MD5[1..]);
    let rows = rows_of(
        &[text.as_bytes()],
        &detected(&text, &column("2")),
        Algorithm::Md5,
        &[],
    );
    assert_eq!(results(&rows), ["Length", MD5]);
    let text = format!("trojan,timeout\ntrojan,{MD5}\n");
    assert_eq!(results(&read(&text, Algorithm::Md5, &[]).1)[1], MD5);
}

/// Exports with a type column, and all kinds of values in one column.
#[test]
fn a_type_column_selects_the_rows_of_each_algorithm() {
    let misp = format!(
        "uuid,event_id,category,type,value,comment,to_ids,date\n\
         \"1\",7,Payload,md5,\"{MD5}\",\"\",1,20261101\n\
         \"2\",7,Payload,sha1,\"{SHA1}\",\"\",1,20261101\n\
         \"3\",7,Payload,sha256,\"{SHA256}\",\"\",1,20261101\n\
         \"4\",7,Payload,imphash,\"{MD5}\",\"\",1,20261101\n\
         \"5\",7,Network,domain,\"a.example\",\"\",1,20261101\n\
         \"6\",7,Payload,filename|sha256,\"a|b.exe|{SHA256}\",\"\",1,20261101\n\
         \"7\",7,Payload,filename|md5,\"c.exe|{MD5}\",\"\",1,20261101\n"
    );
    let otx = format!(
        "\"Indicator type\",\"Indicator\",\"Description\"\n\"FileHash-MD5\",\"{MD5}\",\"\"\n\
         \"FileHash-SHA1\",\"{SHA1}\",\"\"\n\"FileHash-SHA256\",\"{SHA256}\",\"\"\n\
         \"FileHash-IMPHASH\",\"{MD5}\",\"\"\n\"domain\",\"a.example\",\"\"\n"
    );
    let get_file_hash = format!(
        "\"Algorithm\",\"Hash\",\"Path\"\n\"MD5\",\"{MD5}\",\"C:\\a\"\n\"SHA1\",\"{SHA1}\",\"C:\\a\"\n\
         \"SHA256\",\"{SHA256}\",\"C:\\a\"\n"
    );
    let threatfox = format!(
        "\"2026-11-01\", \"1\", \"{MD5}\", \"md5_hash\", \"payload\"\n\
         \"2026-11-01\", \"2\", \"{SHA1}\", \"sha1_hash\", \"payload\"\n\
         \"2026-11-01\", \"3\", \"{SHA256}\", \"sha256_hash\", \"payload\"\n\
         \"2026-11-01\", \"4\", \"a.example\", \"domain\", \"botnet_cc\"\n"
    );
    for (name, text, skipped, imphash, domain, both) in [
        ("misp", &misp, 1, true, true, true),
        ("otx", &otx, 1, true, true, false),
        ("get_file_hash", &get_file_hash, 1, false, false, false),
        ("threatfox", &threatfox, 0, false, true, false),
    ] {
        for (algorithm, hash) in [
            (Algorithm::Md5, MD5),
            (Algorithm::Sha1, SHA1),
            (Algorithm::Sha256, SHA256),
        ] {
            let result = |a: Algorithm, hash: &str| match a == algorithm {
                true => hash.to_owned(),
                false => format!("Other({a:?})"),
            };
            let mut expected = vec!["Skipped".to_owned(); skipped];
            expected.push(result(Algorithm::Md5, MD5));
            expected.push(result(Algorithm::Sha1, SHA1));
            expected.push(result(Algorithm::Sha256, SHA256));
            expected.extend(imphash.then(|| "Algorithm".to_owned()));
            expected.extend(domain.then(|| "NoHash".to_owned()));
            if both {
                expected.push(result(Algorithm::Sha256, SHA256));
                expected.push(result(Algorithm::Md5, MD5));
            }
            let rows = read(text, algorithm, &[]).1;
            assert_eq!(results(&rows), expected, "{name} {hash}");
        }
        let algorithms = algorithms(text);
        assert_eq!(
            algorithms,
            [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256],
            "{name}"
        );
    }
    // The first rows may hold no hash of the algorithm.
    let only: String = get_file_hash
        .lines()
        .take(2)
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(
        results(&read(&only, Algorithm::Sha512, &[]).1),
        ["Skipped", "Other(Md5)"]
    );
}

#[test]
fn without_types_the_length_decides_unless_the_name_does() {
    let text = format!("hash,x\n{MD5},a\n{SHA1},b\n{MD5},c\n");
    assert_eq!(
        results(&read(&text, Algorithm::Md5, &[]).1),
        ["Skipped", MD5, "Other(Sha1)", MD5]
    );
    assert_eq!(
        results(&read(&text, Algorithm::Sha1, &[]).1),
        ["Skipped", "Other(Md5)", SHA1, "Other(Md5)"]
    );
    let bare: String = text.lines().skip(1).map(|l| format!("{l}\n")).collect();
    assert_eq!(results(&read(&bare, Algorithm::Sha1, &[]).1)[1], SHA1);
    let named = text.replace("hash,", "md5,");
    assert_eq!(
        results(&read(&named, Algorithm::Md5, &[]).1),
        ["Skipped", MD5, "Length", MD5]
    );
    let skip = with_others(&named, OtherAlgorithms::Skip);
    let rows = rows_of(&[named.as_bytes()], &skip, Algorithm::Md5, &[]);
    assert_eq!(results(&rows)[2], "Other(Sha1)");
    // A single hash of another length is stray.
    let many = (0..60)
        .map(|n| format!("{},a\n", nth(n, 32)))
        .collect::<String>();
    let stray = format!("hash,x\n{SHA1},b\n{many}");
    assert_eq!(results(&read(&stray, Algorithm::Md5, &[]).1)[1], "Length");
    assert_eq!(algorithms(&stray), [Algorithm::Md5]);
}

/// Lines with hashes: pairs of number of digits and number of lines.
fn mixed(counts: &[(usize, u64)], end: &str) -> String {
    let lines = counts
        .iter()
        .flat_map(|(digits, n)| (0..*n).map(|i| format!("{}{end}\n", nth(i, *digits))));
    lines.collect()
}

#[test]
fn a_list_that_mixes_algorithms_is_an_error_with_its_counts() {
    for end in ["", "  name", "\r"] {
        let text = mixed(&[(64, 20), (32, 15), (40, 10)], end);
        let message = parser_error(&text, Algorithm::Sha256);
        for part in [
            "of its first 45 hashes, 25 are of other algorithms",
            "20 sha256, 15 md5, 10 sha1",
            "expected sha256",
            "--other-algorithms skip",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(parser_error(&text, Algorithm::Sha512).contains("none is sha512"));
        // The length alone does not tell SHA-256 from BLAKE3.
        assert!(parser_error(&text, Algorithm::Blake3).contains("25 are of other algorithms"));
        let skip = with_others(&text, OtherAlgorithms::Skip);
        let rows = rows_of(&[text.as_bytes()], &skip, Algorithm::Md5, &[]);
        let count = |result: &str| rows.iter().filter(|r| r.1 == result).count();
        assert_eq!((count("Other(Sha256)"), count("Other(Sha1)")), (20, 10));
        assert_eq!(rows.len(), 45);
    }
    let tagged = format!("MD5 (a) = {MD5}\nSHA1 (a) = {SHA1}\nSHA256 (a) = {SHA256}\n");
    assert!(parser_error(&tagged, Algorithm::Sha1).contains("1 sha256, 1 sha1, 1 md5"));
    let skip = with_others(&tagged, OtherAlgorithms::Skip);
    let rows = rows_of(&[tagged.as_bytes()], &skip, Algorithm::Sha1, &[]);
    assert_eq!(results(&rows), ["Other(Md5)", SHA1, "Other(Sha256)"]);
    // BLAKE2b-256 is not supported, and not counted as SHA-256.
    let unknown = format!("SHA256 (a) = {SHA256}\nBLAKE2b-256 (a) = {SHA256}\n");
    let skip = with_others(&unknown, OtherAlgorithms::Skip);
    let rows = rows_of(&[unknown.as_bytes()], &skip, Algorithm::Sha256, &[]);
    assert_eq!(results(&rows), [SHA256, "Algorithm"]);
}

#[test]
fn json_lines_of_other_algorithms_are_skipped_with_the_option() {
    let text = format!(
        "{{\"h\":\"{MD5}\"}}\n{{\"h\":\"{SHA1}\"}}\n{{\"h\":\"x\"}}\n{{\"h\":\"{SHA256}\"}}\n"
    );
    let results = |others| {
        let options = ListOptions {
            other_algorithms: others,
            ..column("h")
        };
        let rows = rows_of(
            &[text.as_bytes()],
            &detected(&text, &options),
            Algorithm::Md5,
            &[],
        );
        rows.into_iter().map(|r| r.1).collect::<Vec<_>>()
    };
    let skipped = results(OtherAlgorithms::Skip);
    assert_eq!(skipped, [MD5, "Other(Sha1)", "Length", "Other(Sha256)"]);
    assert_eq!(
        results(OtherAlgorithms::Refuse),
        [MD5, "Algorithm", "Length", "Algorithm"]
    );
}

#[test]
fn a_stray_line_or_a_list_of_another_algorithm_is_not_a_mix() {
    for (counts, algorithm) in [
        (&[(64, 1), (32, 1)][..], Algorithm::Sha256),
        (&[(64, 190), (32, 10)], Algorithm::Sha256),
        (&[(32, 188)], Algorithm::Sha256),
    ] {
        let text = mixed(counts, "");
        let rows = read(&text, algorithm, &[]).1;
        assert!(rows.iter().any(|r| r.1 == "Length"), "{counts:?}");
    }
    let text = mixed(&[(64, 189), (32, 10)], "");
    assert!(parser_error(&text, Algorithm::Sha256).contains("10 md5"));
    // Only the first thousand lines are counted.
    let late = mixed(&[(32, 1000), (40, 900)], "");
    assert!(layout(&late).parser(Algorithm::Md5, &[]).is_ok());
}

#[test]
fn a_second_hash_in_place_of_a_name_is_rejected() {
    let [a, b, c] = [1, 2, 3].map(|n| nth(n, 32));
    let upper = a.replace('0', "A");
    let text = format!(
        "{a} {b} {c}\n{a}  {b}\n{a}\t{b}\n{a} {SHA1} {SHA256}\n{upper}  {}\n{a} *{b}\n{a}  {b}.exe\n\
         MD5 ({b}) = {a}\n{a}  dir/{b}\n5  {a}  {b}\n",
        upper.to_lowercase()
    );
    let rows = read(&text, Algorithm::Md5, &["name"]).1;
    let several = "SeveralHashes";
    assert_eq!(
        results(&rows),
        [
            several,
            several,
            several,
            &a,
            &upper.to_lowercase(),
            &a,
            &a,
            &a,
            &a,
            several
        ]
    );
    assert_eq!(
        rows[4].2,
        [upper.to_lowercase()],
        "a file named after its own hash"
    );
    let text = format!("{a}\n{a} {b}\n{a}\t{b} {c}\n{a} x\n");
    assert_eq!(
        results(&read(&text, Algorithm::Md5, &[]).1),
        [&a, several, several, "Length"]
    );
    assert!(
        RejectReason::SeveralHashes
            .to_string()
            .contains("tr -s ' ' '\\n' < LIST")
    );
}

#[test]
fn a_list_without_rows_needs_no_column() {
    for text in ["", "# nothing today\n\n"] {
        for format in [
            None,
            Some(Format::Csv),
            Some(Format::Hashdeep),
            Some(Format::Ndjson),
        ] {
            let options = ListOptions {
                format,
                column: Some("value".into()),
                ..ListOptions::default()
            };
            let rows = rows_of(
                &[text.as_bytes()],
                &detected(text, &options),
                Algorithm::Md5,
                &["name"],
            );
            assert!(rows.iter().all(|r| r.1 == "Skipped"));
        }
    }
}

#[test]
fn json_lines_with_the_name_of_another_algorithm_are_skipped() {
    let options = ListOptions {
        column: Some("value".into()),
        ..ListOptions::default()
    };
    let text = format!(
        "{{\"type\":\"md5\",\"value\":\"{MD5}\"}}\n{{\"type\":\"sha1\",\"value\":\"{SHA1}\"}}\n\
         {{\"type\":\"imphash\",\"value\":\"{MD5}\"}}\n{{\"type\":\"file\",\"value\":\"{MD5}\"}}\n\
         {{\"type\":\"md5\",\"value\":\"\"}}\n"
    );
    let rows = rows_of(
        &[text.as_bytes()],
        &detected(&text, &options),
        Algorithm::Md5,
        &[],
    );
    assert_eq!(
        results(&rows),
        [MD5, "Other(Sha1)", "Skipped", MD5, "NoHash"]
    );
}
