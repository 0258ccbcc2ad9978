//! Benches of single stages: `cargo bench --bench stages [-- FILTER]`.
//!
//! Throughput is in bytes of the list, so that the stages compare with each other
//! and with the network. `end_to_end` measures their total cost; this bench shows
//! the share of each.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hashferry::Algorithm;
use hashferry::Attribute;
use hashferry::Case;
use hashferry::Hash;
use hashferry::bench::Framer;
use hashferry::bench::ItemJsonTemplate;
use hashferry::bench::ItemTemplate;
use hashferry::bench::KeySchema;
use hashferry::bench::Layout;
use hashferry::bench::LineParser;
use hashferry::bench::Parsed;
use hashferry::bench::Position;
use hashferry::bench::Record;
use hashferry::bench::RowParser;
use hashferry::bench::SharedBucket;
use hashferry::bench::Window;
use hashferry::matchmeta::Normalizer;
use hashferry::options::Format;
use hashferry::options::KeyAttribute;
use hashferry::options::KeyType;
use hashferry::options::ListOptions;
use std::hint::black_box;
use std::sync::Arc;

/// Number of lines of each list.
const LINES: u32 = 20_000;

/// Size of the chunks, as S3 sends them.
const CHUNK_BYTES: usize = 64 * 1024;

/// Pseudo-random hashes from a fixed seed.
fn hashes() -> Vec<Hash> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut raw = [0; 32];
    (0..LINES)
        .map(|_| {
            random.fill(&mut raw);
            Hash::from(raw)
        })
        .collect()
}

fn list(hashes: &[Hash], end: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for hash in hashes {
        hash.write_hex(Case::Upper, &mut text);
        text.extend_from_slice(end.as_bytes());
    }
    text
}

fn records(hashes: &[Hash]) -> Vec<Record> {
    let place = |line| Position {
        source: 0,
        line,
        byte: line * 66,
    };
    let lines = (1..).zip(hashes);
    lines.map(|(n, h)| Record::new(*h, place(n))).collect()
}

