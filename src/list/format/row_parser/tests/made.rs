//! Formats of other tools, from samples in the style of their output.

use super::*;

const BASE64: &str = "OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=";

/// The format, the results of parsing, and the wanted columns of rows with a hash.
fn parsed(
    text: &str,
    algorithm: Algorithm,
    wanted: &[&str],
) -> (Format, Vec<String>, Vec<Vec<String>>) {
    let (format, rows) = read(text, algorithm, wanted);
    let results = rows.iter().map(|(_, result, _)| result.clone()).collect();
    let values = rows.into_iter().map(|(.., values)| values);
    (format, results, values.filter(|v| !v.is_empty()).collect())
}

fn shown(text: &str) -> Option<Algorithm> {
    let layout = layout(text).layout;
    algorithm_by_lines(layout.format, text.as_bytes(), true)
}

#[test]
fn tables_may_be_separated_by_semicolons() {
    let text = format!(
        "sep=;\r\nName;MD5;Size\r\n\"a;b, c\";{MD5};3\r\n\"two\nlines\";{MD5};4\r\nx;;5\r\n"
    );
    let (format, results, values) = parsed(&text, Algorithm::Md5, &["name", "size"]);
    assert_eq!(format, Format::Semicolon);
    assert_eq!(results, ["Skipped", "Skipped", MD5, MD5, "NoHash"]);
    assert_eq!(values, [["a;b, c", "3"], ["two\nlines", "4"]]);
    for text in [
        format!("{MD5};a, b;3\n"),
        format!("\"{MD5}\";\"a\"\n"),
        format!("\"Name\";\"MD5\"\n\"a\";\"{MD5}\"\n"),
    ] {
        assert_eq!(
            read(&text, Algorithm::Md5, &[]).0,
            Format::Semicolon,
            "{text}"
        );
    }
    for text in [format!("{MD5},a;b\n"), format!("\"{MD5}\",\"a;b\"\n")] {
        assert_eq!(read(&text, Algorithm::Md5, &[]).0, Format::Csv, "{text}");
    }
}

#[test]
fn cells_may_have_the_algorithms_name_before_the_hash() {
    let text = format!("name,hash\na,sha256:{SHA256}\nb,0x{SHA256}\nc,blake3:{SHA256}\n");
    let (format, results, _) = parsed(&text, Algorithm::Sha256, &[]);
    assert_eq!(format, Format::Csv);
    assert_eq!(results, ["Skipped", SHA256, SHA256, "Algorithm"]);
    let bare = format!("sha256:{SHA256},a\n");
    assert_eq!(algorithms(&bare), [Algorithm::Sha256]);
    assert_eq!(parsed(&bare, Algorithm::Sha256, &[]).1, [SHA256]);
    let sums = format!("sha256:{SHA256}  a b\nsha1:{SHA1}  c\n");
    let (format, results, values) = parsed(&sums, Algorithm::Sha256, &["name"]);
    assert_eq!(
        (format, results),
        (
            Format::Sums,
            vec![SHA256.to_owned(), "Algorithm".to_owned()]
        )
    );
    assert_eq!(values, [["a b"]]);
    let plain = format!("sha256:{SHA256}\n");
    assert_eq!(read(&plain, Algorithm::Sha256, &[]).0, Format::Lines);
    let json = format!("{{\"sha256\":\"sha256:{SHA256}\"}}\n");
    assert_eq!(parsed(&json, Algorithm::Sha256, &[]).1, [SHA256]);
}

#[test]
fn ilook_names_md5_after_the_version_of_its_files() {
    for name in ["V1Hash", "V3Hash", "V4Hash"] {
        let text = format!("{name},HashSHA1,FileName,FilePath,FileSize\n{MD5},{SHA1},a,\\,3\n");
        let (format, results, values) = parsed(&text, Algorithm::Md5, &["FileName"]);
        assert_eq!(
            (format, results),
            (Format::Ilook, vec!["Skipped".to_owned(), MD5.to_owned()])
        );
        assert_eq!(values, [["a"]]);
        assert_eq!(algorithms(&text), [Algorithm::Md5, Algorithm::Sha1]);
    }
}

