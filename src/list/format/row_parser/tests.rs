//! Parsers of all formats, and rows that span several lines, with any chunk borders.

use super::*;
use crate::base::hash::Hash;
use crate::list::format::cell::parse_cell;
use crate::list::format::first_hash::{algorithm_by_lines, first_base64_algorithm, sums_algorithm};
use crate::list::format::rows::{Row, Rows};
use crate::list::lines::Framer;
use proptest::prelude::*;

mod made;
mod tables;

const MD5: &str = "92e792c43c35e96fed3f9566083326fc";
const SHA1: &str = "00d1034546f530d746131ce2a28a052db21652ec";
const SHA256: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";

/// A row: number of its first line, result of parsing, wanted columns.
type ParsedRow = (u64, String, Vec<String>);

fn hash(hex: &str) -> Parsed {
    Parsed::Hash(Hash::from_hex(hex.as_bytes()).expect("hex"))
}

/// The layout and options of a list.
struct TestList {
    layout: Layout,
    options: ListOptions,
}

impl TestList {
    fn parser(&self, algorithm: Algorithm, wanted: &[String]) -> Result<RowParser> {
        RowParser::new(&self.layout, &self.options, algorithm, wanted)
    }
}

/// Parses the rows in `chunks` of a list.
fn rows_of(
    chunks: &[&[u8]],
    list: &TestList,
    algorithm: Algorithm,
    wanted: &[&str],
) -> Vec<ParsedRow> {
    let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
    let parser = list
        .parser(algorithm, &wanted)
        .expect("it has these columns");
    let (mut rows, mut framer) = (Rows::new(parser), Framer::new());
    let mut parsed_rows = Vec::new();
    let mut end = 0;
    let mut emit = |row: Row<'_>, parser: &RowParser| {
        assert!(
            row.line.offset >= end && row.end >= row.line.offset,
            "rows follow one another"
        );
        end = row.end;
        let result = match row.parsed {
            Parsed::Hash(hash) => hash.to_hex(crate::base::hash::Case::Lower),
            Parsed::Rejected(reason) => format!("{reason:?}"),
            other => format!("{other:?}"),
        };
        let text =
            |n| String::from_utf8_lossy(parser.column_value(n).unwrap_or_default()).into_owned();
        let values = match row.parsed {
            Parsed::Hash(_) => (0..wanted.len()).map(text).collect(),
            _ => vec![],
        };
        parsed_rows.push((row.line.number, result, values));
        Ok::<(), ()>(())
    };
    for chunk in chunks {
        let mut lines = framer.push(chunk);
        while let Some(line) = lines.next() {
            rows.push(&line, 1, &mut emit).expect("emitted");
        }
    }
    if let Some(line) = framer.finish() {
        rows.push(&line, 0, &mut emit).expect("emitted");
    }
    rows.finish(&mut emit).expect("emitted");
    parsed_rows
}

fn detected(text: &str, options: &ListOptions) -> TestList {
    TestList {
        layout: Layout::detect("list", text.as_bytes(), true, options).expect("a layout"),
        options: options.clone(),
    }
}

fn layout(text: &str) -> TestList {
    detected(text, &ListOptions::default())
}

/// The algorithms that have columns in a list.
fn algorithms(text: &str) -> Vec<Algorithm> {
    let TestList { layout, options } = layout(text);
    let algorithms = layout.algorithms(&options);
    algorithms.into_iter().map(|(a, _)| a).collect()
}

/// Detects the format of a list and parses its rows.
fn read(text: &str, algorithm: Algorithm, wanted: &[&str]) -> (Format, Vec<ParsedRow>) {
    let list = layout(text);
    let rows = rows_of(&[text.as_bytes()], &list, algorithm, wanted);
    (list.layout.format, rows)
}

/// The results of parsing, without line numbers and columns.
fn results(rows: &[ParsedRow]) -> Vec<&str> {
    rows.iter().map(|(_, result, _)| result.as_str()).collect()
}

