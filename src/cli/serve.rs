//! The `hashferry serve` command: serves the look-up API over HTTP.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::human::parse_duration;
use crate::cli::context::Context;
use crate::cli::flags::item::CaseArg;
use crate::cli::flags::paths::RulesArgs;
use crate::commands::serve::access::AccessControl;
use crate::commands::serve::app::App;
use crate::commands::serve::options::{CACHE_ENTRIES, Options};
use crate::commands::serve::{api_keys, listen};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Routes: GET / (a web page), GET /sha256/HASH (or the table's algorithm), GET /path?p=PATH, \
                  POST /lookup, GET /healthz, GET /metrics, GET /openapi.json; for clients of CIRCL hashlookup: \
                  GET /info, GET /lookup/sha256/HASH, POST /bulk/sha256.\n\n\
                  Without API keys, only loopback addresses are served. --new-key creates a key and prints it once; \
                  the file stores only its SHA-256, and is reloaded when it changes. There is no TLS: put a proxy \
                  with TLS in front of a server that other machines use.\n\n\
                  Exit status: 0 stopped by a signal (requests in flight finish, for up to 10 s) · 1 and 2 as for every \
                  command\n\
                  Permissions: scripts/iam/serve.json\n\n\
                  Examples:\n  \
    hashferry serve --table sha256\n  \
    hashferry serve --new-key alice --api-keys keys.txt\n  \
    hashferry serve --table sha256 --listen 0.0.0.0:8080 --api-keys keys.txt --rate-limit 100\n  \
    curl -H \"x-api-key: $KEY\" http://127.0.0.1:8080/sha256/$HASH"
)]
pub(super) struct ServeArgs {
    /// Table to look up in
    #[arg(long, value_name = "NAME", required_unless_present = "new_key")]
    table: Option<String>,
    /// Address and port to listen on; port 0 is any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = parse_address)]
    listen: SocketAddr,
    /// File of API keys; without it, every user of this machine has access
    #[arg(long, value_name = "FILE", help_heading = "API keys")]
    api_keys: Option<PathBuf>,
    /// Create an API key with this name, append it to the file, print it, and exit
    #[arg(
        long,
        value_name = "NAME",
        requires = "api_keys",
        conflicts_with = "table",
        help_heading = "API keys"
    )]
    new_key: Option<String>,
    /// Maximum number of hashes and paths a second for each key [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_per_second, help_heading = "API keys")]
    rate_limit: Option<f64>,
    /// Hash algorithm [default: from the name of the table's partition key, else from the length
    /// of its keys]
    #[arg(long, value_name = "NAME")]
    hash: Option<Algorithm>,
    /// Partition key of the table, needed if dynamodb:DescribeTable is denied or the key is not
    /// named like the algorithm [default: named like the algorithm, type S]
    #[arg(long, value_name = "NAME[:S|B]", help_heading = "Item")]
    key: Option<KeyAttribute>,
    /// Case of hashes as text in the table [default: detected from its items, else upper]
    #[arg(long, value_enum, value_name = "CASE", help_heading = "Item")]
    case: Option<CaseArg>,
    /// Sort key of the items, if the table has one: NAME=TEXT, or NAME:TYPE=VALUE
    #[arg(long = "attr", value_name = "NAME=VALUE", help_heading = "Item")]
    attributes: Vec<Attribute>,
    #[command(flatten)]
    rules: RulesArgs,
    /// Target rate in RCU/s: auto (the table's capacity), a number, a percentage of the table's
    /// capacity (80%), or max (no limit)
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    rate: RateSetting,
    /// Maximum number of BatchGetItem calls in flight: auto (from rate and latency) or a number
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    concurrency: Concurrency,
    /// Use strongly consistent reads, which cost twice the RCU; answers are still cached
    #[arg(long, help_heading = "Speed")]
    consistent: bool,
    /// Time that answers are cached, unknown ones included; 0 turns the cache off
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time_or_zero, help_heading = "Speed")]
    cache_ttl: Duration,
    /// Maximum number of cached answers; an item larger than 1 KiB counts as several
    #[arg(long, value_name = "N", default_value_t = CACHE_ENTRIES, help_heading = "Speed")]
    cache_size: u64,
    /// Timeout of a request, without reading its body; hashes not yet looked up are then errors
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, help_heading = "Speed")]
    request_timeout: Duration,
    /// Maximum number of open connections; further ones wait
    #[arg(
        long,
        value_name = "N",
        default_value_t = listen::MAX_CONNECTIONS as u32,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Speed"
    )]
    max_connections: u32,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let local = |port: &str| {
        let port = port.parse().ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let named = text.strip_prefix("localhost:").and_then(local);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("expected an address and a port such as 127.0.0.1:8080 or [::1]:8080, got {text:?}")
    })
}

