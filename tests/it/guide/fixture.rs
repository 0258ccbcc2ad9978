//! Servers, tables, objects and files that the commands of the guides use.

use crate::rds;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput,
    ScalarAttributeType,
};
use hashferry::embedded::{ACCESS_KEY_ID, LocalOptions, LocalServers, REGION, SECRET_ACCESS_KEY};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Capacity of a provisioned table, in WCU/s and RCU/s.
const UNITS: i64 = 5000;

pub(super) struct Fixture {
    pub(super) servers: LocalServers,
    dir: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let data = dir.path().join("data");
        for folder in ["data", "work", "home"] {
            std::fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        let servers = LocalServers::start(LocalOptions {
            dir: data.clone(),
            s3_port: 0,
            dynamodb_port: 0,
        })
        .expect("servers");
        create_tables(servers.dynamodb_endpoint());
        let fixture = Self { servers, dir };
        fixture.objects(&data.join("s3/my-bucket"));
        fixture.files();
        fixture
    }

    /// The folder that commands run in.
    pub(super) fn folder(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn objects(&self, bucket: &Path) {
        let put = |key: &str, bytes: &[u8]| {
            let path = bucket.join(key);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, bytes).expect("an object");
        };
        put("nsrl/sha256.txt", list(0..3000).as_bytes());
        put("nsrl/2026.06.txt.zst", &zstd(&sorted(0..3000)));
        put("nsrl/2026.09.txt.zst", &zstd(&sorted(40..3040)));
        put("nsrl/NSRLFile.txt", nsrl_file().as_bytes());
        let database = rds::minimal("2026.09.1", 1..=2000);
        put(
            "nsrl/RDS_modern_minimal.zip",
            &rds::zip("RDS_modern_minimal.db", &database),
        );
        put("feeds/a.txt", list(10_000..10_500).as_bytes());
        put(
            "feeds/b.txt.gz",
            &rds::gzip(list(10_500..11_000).as_bytes()),
        );
        put("feeds/old/c.txt", list(11_000..11_100).as_bytes());
    }

    fn files(&self) {
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(self.folder().join(name), bytes).expect("a file");
        };
        let hashes = list(0..6) + &list(90_000..90_003) + "not a hash\n";
        put("hashes.txt", hashes.as_bytes());
        put("list.txt", list(20_000..21_000).as_bytes());
        put("list.txt.gz", &rds::gzip(list(20_000..21_000).as_bytes()));
        put("list.csv", table(20_000..21_000).as_bytes());
        let rejects = list(30_000..30_100) + "c0ffee\nnot a hash\n";
        put("rejects.txt", rejects.as_bytes());
        put("paths.txt", paths().as_bytes());
        put("questions.txt", list(20_000..20_005).as_bytes());
        std::fs::create_dir(self.folder().join("build")).expect("a folder");
        for n in 0..20 {
            put(&format!("build/file-{n}.bin"), format!("{n}\n").as_bytes());
        }
    }
}

fn hash(n: u32) -> String {
    let mixed = n.wrapping_add(1).wrapping_mul(0x9E37_79B1);
    format!("{mixed:08X}{n:056X}")
}

fn list(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| hash(n) + "\n").collect()
}

fn sorted(numbers: std::ops::Range<u32>) -> String {
    let mut hashes: Vec<String> = numbers.map(|n| hash(n) + "\n").collect();
    hashes.sort_unstable();
    hashes.concat()
}

fn table(numbers: std::ops::Range<u32>) -> String {
    let mut text = String::from("sha256,name,size\n");
    for n in numbers {
        writeln!(text, "{},file-{n}.dll,{}", hash(n), n * 10).expect("a row");
    }
    text
}

/// A list of the RDS 2.x.
fn nsrl_file() -> String {
    let mut text = String::from(
        "\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\
         \"SpecialCode\"\r\n",
    );
    for n in 0..500 {
        let hash = hash(n);
        let (sha1, md5) = (&hash[..40], &hash[8..40]);
        let sha1 = format!("{}{}", &sha1[..8], &hash[32..]);
        write!(
            text,
            "\"{sha1}\",\"{md5}\",\"00000000\",\"file-{n}.dll\",{n},1,\"358\",\"\"\r\n"
        )
        .expect("a row");
    }
    text
}

fn paths() -> String {
    (0..50)
        .map(|n| format!("/home/alice/.cache/app/file-{n}.tmp\n"))
        .collect()
}

fn zstd(text: &str) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

fn create_tables(endpoint: &str) {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(
            ACCESS_KEY_ID,
            SECRET_ACCESS_KEY,
            None,
            None,
            "tests",
        ))
        .endpoint_url(endpoint)
        .build();
    let client = Client::from_conf(config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for (name, key, provisioned) in [
            ("sha256", "sha256", true),
            ("sha1", "sha1", true),
            ("md5", "md5", true),
            ("gold-paths", "sha256", true),
            ("on-demand", "sha256", false),
        ] {
            create_table(&client, name, key, provisioned).await;
        }
    });
}

async fn create_table(client: &Client, name: &str, key: &str, provisioned: bool) {
    let attribute = AttributeDefinition::builder()
        .attribute_name(key)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("an attribute");
    let schema = KeySchemaElement::builder()
        .attribute_name(key)
        .key_type(KeyType::Hash)
        .build()
        .expect("a key");
    let throughput = ProvisionedThroughput::builder()
        .read_capacity_units(UNITS)
        .write_capacity_units(UNITS)
        .build()
        .expect("a throughput");
    let table = client
        .create_table()
        .table_name(name)
        .attribute_definitions(attribute)
        .key_schema(schema);
    let table = match provisioned {
        true => table.provisioned_throughput(throughput),
        false => table.billing_mode(BillingMode::PayPerRequest),
    };
    table.send().await.expect("a table");
}
