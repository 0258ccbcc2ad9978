//! `hashferry serve` as an AWS Lambda function, behind an HTTP API of API Gateway or a
//! function URL: the same routes, without a socket.
//!
//! Environment variables replace the flags:
//!
//! | | |
//! |---|---|
//! | `HASHFERRY_TABLE` | the table's name |
//! | `HASHFERRY_API_KEYS` | the lines of the file of API keys, separated by `;` or line ends |
//! | `HASHFERRY_RATE_LIMIT` | hashes and paths a second of each key, in each instance |
//! | `HASHFERRY_CASE`, `HASHFERRY_KEY`, `HASHFERRY_ATTR` | as `--case`, `--key` and one `--attr`: the table's keys |
//! | `HASHFERRY_HASH`, `HASHFERRY_RULES`, `HASHFERRY_UNIX_USER`, `HASHFERRY_WINDOWS_USER`, `HASHFERRY_RATE` | as the flags of these names |
//!
//! An API key is required, since otherwise anyone with the function's URL has access. Each
//! instance has a separate cache and a separate read rate.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::hash::Case;
use crate::commands::lambda::runtime;
use crate::commands::serve::access::AccessControl;
use crate::commands::serve::api_keys::Keys;
use crate::commands::serve::app::App;
use crate::commands::serve::options::Options;
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Rules;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// Timeout of a request. API Gateway waits for 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Reads the configuration from environment variables.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the table or the key is
/// missing, or a value is invalid. The message shows no value that can be a key.
pub(crate) fn configuration(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Options, AccessControl)> {
    let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let table = given("HASHFERRY_TABLE").ok_or_else(|| {
        Error::usage("HASHFERRY_TABLE is not set").with_hint("set it to the name of the table")
    })?;
    let keys = given("HASHFERRY_API_KEYS").ok_or_else(|| {
        Error::usage("HASHFERRY_API_KEYS is not set").with_hint(
            "create a key with hashferry serve --new-key NAME --api-keys FILE, and set the variable to the lines of that file",
        )
    })?;
    let keys = Keys::parse(&keys.replace(';', "\n"))
        .map_err(|why| Error::usage("HASHFERRY_API_KEYS is invalid").with_source(why))?;
    if keys.is_empty() {
        return Err(Error::usage("HASHFERRY_API_KEYS has no API key in it"));
    }
    let rules = GivenRules {
        rules: parsed::<Rules>("HASHFERRY_RULES", given("HASHFERRY_RULES"))?,
        unix_user: given("HASHFERRY_UNIX_USER"),
        windows_user: given("HASHFERRY_WINDOWS_USER"),
    };
    // Invalid user names must fail at the start.
    rules.normalizer()?;
    let limit = parsed::<f64>("HASHFERRY_RATE_LIMIT", given("HASHFERRY_RATE_LIMIT"))?;
    if limit.is_some_and(|n| !(0.001..=1e9).contains(&n)) {
        return Err(Error::usage("HASHFERRY_RATE_LIMIT is not a number above 0"));
    }
    let mut options = Options::new(table.trim());
    options.algorithm = parsed("HASHFERRY_HASH", given("HASHFERRY_HASH"))?;
    options.rate = parsed("HASHFERRY_RATE", given("HASHFERRY_RATE"))?.unwrap_or(options.rate);
    options.case = match given("HASHFERRY_CASE").as_deref().map(str::trim) {
        None => None,
        Some("upper") => Some(Case::Upper),
        Some("lower") => Some(Case::Lower),
        Some(_) => return Err(Error::usage("HASHFERRY_CASE is neither upper nor lower")),
    };
    options.key = parsed("HASHFERRY_KEY", given("HASHFERRY_KEY"))?;
    options.sort_key = Vec::from_iter(parsed("HASHFERRY_ATTR", given("HASHFERRY_ATTR"))?);
    options.rules = rules;
    options.request_timeout = REQUEST_TIMEOUT;
    Ok((options, AccessControl::from_keys(keys, limit)))
}

fn parsed<T: FromStr>(name: &str, value: Option<String>) -> Result<Option<T>>
where
    T::Err: std::fmt::Display,
{
    let parse = |text: String| {
        text.trim().parse().map_err(|e: T::Err| {
            Error::usage(format!("{name} is invalid")).with_source(e.to_string())
        })
    };
    value.map(parse).transpose()
}