fn parse_per_second(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|n: &f64| (0.001..=1e9).contains(n));
    number.ok_or_else(|| format!("expected a number above 0, got {text:?}"))
}

fn parse_time_or_zero(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => parse_duration(text),
    }
}

/// Runs the command and returns its exit status.
pub(super) async fn run(context: &Context, args: ServeArgs) -> Result<u8> {
    if let (Some(name), Some(path)) = (&args.new_key, &args.api_keys) {
        let key = api_keys::new_key(name, path)?;
        println!("{key}");
        context.print(&format!(
            "The key of {name} is shown only once; {} stores its SHA-256.",
            path.display()
        ));
        return Ok(0);
    }
    let Some(table) = args.table else {
        return Err(Error::usage("no table given").with_hint("give --table NAME"));
    };
    // Invalid user names must fail before the first call to AWS.
    args.rules.normalizer()?;
    let gate = match &args.api_keys {
        Some(path) => AccessControl::from_file(path, args.rate_limit)?,
        None if args.listen.ip().is_loopback() => AccessControl::without_keys(args.rate_limit),
        None => {
            let what = format!(
                "other machines can reach {}, but there are no API keys",
                args.listen
            );
            return Err(Error::usage(what).with_hint(
                "create a key (hashferry serve --new-key NAME --api-keys FILE) and give --api-keys FILE, or \
                 listen on a loopback address: --listen 127.0.0.1:8080",
            ));
        }
    };
    // An address in use must fail before the first call to AWS.
    let listener = listen::bind(args.listen).await?;
    let connection = context.connect().await?;
    let started = async {
        let options = Options {
            algorithm: args.hash,
            key: args.key,
            case: args.case.map(CaseArg::case),
            sort_key: args.attributes,
            rules: args.rules.given_rules(),
            rate: args.rate,
            concurrency: args.concurrency,
            consistent: args.consistent,
            cache_ttl: args.cache_ttl,
            cache_entries: args.cache_size,
            request_timeout: args.request_timeout,
            ..Options::new(&table)
        };
        App::start(&connection.aws, options, gate).await
    };
    let ended = tokio::select! {
        biased;
        () = context.stop.requested() => Ok(()),
        started = started => match started {
            Ok(app) => {
                let at = listener.local_addr().unwrap_or(args.listen);
                context.print(&announcement(&app, &table, at));
                let most = listen::connection_limit(args.max_connections as usize);
                let ended = listen::serve(&app, listener, most, &context.stop).await;
                drop(app);
                ended
            }
            Err(e) => Err(e),
        },
    };
    connection.close();
    ended.map(|()| 0)
}

fn announcement(app: &App, table: &str, at: SocketAddr) -> String {
    let rate = match app.rate() {
        Some(units) => format!("{} RCU/s", crate::base::human::format_number(units)),
        None => "no RCU limit".to_owned(),
    };
    let who = match app.requires_keys() {
        true => "clients with an API key",
        false => "this machine only",
    };
    format!(
        "listening on http://{at} for {who}: table {table} ({}), {rate}; press Ctrl-C to stop",
        app.algorithm()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_values_are_parsed() {
        assert_eq!(
            parse_address("localhost:80").map(|a| a.to_string()),
            Ok("127.0.0.1:80".to_owned())
        );
        assert!(parse_address("[::1]:0").is_ok());
        for bad in [
            "",
            "localhost",
            "8080",
            ":8080",
            "example.org:80",
            "127.0.0.1:99999",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_per_second("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "NaN", "x"] {
            assert!(parse_per_second(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_time_or_zero("0"), Ok(Duration::ZERO));
        assert_eq!(parse_time_or_zero("2m"), Ok(Duration::from_secs(120)));
    }
}