#[test]
fn plain_lists_are_detected() {
    for text in [
        format!("{SHA256}\n"),
        format!("# list\r\n# sha256_hash\r\n{SHA256}\r\n"),
        format!("SHA-256\n{SHA256}\n"),
        format!("A list of hashes\n{SHA256}\n{SHA256}  name\n"),
        "hello\nworld\n".to_owned(),
    ] {
        assert_eq!(layout(&text).layout, Layout::default(), "{text:?}");
    }
    for empty in ["", "\n\r\n", "# nothing today\n#\n"] {
        let layout = layout(empty).layout;
        assert_eq!((layout.format, layout.is_empty), (Format::Lines, true));
    }
}

#[test]
fn sums_are_parsed_in_every_variant() {
    let text = format!(
        "{MD5}  /a/b c.out\n{MD5} *bin.out\r\n\\{MD5}  a\\nb\\\\c\nMD5 (x (1) = y) = {MD5}\n\
         MD5(openssl.txt)= {MD5}\n    669416  {MD5}  /Users/a.out\nSHA256 (x) = {SHA256}\n{MD5}\n\
         \n# c\nbroken line\n{MD5} one blank\n"
    );
    let (format, rows) = read(&text, Algorithm::Md5, &["name", "size"]);
    assert_eq!(format, Format::Sums);
    let names: Vec<(&str, &str)> = rows
        .iter()
        .filter(|r| r.1 == MD5)
        .map(|r| (r.2[0].as_str(), r.2[1].as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("/a/b c.out", ""),
            ("bin.out", ""),
            ("a\nb\\c", ""),
            ("x (1) = y", ""),
            ("openssl.txt", ""),
            ("/Users/a.out", "669416"),
            ("", ""),
            ("one blank", ""),
        ]
    );
    let others: Vec<&str> = results(&rows).into_iter().filter(|w| *w != MD5).collect();
    assert_eq!(others, ["Algorithm", "Skipped", "Skipped", "Length"]);
    let long = format!("{MD5}  x\n{SHA1}  too long\n");
    assert_eq!(
        results(&read(&long, Algorithm::Md5, &[]).1),
        [MD5, "Length"]
    );
    let tagged = format!("SHA2-256 (a) = {SHA256}\nSHA256 (b) = {SHA256}\n");
    assert_eq!(
        results(&read(&tagged, Algorithm::Sha256, &[]).1),
        [SHA256, SHA256]
    );
}

#[test]
fn hashdeep_is_parsed_by_its_line_of_columns() {
    let text = format!(
        "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /x\n## $ hashdeep a\n## \n\
         622,{MD5},{SHA256},/a/b,c.hsh\n281,{MD5}\n%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n\
         7,{MD5},-,x\n%%%% size,sha256,filename\n"
    );
    let (format, rows) = read(&text, Algorithm::Sha256, &["filename", "size"]);
    assert_eq!(format, Format::Hashdeep);
    assert_eq!(
        results(&rows),
        [
            "Skipped", "Skipped", "Skipped", "Skipped", "Skipped", SHA256, "Columns", "Skipped",
            "Skipped", "NoHash", "Header"
        ]
    );
    assert_eq!(rows[5].2, ["/a/b,c.hsh", "622"]);
    assert_eq!(algorithms(&text), [Algorithm::Md5, Algorithm::Sha256]);
    let options = ListOptions {
        format: Some(Format::Hashdeep),
        ..ListOptions::default()
    };
    let without = detected("x\n", &options);
    assert!(
        without.parser(Algorithm::Md5, &[]).is_err(),
        "no line names the columns"
    );
    // A byte order mark, and a second header that differs only in a column that is not read.
    let text = format!(
        "\u{FEFF}%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n%%%% size,sha1,sha256,filename\n7,{SHA1},{SHA256},x\n"
    );
    let rows = read(&text, Algorithm::Sha256, &["filename"]).1;
    assert_eq!(results(&rows), ["Skipped", "Skipped", "Skipped", SHA256]);
    assert_eq!(rows[3].2, ["x"]);
}