/// Handles requests until Lambda ends this process. Returns only on failure.
pub fn main() -> ExitCode {
    runtime::run("hashferry serve --table NAME", serve())
}

async fn serve() -> Result<()> {
    let (options, gate) = configuration(|name| std::env::var(name).ok())?;
    let aws = Aws::load(&AwsOptions {
        policy: Some("scripts/iam/serve.json"),
        ..AwsOptions::default()
    })
    .await?;
    let app = App::start(&aws, options, gate).await?;
    let ended = lambda_http::run(app.router()).await;
    ended.map_err(runtime::runtime_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "alice sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(variables: &[(&str, &str)]) -> Result<(Options, AccessControl)> {
        configuration(|name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_set_the_same_options_as_flags() {
        let bob = KEY.replace("alice", "bob");
        let keys = format!("{KEY};{bob}");
        let all = [
            ("HASHFERRY_TABLE", "t"),
            ("HASHFERRY_API_KEYS", keys.as_str()),
            ("HASHFERRY_RULES", "v3"),
            ("HASHFERRY_WINDOWS_USER", "Admin"),
            ("HASHFERRY_HASH", "md5"),
            ("HASHFERRY_RATE", "80%"),
            ("HASHFERRY_UNIX_USER", ""),
            ("HASHFERRY_CASE", "lower"),
            ("HASHFERRY_KEY", "digest:B"),
            ("HASHFERRY_ATTR", "type=linux"),
        ];
        let (options, gate) = read(&all).expect("options");
        assert_eq!(options.table, "t");
        assert_eq!(options.algorithm, Some(crate::base::hash::Algorithm::Md5));
        assert_eq!(options.case, Some(Case::Lower));
        let key = options.key.expect("a key");
        assert_eq!(
            (key.name.as_str(), key.kind),
            ("digest", crate::dynamodb::key_schema::KeyType::B)
        );
        assert_eq!(options.sort_key, ["type=linux".parse().expect("one")]);
        assert_eq!(
            options.rate,
            crate::flow::rate_setting::RateSetting::Percent(80.0)
        );
        let normalizer = options.rules.normalizer().expect("users");
        assert_eq!(normalizer.users().unix, "user");
        assert_eq!(normalizer.users().windows, "Admin");
        assert_eq!(gate.authenticate(Some(b"test")).as_deref(), Ok("bob"));
        assert!(gate.authenticate(None).is_err());
    }

    #[test]
    fn errors_name_the_variable_and_show_no_key() {
        for (variables, why) in [
            (vec![], "HASHFERRY_TABLE"),
            (vec![("HASHFERRY_TABLE", "t")], "HASHFERRY_API_KEYS"),
            (
                vec![("HASHFERRY_TABLE", "t"), ("HASHFERRY_API_KEYS", " ")],
                "HASHFERRY_API_KEYS",
            ),
            (
                vec![("HASHFERRY_TABLE", "t"), ("HASHFERRY_API_KEYS", "# none")],
                "no API key",
            ),
            (
                vec![
                    ("HASHFERRY_TABLE", "t"),
                    ("HASHFERRY_API_KEYS", "a hf_5ecret"),
                ],
                "line 1",
            ),
            (
                vec![
                    ("HASHFERRY_TABLE", "t"),
                    ("HASHFERRY_API_KEYS", KEY),
                    ("HASHFERRY_RULES", "v4"),
                ],
                "HASHFERRY_RULES",
            ),
            (
                vec![
                    ("HASHFERRY_TABLE", "t"),
                    ("HASHFERRY_API_KEYS", KEY),
                    ("HASHFERRY_RATE_LIMIT", "-1"),
                ],
                "HASHFERRY_RATE_LIMIT",
            ),
            (
                vec![
                    ("HASHFERRY_TABLE", "t"),
                    ("HASHFERRY_API_KEYS", KEY),
                    ("HASHFERRY_CASE", "mixed"),
                ],
                "HASHFERRY_CASE",
            ),
        ] {
            let error = read(&variables).expect_err(why);
            assert!(format!("{error:#}").contains(why), "{error}");
            assert!(!format!("{error:#}").contains("5ecret"), "{error}");
            assert_eq!(error.exit_status(), 2);
        }
    }
}