fn schema() -> KeySchema {
    KeySchema {
        partition: KeyAttribute {
            name: "sha256".to_owned(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: Vec::new(),
    }
}

/// Calls `each` with the lines of `text`, which it feeds in chunks.
fn framed(text: &[u8], mut each: impl FnMut(&hashferry::bench::Line<'_>)) {
    let mut framer = Framer::new();
    for chunk in text.chunks(CHUNK_BYTES) {
        let mut lines = framer.push(chunk);
        while let Some(line) = lines.next() {
            each(&line);
        }
    }
    if let Some(line) = framer.finish() {
        each(&line);
    }
}

fn reading(c: &mut Criterion) {
    let hashes = hashes();
    let text = list(&hashes, "\r\n");
    let mut group = c.benchmark_group("reading");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("lines", |b| {
        b.iter(|| {
            let mut bytes = 0;
            framed(&text, |line| bytes += line.bytes.len());
            bytes
        });
    });
    group.bench_function("lines and records", |b| {
        let parser = LineParser::new(Algorithm::Sha256);
        b.iter(|| {
            let mut count = 0u32;
            framed(&text, |line| {
                count += u32::from(matches!(black_box(parser.parse(line)), Parsed::Hash(_)));
            });
            assert_eq!(count, LINES);
        });
    });
    group.bench_function("lines, records and the window of duplicates", |b| {
        let parser = LineParser::new(Algorithm::Sha256);
        b.iter_batched(
            || Window::new(Algorithm::Sha256),
            |mut window| {
                let mut fresh = 0u32;
                framed(&text, |line| {
                    if let Parsed::Hash(hash) = parser.parse(line) {
                        fresh += u32::from(window.insert(&hash));
                    }
                });
                window
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn rows(c: &mut Criterion) {
    let hashes = hashes();
    let mut group = c.benchmark_group("rows");
    let mut row = |name: &str, format: Format, form: ListOptions, text: String| {
        let layout = Layout::detect(name, text.as_bytes(), true, &form).expect("a list");
        assert_eq!(layout.format, format);
        let mut parser =
            RowParser::new(&layout, &form, Algorithm::Sha256, &[]).expect("its hashes");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut count = 0u32;
                framed(text.as_bytes(), |line| {
                    count += u32::from(matches!(black_box(parser.parse(line)), Parsed::Hash(_)));
                });
                assert_eq!(count, LINES);
            });
        });
    };
    let joined = |each: &dyn Fn(String) -> String| -> String {
        hashes.iter().map(|h| each(h.to_hex(Case::Lower))).collect()
    };
    let form = ListOptions::default;
    let sums = joined(&|h| format!("{h}  usr/lib/{}.so\n", &h[..8]));
    row("sums", Format::Sums, form(), sums);
    let csv = joined(&|h| format!("\"{h}\",\"a name, {}\",17\n", &h[..8]));
    let csv = format!("sha256,name,size\n{csv}");
    row("csv", Format::Csv, form(), csv);
    let json = joined(&|h| format!("{{\"name\":\"{}\",\"sha256\":\"{h}\"}}\n", &h[..8]));
    row("ndjson", Format::Ndjson, form(), json);
    let paths = joined(&|h| format!("/home/{}/lib/python3/dist-packages/{h}.py\n", &h[..4]));
    let form = ListOptions::paths(Normalizer::default());
    row("paths", Format::Paths, form, paths);
    group.finish();
}

fn requests(c: &mut Criterion) {
    let hashes = hashes();
    let records = records(&hashes);
    let attributes: Vec<Attribute> = ["type=linux", "source=debian", "desc=packages"]
        .map(|a| a.parse().expect("an attribute"))
        .into();
    let template = ItemTemplate::new(
        "sha256",
        &schema(),
        Algorithm::Sha256,
        Case::Upper,
        &attributes,
    )
    .expect("it fits");
    let mut group = c.benchmark_group("requests");
    group.throughput(Throughput::Elements(25));
    group.bench_function("a batch of 25 items to write", |b| {
        let mut body = Vec::new();
        b.iter(|| {
            body.clear();
            template.write_request(black_box(&records[..25]), &mut body);
            body.len()
        });
    });
    let whole = ItemJsonTemplate::new("sha256", &schema(), Algorithm::Sha256, Case::Upper, &[])
        .expect("it fits");
    group.throughput(Throughput::Elements(100));
    group.bench_function("a batch of 100 keys to look up", |b| {
        let mut body = Vec::new();
        b.iter(|| {
            body.clear();
            whole.write_request(black_box(&hashes[..100]), false, &mut body);
            body.len()
        });
    });
    let items = hashes[..100].iter().map(|h| {
        let hash = h.to_hex(Case::Upper);
        format!(r#"{{"sha256":{{"S":"{hash}"}},"type":{{"S":"linux"}},"source":{{"S":"debian"}}}}"#)
    });
    let items = items.collect::<Vec<_>>().join(",");
    let answer = format!(r#"{{"Responses":{{"sha256":[{items}]}},"UnprocessedKeys":{{}}}}"#);
    group.bench_function("a response with 100 whole items", |b| {
        b.iter(|| {
            let answer = whole.parse_response(black_box(answer.as_bytes()), 100);
            assert_eq!(answer.expect("a response").items.len(), 100);
        });
    });
    group.finish();
}

fn limiter(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter");
    const TAKES: u64 = 6_400;
    group.throughput(Throughput::Elements(TAKES));
    for takers in [1, 8, 64] {
        group.bench_function(format!("{takers} takers at a full bucket"), |b| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()
                .expect("a runtime");
            let limiter = Arc::new(SharedBucket::new(1e12));
            b.iter(|| {
                let each = |_| {
                    let limiter = limiter.clone();
                    runtime.spawn(async move {
                        for _ in 0..TAKES / takers {
                            limiter.take(25.0).await;
                        }
                    })
                };
                let takers: Vec<_> = (0..takers).map(each).collect();
                runtime.block_on(futures::future::join_all(takers));
            });
        });
    }
    group.finish();
}

criterion_group!(stages, reading, rows, requests, limiter);
criterion_main!(stages);