#[test]
fn nsrl_of_both_versions_is_parsed_by_its_header() {
    let v2 = format!(
        "\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\"SpecialCode\"\r\n\
         \"{}\",\"{}\",\"CABEC7CD\",\"INFO, \"\"FILE\"\".IC$\",503,1,\"WIN\",\"\"\r\n",
        SHA1.to_uppercase(),
        MD5.to_uppercase()
    );
    let v1 = format!(
        "\"SHA-1\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\"MD4\",\"MD5\",\"CRC32\",\"SpecialCode\"\n\
         \"{SHA1}\",\"a\",5,1,\"WIN\",\"00000000000000000000000000000000\",\"{MD5}\",\"C\",\"\"\n"
    );
    for text in [&v1, &v2] {
        for (algorithm, expected) in [(Algorithm::Sha1, SHA1), (Algorithm::Md5, MD5)] {
            let (format, rows) = read(text, algorithm, &["filename", "FileSize"]);
            assert_eq!(
                (format, results(&rows)),
                (Format::Nsrl, vec!["Skipped", expected])
            );
            assert!(rows[1].2[1] == "503" || rows[1].2 == ["a", "5"]);
        }
    }
    assert_eq!(
        read(&v2, Algorithm::Sha1, &["FileName"]).1[1].2,
        ["INFO, \"FILE\".IC$"]
    );
    // Names in another encoding, or with an open quote, do not affect the hash.
    let mut bytes = v2.clone().into_bytes();
    let name = |name: &[u8], rest: &str| {
        let before = format!("\"{SHA1}\",\"{MD5}\",\"C\",\"");
        [before.as_bytes(), name, rest.as_bytes()].concat()
    };
    bytes.extend(name(b"caf\xC9", "\",1,1,\"W\",\"\"\n"));
    bytes.extend(name(b"open", ",1,1,\n"));
    bytes.extend(format!("\"{SHA1}\",\"{MD5}\"\n").as_bytes());
    let rows = rows_of(&[&bytes], &layout(&v2), Algorithm::Sha1, &[]);
    assert_eq!(results(&rows), ["Skipped", SHA1, SHA1, SHA1, SHA1]);
    let md5 = rows_of(&[b"\"x\",\"92\n"], &layout(&v2), Algorithm::Md5, &[]);
    assert_eq!(results(&md5), ["Length"]);
}

#[test]
fn tables_are_detected_by_their_headers() {
    let hashkeeper = format!(
        "\"file_id\",\"hashset_id\",\"file_name\",\"directory\",\"hash\",\"file_size\"\n4151044,671,\"acsetups.pdb\",,\"{MD5}\",91136\n"
    );
    let ilook = format!(
        "V3Hash,HashSHA1,FileName,FilePath,FileSize,HashSHA256\n{MD5},{SHA1},f.gz,\\,10429,\n"
    );
    let powershell = format!(
        "#TYPE Selected.System.IO.FileInfo\r\n\"DirectoryName\",\"Name\",\"MD5\",\"SHA256\",\"Sddl\"\r\n\
         \"C:\\\",\"a\",\"{MD5}\",\"{SHA256}\",\"O:S\"\r\n\"C:\\\",\"b\",\"\",\"{SHA256}\",\"x\"\r\n"
    );
    let getmeta = format!("ami-1|/a|/|a|5|{MD5}|{SHA256}\nami-1|/b|/|b|0|EMPTY|-\n");
    let tsv = format!("name\tsha256_hash\nx\t{SHA256}\n");
    for (text, algorithm, format, expected) in [
        (
            &hashkeeper,
            Algorithm::Md5,
            Format::Hashkeeper,
            vec!["Skipped", MD5],
        ),
        (&ilook, Algorithm::Md5, Format::Ilook, vec!["Skipped", MD5]),
        (
            &ilook,
            Algorithm::Sha1,
            Format::Ilook,
            vec!["Skipped", SHA1],
        ),
        (
            &ilook,
            Algorithm::Sha256,
            Format::Ilook,
            vec!["Skipped", "NoHash"],
        ),
        (
            &powershell,
            Algorithm::Md5,
            Format::Csv,
            vec!["Skipped", "Skipped", MD5, "NoHash"],
        ),
        (
            &powershell,
            Algorithm::Sha256,
            Format::Csv,
            vec!["Skipped", "Skipped", SHA256, SHA256],
        ),
        (&getmeta, Algorithm::Md5, Format::Psv, vec![MD5, "NoHash"]),
        (
            &getmeta,
            Algorithm::Sha256,
            Format::Psv,
            vec![SHA256, "NoHash"],
        ),
        (
            &tsv,
            Algorithm::Sha256,
            Format::Tsv,
            vec!["Skipped", SHA256],
        ),
    ] {
        let (detected, rows) = read(text, algorithm, &[]);
        assert_eq!((detected, results(&rows)), (format, expected), "{text}");
    }
    let quoted = format!("\"{SHA1}\"\n\"{SHA1}\"\n");
    let (format, rows) = read(&quoted, Algorithm::Sha1, &[]);
    assert_eq!((format, results(&rows)), (Format::Csv, vec![SHA1, SHA1]));
}

