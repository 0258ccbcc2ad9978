//! `hashferry serve`: the look-up API over HTTP.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::human::duration;
use crate::cli::context::Context;
use crate::cli::flags::item::CaseArg;
use crate::cli::flags::paths::RulesArgs;
use crate::commands::serve::access::Gate;
use crate::commands::serve::app::App;
use crate::commands::serve::options::{CACHE_ENTRIES, Options};
use crate::commands::serve::{api_keys, listen};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Routes: GET / (a page for people), GET /sha256/HASH (by the table's algorithm), GET /path?p=PATH, \
                  POST /lookup, GET /healthz, GET /metrics, GET /openapi.json; for clients of CIRCL hashlookup: \
                  GET /info, GET /lookup/sha256/HASH, POST /bulk/sha256.\n\n\
                  Without API keys only loopback addresses are served. A key is made by --new-key and shown once; \
                  the file has only its SHA-256, and is read again when it changes. There is no TLS: a server that \
                  others use belongs behind something that has.\n\n\
                  Exit status: 0 stopped by a signal (what is under way is finished, for up to 10 s) · 1 and 2 as ever\n\
                  Permissions: scripts/iam/serve.json\n\n\
                  Examples:\n  \
    hashferry serve --table sha256\n  \
    hashferry serve --new-key alice --api-keys keys.txt\n  \
    hashferry serve --table sha256 --listen 0.0.0.0:8080 --api-keys keys.txt --rate-limit 100\n  \
    curl -H \"x-api-key: $KEY\" http://127.0.0.1:8080/sha256/$HASH"
)]
pub(super) struct ServeArgs {
    /// The table to look into
    #[arg(long, value_name = "NAME", required_unless_present = "new_key")]
    table: Option<String>,
    /// Where to listen: an address and a port, 0 for any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// The file of API keys; without it whoever is on this machine may ask
    #[arg(long, value_name = "FILE", help_heading = "API keys")]
    api_keys: Option<PathBuf>,
    /// Make an API key of this name, append it to the file, print it, and end
    #[arg(
        long,
        value_name = "NAME",
        requires = "api_keys",
        conflicts_with = "table",
        help_heading = "API keys"
    )]
    new_key: Option<String>,
    /// Hashes and paths a second that each key may ask for [default: no limit]
    #[arg(long, value_name = "N", value_parser = per_second, help_heading = "API keys")]
    rate_limit: Option<f64>,
    /// Hash algorithm [default: by the name of the table's partition key, else by the length
    /// of its keys]
    #[arg(long, value_name = "NAME")]
    hash: Option<Algorithm>,
    /// The table's partition key, where it may not be described (dynamodb:DescribeTable) or its
    /// name is not that of --hash [default: named as the hash, type S]
    #[arg(long, value_name = "NAME[:S|B]", help_heading = "Item")]
    key: Option<KeyAttribute>,
    /// Case of the hash as text in the table [default: as a look at its items shows, else
    /// upper]
    #[arg(long, value_enum, value_name = "CASE", help_heading = "Item")]
    case: Option<CaseArg>,
    /// The value of the sort key, where the table has one: NAME=TEXT, or NAME:TYPE=VALUE
    #[arg(long = "attr", value_name = "NAME=VALUE", help_heading = "Item")]
    attributes: Vec<Attribute>,
    #[command(flatten)]
    rules: RulesArgs,
    /// Read capacity units a second: auto (the table's capacity), a number, a share of the
    /// table's (80%), or max (no limit)
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    rate: Rate,
    /// BatchGetItem calls in flight at most: auto (as the rate and the latency need) or a number
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    concurrency: Concurrency,
    /// Read strongly consistently, for twice the units; answers are remembered all the same
    #[arg(long, help_heading = "Speed")]
    consistent: bool,
    /// How long what the table said is remembered, be it that a hash is unknown; 0 for not at all
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time_or_none, help_heading = "Speed")]
    cache_ttl: Duration,
    /// How many answers are remembered; an item of more than 1 KiB counts as several
    #[arg(long, value_name = "N", default_value_t = CACHE_ENTRIES, help_heading = "Speed")]
    cache_size: u64,
    /// How long a request may take, its body not counted, before what was not found out by then is an error
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Speed")]
    request_timeout: Duration,
    /// Connections at once; what comes beyond them waits
    #[arg(
        long,
        value_name = "N",
        default_value_t = listen::MAX_CONNECTIONS as u32,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Speed"
    )]
    max_connections: u32,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port: &str| {
        let port = port.parse().ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let named = text.strip_prefix("localhost:").and_then(local);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("expected an address and a port such as 127.0.0.1:8080 or [::1]:8080, got {text:?}")
    })
}

fn per_second(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|n: &f64| (0.001..=1e9).contains(n));
    number.ok_or_else(|| format!("expected a number above 0, got {text:?}"))
}

fn time_or_none(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

/// Runs the command; its exit status.
pub(super) async fn run(context: &Context, args: ServeArgs) -> Result<u8> {
    if let (Some(name), Some(path)) = (&args.new_key, &args.api_keys) {
        let key = api_keys::new_key(name, path)?;
        println!("{key}");
        context.say(&format!(
            "This key of {name} is shown once: {} has only its SHA-256.",
            path.display()
        ));
        return Ok(0);
    }
    let Some(table) = args.table else {
        return Err(Error::usage("no table is named").hint("give --table NAME"));
    };
    // A name that cannot be a user's is an error before anything is asked.
    args.rules.normalizer()?;
    let gate = match &args.api_keys {
        Some(path) => Gate::of_file(path, args.rate_limit)?,
        None if args.listen.ip().is_loopback() => Gate::open(args.rate_limit),
        None => {
            let what = format!(
                "{} can be reached from elsewhere, and there are no API keys",
                args.listen
            );
            return Err(Error::usage(what).hint(
                "make a key (hashferry serve --new-key NAME --api-keys FILE) and give --api-keys FILE, or \
                 listen at a loopback address: --listen 127.0.0.1:8080",
            ));
        }
    };
    // Whoever cannot be served must be known before AWS is asked.
    let listener = listen::bind(args.listen).await?;
    let connection = context.connect().await?;
    let started = async {
        let options = Options {
            algorithm: args.hash,
            key: args.key,
            case: args.case.map(CaseArg::case),
            sort: args.attributes,
            rules: args.rules.given_rules(),
            rate: args.rate,
            concurrency: args.concurrency,
            consistent: args.consistent,
            cache_ttl: args.cache_ttl,
            cache_entries: args.cache_size,
            request_limit: args.request_timeout,
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
                context.say(&announcement(&app, &table, at));
                let most = listen::connections(args.max_connections as usize);
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
        Some(units) => format!("{} read units/s", crate::base::human::thousands(units)),
        None => "no limit of read units".to_owned(),
    };
    let who = match app.wants_keys() {
        true => "whoever has an API key",
        false => "this machine only",
    };
    format!(
        "listening on http://{at} for {who}: table {table} ({}), {rate}; Ctrl-C ends it",
        app.algorithm()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        assert_eq!(
            address("localhost:80").map(|a| a.to_string()),
            Ok("127.0.0.1:80".to_owned())
        );
        assert!(address("[::1]:0").is_ok());
        for bad in [
            "",
            "localhost",
            "8080",
            ":8080",
            "example.org:80",
            "127.0.0.1:99999",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert_eq!(per_second("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "NaN", "x"] {
            assert!(per_second(bad).is_err(), "{bad}");
        }
        assert_eq!(time_or_none("0"), Ok(Duration::ZERO));
        assert_eq!(time_or_none("2m"), Ok(Duration::from_secs(120)));
    }
}
