//! Two questions before the first one of the list, which show whether an address answers as a
//! look-up of hashes does.
//!
//! Any web server answers 404, a gateway answers it in JSON, and a page for logging in is 200:
//! none of that says anything about a hash. So the address is asked for a [word](WORD), which
//! is no hash, and for a random hash, which nothing can know. It must say of the hash,
//! recognisably, that it is unknown. Unless it does so by our own `status`, the word must not
//! be answered in the same way: what is answered to everything is no answer. A hash that the
//! API must know settles it.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Hash, MAX_HASH_BYTES};
use crate::commands::lookup::api_backend::{ApiOracle, Received};
use crate::commands::lookup::api_response::Verdict;
use crate::commands::lookup::backend::Kind;
use crate::commands::lookup::options::GIVE_UP_AFTER;
use crate::flow::backoff::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// The word that is no hash.
const WORD: &str = "hashferry-probe";

const HINT: &str = "check the address (the hash is put behind it) and the key; answers that do not name the hash \
                    are told apart by --api-known and --api-unknown";

/// Why a call has no answer that counts, and how long to wait for one.
struct Trouble {
    throttled: bool,
    why: String,
    wait: Option<Duration>,
}

/// Asks `api` its two questions, and goes on when it answers as a look-up does. A call that
/// is throttled or fails is made again, as a question of the list is.
///
/// # Errors
/// [`ErrorKind::Usage`] when it answers in another way; [`ErrorKind::Read`] when it refuses
/// to answer, or does not answer after so many `tries` or within the time of `give_up_after`.
pub(super) async fn run(
    api: &ApiOracle,
    tries: u32,
    give_up_after: Option<Duration>,
) -> Result<()> {
    let patience = give_up_after.unwrap_or(GIVE_UP_AFTER);
    let mut backoff = Backoff::new(fastrand::Rng::new());
    let begun = Instant::now();
    let (mut asked, mut failed) = (0, 0);
    loop {
        let Some(trouble) = once(api).await? else {
            return Ok(());
        };
        let Trouble {
            throttled,
            why,
            wait,
        } = trouble;
        asked += 1;
        failed += u32::from(!throttled);
        let error = |what: String| Error::new(ErrorKind::Read, what).because(why.clone());
        if let Some(wait) = wait.filter(|wait| *wait > patience) {
            let what = format!(
                "{} wants to be asked again in {} s; it said",
                api.shown(),
                wait.as_secs()
            );
            return Err(error(what).hint("go on then; --give-up-after sets how long to wait"));
        }
        if failed >= tries || begun.elapsed() >= patience {
            let what = format!(
                "nothing could be read from {} ({asked} times asked)",
                api.shown()
            );
            return Err(error(what).hint(
                "run this again once it answers; --tries and --give-up-after set how long to try",
            ));
        }
        if asked == 1 {
            tracing::info!("{} does not answer yet: trying again ({why})", api.shown());
        }
        tokio::time::sleep(backoff.wait(asked).max(wait.unwrap_or_default())).await;
    }
}