fn column(name: &str) -> ListOptions {
    ListOptions {
        column: Some(name.into()),
        ..ListOptions::default()
    }
}

#[test]
fn a_missing_column_is_an_error_that_lists_the_columns() {
    let text = format!("a,sha256,file_sha256\n{MD5},{SHA256},{SHA256}\n");
    for (name, algorithm, hash) in [
        ("a", Algorithm::Md5, MD5),
        ("1", Algorithm::Md5, MD5),
        ("File-SHA256", Algorithm::Sha256, SHA256),
    ] {
        let list = detected(&text, &column(name));
        let algorithms = list.layout.algorithms(&list.options);
        assert_eq!(algorithms, [(algorithm, name.to_owned())]);
        let rows = rows_of(&[text.as_bytes()], &list, algorithm, &[]);
        assert_eq!(results(&rows), ["Skipped", hash], "{name}");
    }
    // The exact name wins.
    assert_eq!(
        results(&read(&text, Algorithm::Sha256, &[]).1),
        ["Skipped", SHA256]
    );
    let error = |text: &str, options: &ListOptions, algorithm, wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
        let list = detected(text, options);
        let error = list.parser(algorithm, &wanted).expect_err("no column");
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    };
    let auto = ListOptions::default();
    assert!(error(&text, &column("nope"), Algorithm::Md5, &[]).contains("a, sha256, file_sha256"));
    assert!(error(&text, &auto, Algorithm::Sha1, &[]).contains("a, sha256, file_sha256"));
    assert!(error(&text, &auto, Algorithm::Sha256, &["size"]).contains("\"size\""));
    let two = format!("{SHA256},{SHA256}\n");
    assert!(error(&two, &auto, Algorithm::Sha256, &[]).contains("1, 2"));
    assert!(error(&two, &auto, Algorithm::Sha1, &[]).contains("sha1"));
    let plain = format!("{SHA256}\n");
    assert!(error(&plain, &column("x"), Algorithm::Sha256, &[]).contains("plain list"));
    assert!(error(&plain, &auto, Algorithm::Sha256, &["x"]).contains("plain list"));
    let sums = format!("{SHA256}  x\n");
    assert!(error(&sums, &auto, Algorithm::Sha256, &["x"]).contains("name and size"));
}