#[test]
fn clamav_signatures_of_files_are_parsed() {
    let text = format!(
        "# by ClamAV\n{MD5}:1024:Win.Trojan.A-1\r\n{MD5}:*:Win.B:73\n{SHA256}:7:Win.C:73:99\n{MD5}:x:Win.D\n{MD5}\n\n"
    );
    let (format, results, values) = parsed(&text, Algorithm::Md5, &["name", "size"]);
    assert_eq!(format, Format::Clamav);
    assert_eq!(
        results,
        ["Skipped", MD5, MD5, "Algorithm", "Columns", MD5, "Skipped"]
    );
    assert_eq!(
        values,
        [["Win.Trojan.A-1", "1024"], ["Win.B", ""], ["", ""]]
    );
    assert_eq!(shown(&text), Some(Algorithm::Md5));
}

#[test]
fn tables_of_get_file_hash_are_parsed() {
    let text = format!(
        "\r\nAlgorithm       Hash                      Path     \r\n---------       ----                      ----     \r\n\
         SHA256          {}          C:\\a b\\c d.txt   \r\nSHA1            {SHA1}          C:\\e\r\n\
         SHA256          3A21...          C:\\f\r\n\r\n\r\n",
        SHA256.to_uppercase()
    );
    let (format, results, values) = parsed(&text, Algorithm::Sha256, &["path", "algorithm"]);
    assert_eq!(format, Format::Powershell);
    assert_eq!(
        results,
        [
            "Skipped",
            "Skipped",
            "Skipped",
            SHA256,
            "Other(Sha1)",
            "Length",
            "Skipped",
            "Skipped"
        ]
    );
    assert_eq!(values, [["C:\\a b\\c d.txt", "SHA256"]]);
    assert_eq!(shown(&text), Some(Algorithm::Sha256));
    // Columns in another order.
    for (header, row) in [
        ("Path Hash\n---- ----\n", format!("a b.txt  {MD5}\n")),
        ("Hash Path\n---- ----\n", format!("{MD5} a b.txt\n")),
        (
            "Algorithm Path Hash\n---- ---- ----\n",
            format!("MD5 a b.txt {MD5}\n"),
        ),
    ] {
        let text = format!("{header}{row}{header}{row}");
        let (format, results, values) = parsed(&text, Algorithm::Md5, &["path"]);
        assert_eq!(format, Format::Powershell, "{header}");
        assert_eq!(
            results,
            ["Skipped", "Skipped", MD5, "Skipped", "Skipped", MD5]
        );
        assert_eq!(values, [["a b.txt"], ["a b.txt"]]);
    }
    let alone = format!("Hash\n----\n{MD5}\n");
    assert_eq!(
        parsed(&alone, Algorithm::Md5, &[]).1,
        ["Skipped", "Skipped", MD5]
    );
}

