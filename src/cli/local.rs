//! The `hashferry local` command: serves the embedded S3 and DynamoDB.

use crate::base::error::Result;
use crate::cli::context::Context;
use crate::cli::embedded_servers::start;
use crate::local::access::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Only programs on this machine are served: requests from web pages, and to other host names, are \
    denied.\n\n\
    Examples:\n  \
    hashferry local --dir ./hashes\n  \
    hashferry local --dir ./hashes --s3-port 9000 --dynamodb-port 8000"
)]
pub(super) struct LocalArgs {
    /// Directory of the data: buckets are directories in DIR/s3, tables are in DIR/dynamodb.db
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Port of S3 on 127.0.0.1; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    s3_port: u16,
    /// Port of DynamoDB on 127.0.0.1; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    dynamodb_port: u16,
}

/// Serves until a signal arrives.
pub(super) async fn run(context: &Context, args: &LocalArgs) -> Result<u8> {
    let servers = start(&args.dir, args.s3_port, args.dynamodb_port)?;
    // Shell syntax, so that it can be pasted where the client runs.
    println!("export AWS_ENDPOINT_URL_S3={}", servers.s3_endpoint());
    println!(
        "export AWS_ENDPOINT_URL_DYNAMODB={}",
        servers.dynamodb_endpoint()
    );
    // Clients differ in the variable that they read the region from.
    println!("export AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}");
    println!("export AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}");
    context.print(&format!(
        "Serving {} on this machine only; set these variables for any AWS client. Press Ctrl-C to stop.",
        args.dir.display()
    ));
    context.stop.requested().await;
    servers.stop();
    Ok(0)
}
