//! The `hashferry demo` command: a guided tour with real data, without an AWS account.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::cli::context::Context;
use crate::cli::{embedded_servers, ingest, lookup, verify};
use crate::commands::ingest::options::Ingest;
use crate::commands::lookup::options::Lookup;
use crate::commands::verify::options::Verify;
use crate::dynamodb::attribute::Value;
use crate::dynamodb::table::Billing;
use crate::dynamodb::{create_table, describe_table};
use crate::pipeline::report::Outcome;
use aws_sdk_s3::primitives::ByteStream;
use clap::Args;
use std::path::PathBuf;

/// SHA-256 hashes of the packages in Debian's main archive: one a line, upper case, CRLF.
static LIST: &[u8] = include_bytes!("../../tests/data/debian-packages.sha256.txt.zst");

/// Object key of the list.
const KEY: &str = "debian-packages.sha256.txt";
const BUCKET: &str = "demo";
const TABLE: &str = "sha256";

/// File name of the list to look up, in the directory of the tour.
const LOOKUP_LIST: &str = "look-up.txt";

/// Provisioned write capacity of the table, in WCU/s. The list takes about 13 seconds, long
/// enough to see the rate hold.
const WRITE_UNITS: u64 = 5000;

/// SHA-256 of an empty file, which is not in the list of packages.
const EMPTY_FILE: &[u8] = b"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";

const ATTRIBUTES: [(&str, &str); 3] = [
    ("type", "known"),
    ("source", "Debian"),
    ("desc", "packages of the main archive"),
];

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hashferry demo\n  hashferry demo --dir /tmp/tour")]
pub(super) struct DemoArgs {
    /// Directory for the data of the tour
    #[arg(long, value_name = "DIR", default_value = "hashferry-demo")]
    dir: PathBuf,
}

/// Runs the tour and returns 0, or the exit status of the step that failed.
pub(super) async fn run(context: &Context, args: &DemoArgs) -> Result<u8> {
    let list = zstd::decode_all(LIST).map_err(|e| {
        Error::new(ErrorKind::Internal, "the list in this binary is damaged").with_source(e)
    })?;
    let dir = args.dir.display();

    println!(
        "1. Upload: {KEY}, {} bytes, to the embedded S3 in {dir}",
        list.len()
    );
    let servers = embedded_servers::start(&args.dir, 0, 0)?;
    let options = AwsOptions {
        local: Some(embedded_servers::endpoints(&servers)),
        ..AwsOptions::default()
    };
    let aws = Aws::load(&options).await?;
    put(&aws, list.clone()).await?;

    for step in [Step::Ingest, Step::Verify, Step::Lookup] {
        let (outcome, exit) = Box::pin(step.run_step(context, args, &aws, &list)).await?;
        if outcome != Outcome::Complete {
            servers.stop();
            return Ok(exit);
        }
    }

    let me = std::env::args()
        .next()
        .unwrap_or_else(|| "hashferry".into());
    println!(
        "\nThe list is stored in {dir}/s3/{BUCKET}/{KEY}, the table in {dir}/dynamodb.db.\nNext steps:\n  \
         {me} ingest YOUR-LIST --table {TABLE} --local {dir}\n  \
         {me} lookup YOUR-HASHES --table {TABLE} --local {dir}\n  \
         {me} local --dir {dir}     (then use any AWS client)\n  \
         {me} ingest s3://BUCKET/KEY --table NAME     (on AWS)"
    );
    servers.stop();
    Ok(0)
}

/// A step of the tour after the upload.
enum Step {
    Ingest,
    Verify,
    Lookup,
}

impl Step {
    /// Runs the step and shows its report.
    async fn run_step(
        self,
        context: &Context,
        args: &DemoArgs,
        aws: &Aws,
        list: &[u8],
    ) -> Result<(Outcome, u8)> {
        match self {
            Step::Ingest => ingest_list(context, aws).await,
            Step::Verify => verify_list(context, aws).await,
            Step::Lookup => look_up_two(context, args, aws, list).await,
        }
    }
}

async fn ingest_list(context: &Context, aws: &Aws) -> Result<(Outcome, u8)> {
    println!("2. Ingest: to table {TABLE}, provisioned with {WRITE_UNITS} WCU/s\n");
    if !describe_table::table_exists(aws, TABLE).await? {
        let billing = Billing::Provisioned {
            write_units: WRITE_UNITS,
        };
        create_table::create_table(aws, TABLE, Algorithm::Sha256, billing).await?;
    }
    let mut ingest = Ingest::builder()
        .aws(aws.clone())
        .source(format!("s3://{BUCKET}/{KEY}"))
        .table(TABLE)
        .stop(context.stop.clone());
    for (name, text) in ATTRIBUTES {
        ingest = ingest.attribute(name, Value::S(text.into()));
    }
    let report = ingest::run_with_progress(context, ingest.build().await?).await?;
    println!("\n{}", report.summary());
    Ok((report.outcome, report.exit))
}

async fn verify_list(context: &Context, aws: &Aws) -> Result<(Outcome, u8)> {
    println!("3. Verify: read the list again and compare the item of every hash\n");
    let mut verify = Verify::builder()
        .aws(aws.clone())
        .source(format!("s3://{BUCKET}/{KEY}"))
        .table(TABLE)
        .stop(context.stop.clone());
    for (name, text) in ATTRIBUTES {
        verify = verify.attribute(name, Value::S(text.into()));
    }
    let report = verify::run_with_progress(context, verify.build().await?, |_| Ok(())).await?;
    println!("\n{}", report.summary());
    Ok((report.outcome, report.exit))
}

/// Looks up the first hash of the list, and the hash of an empty file.
async fn look_up_two(
    context: &Context,
    args: &DemoArgs,
    aws: &Aws,
    list: &[u8],
) -> Result<(Outcome, u8)> {
    println!("4. Look up: a hash that is in the list, and one that is not (an empty file)\n");
    let first = list.split(|b| *b == b'\n').next().unwrap_or_default();
    let questions = [first.trim_ascii(), EMPTY_FILE].join(&b'\n');
    let questions_path = args.dir.join(LOOKUP_LIST);
    std::fs::write(&questions_path, questions).map_err(|e| {
        let what = format!("cannot write {}", questions_path.display());
        Error::new(ErrorKind::Output, what).with_source(e)
    })?;
    let lookup = Lookup::builder()
        .aws(aws.clone())
        .input(questions_path.display().to_string())
        .table(TABLE)
        .stop(context.stop.clone());
    let report = lookup::run_with_progress(context, lookup.build().await?).await?;
    println!("\n{}", report.summary());
    Ok((report.outcome, report.exit))
}

async fn put(aws: &Aws, list: Vec<u8>) -> Result<()> {
    let failed = |what: &'static str, e: crate::aws::error::CallError| {
        Error::new(ErrorKind::Output, what).with_source(e)
    };
    if aws.s3().head_bucket().bucket(BUCKET).send().await.is_err() {
        let made = aws.s3().create_bucket().bucket(BUCKET).send().await;
        made.map_err(|e| {
            failed(
                "cannot create the bucket",
                crate::aws::error::CallError::from_sdk(e),
            )
        })?;
    }
    let put = aws
        .s3()
        .put_object()
        .bucket(BUCKET)
        .key(KEY)
        .body(ByteStream::from(list))
        .send()
        .await;
    put.map(|_| ()).map_err(|e| {
        failed(
            "cannot upload the list",
            crate::aws::error::CallError::from_sdk(e),
        )
    })
}