#[test]
fn a_header_is_recognised_by_the_column_from_the_options() {
    let text = format!("name,fingerprint\nx,{SHA256}\nname,fingerprint\n");
    for name in ["fingerprint", "2"] {
        let layout = detected(&text, &column(name));
        let rows = rows_of(&[text.as_bytes()], &layout, Algorithm::Sha256, &["name"]);
        assert_eq!(results(&rows), ["Skipped", SHA256, "Skipped"], "{name}");
        assert_eq!(rows[1].2, ["x"]);
    }
    // Without the option there is no hash column. A row with a damaged hash is not a header.
    let list = layout(&text);
    let error = list.parser(Algorithm::Sha256, &[]).expect_err("no column");
    assert!(
        format!("{error:#}").contains("name, fingerprint"),
        "{error}"
    );
    let broken = format!("x,{}\nx,{SHA256}\n", &SHA256[1..]);
    let rows = rows_of(
        &[broken.as_bytes()],
        &detected(&broken, &column("2")),
        Algorithm::Sha256,
        &[],
    );
    assert_eq!(results(&rows), ["Length", SHA256]);
}

#[test]
fn without_a_header_the_hash_column_is_the_one_with_only_hashes() {
    // The first file has no hash; the name of the second one is its own hash.
    let text = format!("a,EMPTY\n{SHA256},{SHA256}\nb,-\n");
    assert_eq!(
        results(&read(&text, Algorithm::Sha256, &[]).1),
        ["NoHash", SHA256, "NoHash"]
    );
    // In a column of a generic name the length decides the algorithm.
    let text = format!("hash,checksum,name\n{MD5},{SHA1},x\n");
    assert_eq!(algorithms(&text), [Algorithm::Md5, Algorithm::Sha1]);
    assert_eq!(
        results(&read(&text, Algorithm::Sha1, &[]).1),
        ["Skipped", SHA1]
    );
    let layout = layout(&text);
    assert!(layout.parser(Algorithm::Sha256, &[]).is_err());
}

#[test]
fn a_sentence_before_bare_hashes_is_rejected() {
    for sentence in [
        "MD5, SHA1 and others are in other lists",
        "hashes | all of them",
    ] {
        let text = format!("{sentence}\n{SHA256}\n{SHA256}\n");
        let (format, rows) = read(&text, Algorithm::Sha256, &[]);
        assert_eq!(
            (format, results(&rows)),
            (Format::Lines, vec!["Length", SHA256, SHA256])
        );
    }
}

#[test]
fn a_sum_with_another_tag_is_rejected() {
    for (tag, algorithm, good) in [
        ("SHA256", Algorithm::Sha256, true),
        ("SHA2-256", Algorithm::Sha256, true),
        ("BLAKE2b-256", Algorithm::Sha256, false),
        ("SHA3-256", Algorithm::Sha256, false),
        ("SHA512/256", Algorithm::Sha256, false),
        ("SHA512/256", Algorithm::Sha512_256, true),
        ("SHA2-512/256", Algorithm::Sha512_256, true),
        ("SHA3-256", Algorithm::Sha3_256, true),
        ("BLAKE3", Algorithm::Blake3, true),
    ] {
        let text = format!("{tag} (a) = {SHA256}\n{tag} (b) = {SHA256}\n");
        let layout = detected(
            &text,
            &ListOptions {
                format: Some(Format::Sums),
                ..ListOptions::default()
            },
        );
        let expected = if good { SHA256 } else { "Algorithm" };
        let rows = rows_of(&[text.as_bytes()], &layout, algorithm, &[]);
        assert_eq!(results(&rows), [expected, expected], "{tag} {algorithm}");
    }
    let tagged = format!("BLAKE3 (a) = {SHA256}\n");
    assert_eq!(
        sums_algorithm(tagged.as_bytes(), true),
        Some(Algorithm::Blake3)
    );
    let other = format!("BLAKE2b-256 (a) = {SHA256}\n");
    assert_eq!(sums_algorithm(other.as_bytes(), true), None);
}

