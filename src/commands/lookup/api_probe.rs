//! Probe of an API: two calls before the first query, which test if the URL is that of a
//! look-up of hashes.
//!
//! Any web server answers 404, a gateway does so in JSON, and a login page has status 200.
//! None of these is about a hash. So the probe requests a [word](PROBE_WORD) that is not a
//! hash, and a random hash that no API can know. The response to the hash must clearly mean
//! unknown. The response to the word must differ, unless that to the hash has the `status` of
//! hashferry's API. A server that gives the same response to everything does not look up
//! hashes. If the caller gives a hash that the API must know, that one decides instead.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Hash, MAX_HASH_BYTES};
use crate::commands::lookup::api_backend::{ApiBackend, ApiResponse};
use crate::commands::lookup::api_response::ParsedResponse;
use crate::commands::lookup::backend::BackendErrorClass;
use crate::flow::backoff::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// The probe's word that is not a hash.
const PROBE_WORD: &str = "hashferry-probe";

const HINT: &str = "check the URL (the hash is appended to it) and the key; if the responses do not name the hash, \
                    give --api-known and --api-unknown";

/// Failure of a probe's call that a retry may fix, and the minimum time until the retry.
struct ProbeFailure {
    throttled: bool,
    message: String,
    retry_after: Option<Duration>,
}

/// Probes `api`. Retries throttled and failed calls like those of the list.
///
/// # Errors
/// [`ErrorKind::Usage`] if the responses are not those of a look-up. [`ErrorKind::Read`] if
/// the API denies access, or has no response after `tries` or within `give_up_after`.
pub(super) async fn run(api: &ApiBackend, tries: u32, give_up_after: Duration) -> Result<()> {
    let patience = give_up_after;
    let mut backoff = Backoff::new(fastrand::Rng::new());
    let started = Instant::now();
    let (mut tried, mut failed) = (0, 0);
    loop {
        let Some(failure) = probe_once(api).await? else {
            return Ok(());
        };
        let ProbeFailure {
            throttled,
            message,
            retry_after,
        } = failure;
        tried += 1;
        failed += u32::from(!throttled);
        let error =
            |problem: String| Error::new(ErrorKind::Read, problem).with_source(message.clone());
        if let Some(wait) = retry_after.filter(|wait| *wait > patience) {
            let problem = format!(
                "{} asks for a retry in {} s; its response",
                api.display_url(),
                wait.as_secs()
            );
            return Err(error(problem)
                .with_hint("run this again then, or give a longer time with --give-up-after"));
        }
        if failed >= tries || started.elapsed() >= patience {
            let problem = format!(
                "nothing could be read from {} (tried {tried} times)",
                api.display_url()
            );
            return Err(error(problem).with_hint(
                "run this again once it responds, or give larger values with --tries and --give-up-after",
            ));
        }
        if tried == 1 {
            tracing::info!(
                "{} does not respond yet: retrying ({message})",
                api.display_url()
            );
        }
        tokio::time::sleep(backoff.wait(tried).max(retry_after.unwrap_or_default())).await;
    }
}

/// Probes once. `None` if the responses are those of a look-up.
async fn probe_once(api: &ApiBackend) -> Result<Option<ProbeFailure>> {
    // This call may fail, because the word is not a hash: the response to the hash counts.
    let word = get(api, PROBE_WORD).await?;
    let random = random_hash(api);
    let response = match get(api, &api.hash_text(&random)).await? {
        Ok(response) => response,
        Err(failure) => return Ok(Some(failure)),
    };
    match api.parse_response(&response, &random) {
        ParsedResponse::Unknown => {}
        ParsedResponse::Known(_) => {
            let problem = "claims to know a random hash, which no API can know";
            return Err(wrong_address_error(
                api,
                problem,
                &response,
                word.as_ref().ok(),
            ));
        }
        ParsedResponse::Error(_) => {
            let problem = "does not respond like a look-up of hashes";
            return Err(wrong_address_error(
                api,
                problem,
                &response,
                word.as_ref().ok(),
            ));
        }
        ParsedResponse::Denied(message) => return Err(api.denied_error(message)),
        ParsedResponse::Retry { throttled, why } => {
            return Ok(Some(ProbeFailure {
                throttled,
                message: why,
                retry_after: response.retry_after,
            }));
        }
    }
    if let Some(hash) = api.check_hash() {
        return probe_known_hash(api, hash).await;
    }
    if api.is_hashferry_unknown(&response, &random) {
        return Ok(None);
    }
    let is_declared = api.is_declared_unknown(&response, &random);
    let word = match word {
        Ok(word) => word,
        Err(failure) => return Ok(is_declared.then_some(failure)),
    };
    let is_same = word.is_equivalent(PROBE_WORD, &response, &api.hash_text(&random));
    match api.parse_response(&word, &random) {
        ParsedResponse::Retry {
            throttled: true,
            why,
        } if is_declared => Ok(Some(ProbeFailure {
            throttled: true,
            message: why,
            retry_after: word.retry_after,
        })),
        ParsedResponse::Unknown if is_declared => Err(same_answer_error(api, &response, &word)),
        _ if is_same => Err(same_answer_error(api, &response, &word)),
        _ => Ok(None),
    }
}