#[test]
fn lists_of_get_file_hash_are_parsed() {
    let text = format!(
        "\r\n\r\nAlgorithm : SHA256\r\nHash      : {}\r\nPath      : C:\\a b\\long-na\r\n            me.txt\r\n\r\n\
         Algorithm : SHA1\r\nHash      : {SHA1}\r\nPath      : C:\\e\r\n\r\n\
         Algorithm : SHA256\r\nHash      : {}\r\n            {}\r\nPath      : D:\\x",
        SHA256.to_uppercase(),
        &SHA256[..40],
        &SHA256[40..]
    );
    let list = layout(&text);
    assert_eq!(list.layout.columns, ["Algorithm", "Hash", "Path"]);
    let rows = rows_of(&[text.as_bytes()], &list, Algorithm::Sha256, &["path"]);
    assert_eq!(
        results(&rows),
        ["Skipped", "Skipped", SHA256, "Other(Sha1)", SHA256]
    );
    // A record is one row, with the number of its first line.
    let numbers: Vec<u64> = rows.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 8, 12]);
    assert_eq!(rows[2].2, ["C:\\a b\\long-name.txt"]);
    assert_eq!(rows[4].2, ["D:\\x"]);
    assert_eq!(shown(&text), Some(Algorithm::Sha256));
    // With the hash as the only column, each line is a record.
    let lines = format!("Hash : {MD5}\nHash : {MD5}\n\nHash : {MD5}\n");
    assert_eq!(
        parsed(&lines, Algorithm::Md5, &[]).1,
        [MD5, MD5, "Skipped", MD5]
    );
    // Records without a blank line between them are rejected.
    let joined = format!("Algorithm : MD5\nHash : {MD5}\nAlgorithm : MD5\nHash : {MD5}\n\n");
    assert_eq!(parsed(&joined, Algorithm::Md5, &[]).1, ["Record"]);
}

#[test]
fn hashes_of_certutil_may_have_blanks() {
    let digits: Vec<&str> = (0..20).map(|n| &SHA1[n * 2..n * 2 + 2]).collect();
    let end = "CertUtil: -hashfile command completed successfully.\r\n";
    let text = format!(
        "SHA1 hash of file C:\\a b.txt:\r\n{}\r\n{end}SHA1 hash of C:\\c.txt:\r\n{SHA1}\r\n{end}\
         SHA256 hash of d:\r\n{SHA256}\r\n{end}SHA1-Hash von e:\r\n{SHA1}\r\n{end}SHA1 hash of f:\r\n{end}",
        digits.join(" ")
    );
    let (format, results, values) = parsed(&text, Algorithm::Sha1, &["name"]);
    assert_eq!(format, Format::Certutil);
    assert_eq!(
        results,
        [
            SHA1,
            "Skipped",
            SHA1,
            "Skipped",
            "Other(Sha256)",
            "Skipped",
            SHA1,
            "Skipped",
            "NoHash"
        ]
    );
    assert_eq!(values, [["C:\\a b.txt"], ["C:\\c.txt"], ["e"]]);
    assert_eq!(shown(&text), Some(Algorithm::Sha1));
}

#[test]
fn base64_is_read_in_every_format_with_the_option() {
    let options = ListOptions {
        encoding: Encoding::Base64,
        ..ListOptions::default()
    };
    let read = |text: &str| {
        let list = detected(text, &options);
        let rows = rows_of(&[text.as_bytes()], &list, Algorithm::Sha256, &[]);
        let results = rows
            .into_iter()
            .map(|(_, result, _)| result)
            .collect::<Vec<_>>();
        (list.layout.format, results)
    };
    let url = BASE64.replace('/', "_").replace('=', "");
    for (text, format, expected) in [
        (
            format!("# x\nsha256\n{BASE64}\r\n\nsha256-{BASE64}\nsha512-{BASE64}\n{SHA256}\n!\n"),
            Format::Lines,
            vec![
                "Skipped",
                "Skipped",
                SHA256,
                "Skipped",
                SHA256,
                "Algorithm",
                "Length",
                "Base64",
            ],
        ),
        (
            format!("a/b.py,sha256={url},12\na/RECORD,,\n"),
            Format::Csv,
            vec![SHA256, "NoHash"],
        ),
        (
            format!("name;digest\na;{BASE64}\n"),
            Format::Semicolon,
            vec!["Skipped", SHA256],
        ),
        (
            format!("SHA256 (a) = {BASE64}\n"),
            Format::Sums,
            vec![SHA256],
        ),
        (
            format!("{{\"sha256\":\"{BASE64}\"}}\n"),
            Format::Ndjson,
            vec![SHA256],
        ),
    ] {
        let (is, results) = read(&text);
        assert_eq!(is, format, "{text}");
        assert_eq!(results, expected, "{text}");
    }
    let first = format!("x\n{BASE64}\n");
    assert_eq!(
        first_base64_algorithm(first.as_bytes(), true),
        Some(Algorithm::Sha256)
    );
    // A run without the option must not resume one with it.
    assert_ne!(options.describe(), ListOptions::default().describe());
}