#[test]
fn fields_of_json_lines_are_read() {
    let text = format!(
        "{{\"MD5\":\"{MD5}\",\"SHA-1\":\"{SHA1}\",\"FileName\":\"a\\\"b\",\"FileSize\":1024,\"x\":{{\"y\":[1,{{}}],\"z\":\"{SHA256}\"}}}}\n\
         {{\"SHA-1\":\"\"}}\n{{\"FileName\":\"no hash\"}}\nnot json\n{{\"SHA-1\":\"{SHA1}\"}} trailing\n\n"
    );
    let (format, rows) = read(
        &text,
        Algorithm::Sha1,
        &["FileName", "filesize", "x.z", "nope"],
    );
    assert_eq!(format, Format::Ndjson);
    assert_eq!(
        results(&rows),
        [SHA1, "NoHash", "NoHash", "Json", "Json", "Skipped"]
    );
    assert_eq!(rows[0].2, ["a\"b", "1024", SHA256, ""]);
    let options = ListOptions {
        format: Some(Format::Ndjson),
        column: Some("X.z".into()),
        ..ListOptions::default()
    };
    let nested = detected(&text, &options);
    assert_eq!(
        results(&rows_of(
            &[text.as_bytes()],
            &nested,
            Algorithm::Sha256,
            &[]
        ))[0],
        SHA256
    );
    assert_eq!(algorithms(&text), [Algorithm::Md5, Algorithm::Sha1]);
    let error = layout(&text)
        .parser(Algorithm::Sha512, &[])
        .expect_err("no such field");
    assert!(format!("{error:#}").contains("MD5, SHA-1, x"), "{error}");
    let affixed = format!("{{\"sha256_hash\":\"{SHA256}\"}}\n");
    assert_eq!(results(&read(&affixed, Algorithm::Sha256, &[]).1), [SHA256]);
    let long = format!("[{}", "{\"md5\":\"x\"},".repeat(8000));
    for one in [
        "[\n{\"md5\":\"x\"}\n]\n",
        "{\n \"list\": []\n}\n",
        "[{\"md5\":1}]\n",
        &long[..65_536],
    ] {
        let error = Layout::detect("misp.json", one.as_bytes(), false, &ListOptions::default())
            .expect_err("not JSON lines");
        assert!(
            error
                .hint()
                .is_some_and(|h| h.contains("jq -c '.[]' misp.json")),
            "{error}"
        );
    }
    for other in ["[section]\n", "{curly}\n"] {
        let text = format!("{other}{SHA256}\n");
        assert_eq!(
            read(&text, Algorithm::Sha256, &[]).0,
            Format::Lines,
            "{other}"
        );
    }
}

#[test]
fn a_quoted_field_may_span_lines_and_an_open_quote_rejects_one_line() {
    let text = format!(
        "name,sha256\n\"a\nb\n\nc\",{SHA256}\nplain,{SHA256}\n\"open,{SHA256}\nx,{SHA256}\ny,{MD5}\n"
    );
    let (format, rows) = read(&text, Algorithm::Sha256, &["name"]);
    assert_eq!(format, Format::Csv);
    let expected = [
        (1, "Skipped"),
        (2, SHA256),
        (6, SHA256),
        (7, "Quote"),
        (8, SHA256),
        (9, "Length"),
    ];
    let got: Vec<(u64, &str)> = rows
        .iter()
        .map(|(n, result, _)| (*n, result.as_str()))
        .collect();
    assert_eq!(got, expected);
    assert_eq!(rows[1].2, ["a\nb\n\nc"]);
}