/// The error of an API with the same response to the word and to the random hash.
fn same_answer_error(api: &ApiBackend, random: &ApiResponse, word: &ApiResponse) -> Error {
    let problem = "gives the same response to a word that is not a hash as to a hash: it may give it to everything";
    let hint = "check the URL, and give a hash that it must know with --api-check HASH; or give with \
                --api-unknown a text that only its response to an unknown hash has";
    wrong_address_error(api, problem, random, Some(word)).with_hint(hint)
}

/// Looks up `hash`, which the API must know. `None` if it does.
async fn probe_known_hash(api: &ApiBackend, hash: &Hash) -> Result<Option<ProbeFailure>> {
    let response = match get(api, &api.hash_text(hash)).await? {
        Ok(response) => response,
        Err(failure) => return Ok(Some(failure)),
    };
    match api.parse_response(&response, hash) {
        ParsedResponse::Known(_) => Ok(None),
        ParsedResponse::Unknown | ParsedResponse::Error(_) => {
            let problem = format!(
                "{} does not know the hash of --api-check: {}",
                api.display_url(),
                api.describe_response(&response)
            );
            Err(Error::usage(problem).with_hint(HINT))
        }
        ParsedResponse::Denied(message) => Err(api.denied_error(message)),
        ParsedResponse::Retry { throttled, why } => Ok(Some(ProbeFailure {
            throttled,
            message: why,
            retry_after: response.retry_after,
        })),
    }
}

/// Sends one call. The inner error is a failure that a retry may fix.
///
/// # Errors
/// If a retry cannot succeed.
async fn get(
    api: &ApiBackend,
    text: &str,
) -> Result<std::result::Result<ApiResponse, ProbeFailure>> {
    match api.get(text).await {
        Ok(response) => Ok(Ok(response)),
        Err(e) => match api.classify_failure(e) {
            (BackendErrorClass::Fatal(e), _) => Err(e),
            (_, message) => Ok(Err(ProbeFailure {
                throttled: false,
                message,
                retry_after: None,
            })),
        },
    }
}

/// A random hash, which no API can know.
fn random_hash(api: &ApiBackend) -> Hash {
    let mut bytes = [0; MAX_HASH_BYTES];
    fastrand::fill(&mut bytes);
    // The fallback is unreachable: a hash has 1 to MAX_HASH_BYTES bytes.
    let bytes = bytes.get(..api.algorithm().bytes());
    bytes.and_then(Hash::from_bytes).unwrap_or([0; 32].into())
}

/// The error of a URL that is not that of a look-up: the `problem`, and both responses.
fn wrong_address_error(
    api: &ApiBackend,
    problem: &str,
    random: &ApiResponse,
    word: Option<&ApiResponse>,
) -> Error {
    let random = api.describe_response(random);
    let word = match word.map(|word| api.describe_response(word)) {
        Some(word) if word == random => {
            format!("; to a word that is not a hash ({PROBE_WORD}): the same")
        }
        Some(word) => format!("; to a word that is not a hash ({PROBE_WORD}): {word}"),
        None => String::new(),
    };
    let cause = format!("its response to a random hash: {random}{word}");
    Error::usage(format!("{} {problem}", api.display_url()))
        .with_source(cause)
        .with_hint(HINT)
}