/// Parses elements of an array, one per line, that `--field` leads to.
fn elements(field: &str, text: &str, algorithm: Algorithm, wanted: &[&str]) -> Vec<ParsedRow> {
    let options = ListOptions {
        column: Some(field.to_owned()),
        ..ListOptions::default()
    };
    rows_of(
        &[text.as_bytes()],
        &detected(text, &options),
        algorithm,
        wanted,
    )
}

#[test]
fn elements_are_selected_by_the_algorithm_beside_the_hash() {
    let vic = format!(
        "{{\"MD5\":\"{MD5}\",\"Size\":3}}\n{{\"SHA1\":\"{SHA1}\"}}\n{{\"MD5\":\"x\"}}\n7\n"
    );
    let rows = elements("value[].MD5", &vic, Algorithm::Md5, &["value[].Size"]);
    assert_eq!(results(&rows), [MD5, "Skipped", "Length", "Json"]);
    assert_eq!(rows[0].2, ["3"]);
    let cyclone = format!(
        "{{\"alg\":\"SHA-256\",\"content\":\"{SHA256}\"}}\n{{\"alg\":\"BLAKE3\",\"content\":\"{SHA256}\"}}\n\
         {{\"alg\":\"MD5\",\"content\":\"{MD5}\"}}\n"
    );
    let rows = elements(
        "components[].hashes[].content",
        &cyclone,
        Algorithm::Sha256,
        &[],
    );
    assert_eq!(results(&rows), [SHA256, "Other(Blake3)", "Other(Md5)"]);
    let misp = format!(
        "{{\"type\":\"md5\",\"value\":\"{MD5}\"}}\n{{\"type\":\"filename|md5\",\"value\":\"a|{MD5}\"}}\n\
         {{\"type\":\"imphash\",\"value\":\"{MD5}\"}}\n{{\"type\":\"filename|imphash\",\"value\":\"a|{MD5}\"}}\n\
         {{\"type\":\"sha1\",\"value\":\"{SHA1}\"}}\n{{\"value\":\"{SHA1}\"}}\n"
    );
    let rows = elements("Event.Attribute[].value", &misp, Algorithm::Md5, &[]);
    assert_eq!(
        results(&rows),
        [MD5, MD5, "Skipped", "Skipped", "Other(Sha1)", "Algorithm"]
    );
    let stix = format!(
        "{{\"type\":\"file\",\"hashes\":{{\"SHA-256\":\"{SHA256}\"}}}}\n{{\"type\":\"identity\"}}\n"
    );
    let rows = elements("objects[].hashes.SHA-256", &stix, Algorithm::Sha256, &[]);
    assert_eq!(results(&rows), [SHA256, "Skipped"]);
    let list = format!("{{\"value\":\"{MD5}\"}}\n{{\"value\":\"{SHA1}\"}}\n");
    let rows = elements("list[]", &list, Algorithm::Md5, &[]);
    assert_eq!(results(&rows), [MD5, "Algorithm"]);
}

#[test]
fn a_list_that_is_not_output_of_powershell_is_an_error() {
    let options = ListOptions {
        format: Some(Format::Powershell),
        ..ListOptions::default()
    };
    let text = format!("{MD5}\n");
    let error = detected(&text, &options).parser(Algorithm::Md5, &[]);
    let error = error.expect_err("not such output");
    assert_eq!(error.exit_status(), 2);
    assert!(
        format!("{error:#}").contains("Algorithm, Hash and Path"),
        "{error}"
    );
}