#[test]
fn a_row_longer_than_a_line_is_rejected_and_the_next_rows_are_read() {
    let line = format!("x,{SHA256}\n");
    let text = format!("name,sha256\n\"open\n{}", line.repeat(3000));
    let (_, rows) = read(&text, Algorithm::Sha256, &[]);
    assert_eq!(rows.len(), 3002);
    assert_eq!((rows[1].0, rows[1].1.as_str()), (2, "Quote"));
    assert!(rows[2..].iter().all(|r| r.1 == SHA256));
    // Blank lines count towards the length.
    let text = format!("name,sha256\n\"open\n{}{line}", "\n".repeat(70_000));
    let rows = read(&text, Algorithm::Sha256, &[]).1;
    assert_eq!(rows.len(), 70_003);
    assert_eq!(
        (
            rows[1].1.as_str(),
            rows[2].1.as_str(),
            rows[70_002].1.as_str()
        ),
        ("Quote", "Skipped", SHA256)
    );
    // Every line leaves a quote open.
    let text = format!("name,sha256\n{}", "x\"y,\"\n".repeat(12_000));
    let (_, rows) = read(&text, Algorithm::Sha256, &[]);
    let numbers: Vec<u64> = rows.iter().map(|r| r.0).collect();
    assert_eq!(numbers, (1..=12_001).collect::<Vec<_>>());
    // The quote is closed after the maximum length.
    let text = format!(
        "name,sha256\n\"open\n{}x\",{SHA256}\n",
        "filler line\n".repeat(7000)
    );
    let (_, rows) = read(&text, Algorithm::Sha256, &[]);
    assert_eq!((rows.len(), rows[1].1.as_str()), (7003, "Quote"));
    assert!(rows[2..7002].iter().all(|r| r.1 == "Columns"));
    assert_eq!(rows[7002].1, SHA256);
    // A row after rejected lines is parsed completely.
    let open = |i: usize| format!("{SHA256},y\"{i},\"\n");
    let text = (0..2000).map(open).collect::<String>();
    let text = format!("sha256,a,b\n{text}end\"\n");
    let (_, rows) = read(&text, Algorithm::Sha256, &["a", "b"]);
    let rejected = rows.iter().filter(|r| r.1 == "Quote").count();
    assert_eq!(rows.len(), rejected + 2);
    let last = rows.last().expect("a row");
    assert_eq!((last.0, last.1.as_str()), (rejected as u64 + 2, SHA256));
    let expected = [
        format!("y\"{rejected}"),
        format!("\n{SHA256},y{}", rejected + 1),
    ];
    assert_eq!(last.2, expected);
    // An overlong line ends an unfinished row.
    let text = format!("name,sha256\n\"open\n{}\n{line}", "z".repeat(70_000));
    assert_eq!(
        results(&read(&text, Algorithm::Sha256, &[]).1),
        ["Skipped", "Quote", "Overlong", SHA256]
    );
}

#[test]
fn a_repeated_header_is_skipped_and_a_different_one_rejected() {
    let row = format!("x,{SHA256}\n");
    let text =
        format!("name,sha256\n{row}name,sha256\n{row}# comment,\"x\nfile,sha1\n#x,{SHA256}\n");
    assert_eq!(
        results(&read(&text, Algorithm::Sha256, &[]).1),
        [
            "Skipped", SHA256, "Skipped", SHA256, "Skipped", "Header", SHA256
        ]
    );
}