/// Asks both questions once; `None` when the answers are as they must be.
async fn once(api: &ApiOracle) -> Result<Option<Trouble>> {
    // It may well fail on what is no hash: what counts is the answer to the hash.
    let word = get(api, WORD).await?;
    let random = random(api);
    let answer = match get(api, &api.text(&random)).await? {
        Ok(answer) => answer,
        Err(trouble) => return Ok(Some(trouble)),
    };
    match api.verdict(&answer, &random) {
        Verdict::Unknown => {}
        Verdict::Known(_) => {
            let what = "says that it knows a random hash, which nothing can know";
            return Err(refusal(api, what, &answer, word.as_ref().ok()));
        }
        Verdict::Error(_) => {
            let what = "does not answer as a look-up of hashes does";
            return Err(refusal(api, what, &answer, word.as_ref().ok()));
        }
        Verdict::Refused(why) => return Err(api.refused(why)),
        Verdict::Again { throttled, why } => {
            return Ok(Some(Trouble {
                throttled,
                why,
                wait: answer.wait,
            }));
        }
    }
    if let Some(hash) = api.check() {
        return check(api, hash).await;
    }
    if api.is_own_unknown(&answer, &random) {
        return Ok(None);
    }
    let is_declared = api.is_declared_unknown(&answer, &random);
    let word = match word {
        Ok(word) => word,
        Err(trouble) => return Ok(is_declared.then_some(trouble)),
    };
    let verdict = api.verdict(&word, &random);
    let alike = word.is_alike(WORD, &answer, &api.text(&random));
    match verdict {
        Verdict::Again {
            throttled: true,
            why,
        } if is_declared => Ok(Some(Trouble {
            throttled: true,
            why,
            wait: word.wait,
        })),
        Verdict::Unknown if is_declared => Err(alike_refusal(api, &answer, &word)),
        _ if alike => Err(alike_refusal(api, &answer, &word)),
        _ => Ok(None),
    }
}

/// The address is refused, for it answers what is no hash as it answers a hash.
fn alike_refusal(api: &ApiOracle, random: &Received, word: &Received) -> Error {
    let what = "answers a word that is no hash as it answers a hash: it may answer everything so";
    let hint = "check the address, and name a hash that it must know by --api-check HASH; or give by \
                --api-unknown a text that only its answer to a hash holds";
    refusal(api, what, random, Some(word)).hint(hint)
}

/// Asks for `hash`, which it must know.
async fn check(api: &ApiOracle, hash: &Hash) -> Result<Option<Trouble>> {
    let answer = match get(api, &api.text(hash)).await? {
        Ok(answer) => answer,
        Err(trouble) => return Ok(Some(trouble)),
    };
    match api.verdict(&answer, hash) {
        Verdict::Known(_) => Ok(None),
        Verdict::Unknown | Verdict::Error(_) => {
            let what = format!(
                "{} does not know the hash of --api-check: {}",
                api.shown(),
                api.said(&answer)
            );
            Err(Error::usage(what).hint(HINT))
        }
        Verdict::Refused(why) => Err(api.refused(why)),
        Verdict::Again { throttled, why } => Ok(Some(Trouble {
            throttled,
            why,
            wait: answer.wait,
        })),
    }
}

/// One call, or why it has no answer.
///
/// # Errors
/// When it will never have one.
async fn get(api: &ApiOracle, text: &str) -> Result<std::result::Result<Received, Trouble>> {
    match api.get(text).await {
        Ok(received) => Ok(Ok(received)),
        Err(e) => match api.not_reached(e) {
            (Kind::Fatal(e), _) => Err(e),
            (_, why) => Ok(Err(Trouble {
                throttled: false,
                why,
                wait: None,
            })),
        },
    }
}

/// A hash that nothing can know.
fn random(api: &ApiOracle) -> Hash {
    let mut bytes = [0; MAX_HASH_BYTES];
    fastrand::fill(&mut bytes);
    // An algorithm has at least one byte and at most so many.
    let bytes = bytes.get(..api.algorithm().bytes());
    bytes.and_then(Hash::from_bytes).unwrap_or([0; 32].into())
}

/// The address is refused: `what` it does, and how it answered both questions.
fn refusal(api: &ApiOracle, what: &str, random: &Received, word: Option<&Received>) -> Error {
    let said = api.said(random);
    let word = match word.map(|word| api.said(word)) {
        Some(word) if word == said => format!("; a word that is no hash ({WORD}): the same"),
        Some(word) => format!("; a word that is no hash ({WORD}): {word}"),
        None => String::new(),
    };
    let why = format!("a random hash: {said}{word}");
    Error::usage(format!("{} {what}", api.shown()))
        .because(why)
        .hint(HINT)
}