fn with_columns(format: Format) -> TestList {
    TestList {
        layout: Layout {
            format,
            columns: vec!["name".into(), "sha256".into()],
            ..Layout::default()
        },
        options: ListOptions::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// In any format, chunk borders do not change the rows, no line is lost and nothing
    /// panics.
    #[test]
    fn chunk_borders_do_not_change_the_rows(
        lines in prop::collection::vec(prop_oneof![
            3 => Just(format!("x,{SHA256}")),
            2 => Just("\"a".to_owned()),
            1 => Just("b\",".to_owned()),
            1 => Just(format!("{{\"sha256\":\"{SHA256}\"}}")),
            1 => Just(format!("{SHA256}  name")),
            1 => "[a\",|\t{}#%0-9]{0,12}",
        ], 0..30),
        cuts in prop::collection::vec(1usize..40, 1..20),
        format in 0usize..Format::ALL.len(),
    ) {
        let text = lines.iter().map(|l| format!("{l}\n")).collect::<String>();
        let layout = with_columns(Format::ALL[format]);
        let whole = rows_of(&[text.as_bytes()], &layout, Algorithm::Sha256, &[]);
        let mut chunks = Vec::new();
        let mut rest = text.as_bytes();
        let mut cut = cuts.iter().cycle();
        while !rest.is_empty() {
            let n = (*cut.next().expect("cycles")).min(rest.len());
            chunks.push(&rest[..n]);
            rest = &rest[n..];
        }
        prop_assert_eq!(&rows_of(&chunks, &layout, Algorithm::Sha256, &[]), &whole);
        // Rows begin at increasing lines; in most formats each line is a row.
        prop_assert!(whole.windows(2).all(|w| w[0].0 < w[1].0));
        let spans = [Format::Csv, Format::Semicolon, Format::Powershell, Format::Certutil];
        if !spans.contains(&layout.layout.format) {
            prop_assert_eq!(whole.len(), lines.len());
        }
    }

    /// A row ends at the first line that closes its quotes. A line whose quotes no later line
    /// closes is rejected alone.
    #[test]
    fn rows_equal_those_of_a_simple_reference(
        lines in prop::collection::vec(prop_oneof![
            Just(format!("x,{SHA256}")), Just("\"a".to_owned()), Just("b\",".to_owned()),
            Just("\"\"".to_owned()), Just("x\"y,\"".to_owned()), "[a\",#]{0,6}",
        ], 0..40),
    ) {
        let layout = with_columns(Format::Csv);
        let mut parser = layout.parser(Algorithm::Sha256, &[]).expect("a parser");
        let parse = |parser: &mut RowParser, text: &str| {
            let bytes = text.as_bytes();
            parser.parse(&Line { bytes, offset: 0, number: 1, length: bytes.len() as u64 })
        };
        let mut expected = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            parser.abandon_row();
            let each = (at..lines.len()).map(|n| (n, parse(&mut parser, &lines[n])));
            let end = each.into_iter().find(|(_, parsed)| *parsed != Parsed::Continues);
            let (last, result) = end.unwrap_or((at, Parsed::Rejected(RejectReason::Quote)));
            expected.push(match result {
                Parsed::Hash(_) => SHA256.to_owned(),
                Parsed::Rejected(reason) => format!("{reason:?}"),
                other => format!("{other:?}"),
            });
            at = last + 1;
        }
        let text = lines.iter().map(|l| format!("{l}\n")).collect::<String>();
        let rows = rows_of(&[text.as_bytes()], &layout, Algorithm::Sha256, &[]);
        prop_assert_eq!(results(&rows), expected);
    }

    /// Detection and parsing of arbitrary first bytes never panic.
    #[test]
    fn any_first_bytes_are_detected_without_a_panic(head in prop::collection::vec(any::<u8>(), 0..300), whole in any::<bool>()) {
        let _ = Layout::detect("x", &head, whole, &ListOptions::default());
        for format in Format::ALL {
            let options = ListOptions { format: Some(format), ..ListOptions::default() };
            if let Ok(layout) = Layout::detect("x", &head, whole, &options)
                && let Ok(mut parser) = RowParser::new(&layout, &options, Algorithm::Md5, &[])
            {
                let line = Line { bytes: &head, offset: 0, number: 1, length: head.len() as u64 };
                let _ = parser.parse(&line);
            }
        }
    }
}

#[test]
fn a_cell_is_a_hash_or_rejected_with_its_reason() {
    for (text, expected) in [
        (format!(" {} ", MD5.to_uppercase()), hash(MD5)),
        ("EMPTY".into(), Parsed::Rejected(RejectReason::NoHash)),
        ("large".into(), Parsed::Rejected(RejectReason::NoHash)),
        ("-".into(), Parsed::Rejected(RejectReason::NoHash)),
        (SHA1.into(), Parsed::Rejected(RejectReason::Length)),
        (MD5.replace('9', "g"), Parsed::Rejected(RejectReason::Hex)),
    ] {
        let digits = HashSpec::new(Algorithm::Md5, &ListOptions::default());
        assert_eq!(parse_cell(text.as_bytes(), digits), expected, "{text}");
    }
}
