//! The rules of a table of paths, as given and as its items show them.

use crate::aws::config::Aws;
use crate::base::error::{ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::shutdown::Stop;
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::look::Look;
use crate::pipeline::contents::scan::look;
use crate::pipeline::contents::settings::Settings;

/// The normalizer of paths for the table `name`, and the look that showed it: as `given`,
/// and what is left open as its items show it. Nothing when nothing is given or `stop` is
/// requested. What is wrong about the table itself is not said here.
///
/// # Errors
/// As [`Contents::rules`](crate::pipeline::contents::items::Contents::rules).
pub(crate) async fn rules_for(
    aws: &Aws,
    name: &str,
    key: Option<&KeyAttribute>,
    given: Option<&GivenRules>,
    stop: &Stop,
) -> Result<(Option<Normalizer>, Option<Look>)> {
    let Some(given) = given else {
        return Ok((None, None));
    };
    let looked = async {
        let key = match (
            crate::dynamodb::describe_table::describe(aws, name, None).await,
            key,
        ) {
            (Ok(table), _) => table.schema.partition,
            (Err(e), Some(key)) if e.kind() == ErrorKind::Denied => key.clone(),
            (Err(e), None) if e.kind() == ErrorKind::Denied => KeyAttribute {
                name: Algorithm::Sha256.name().to_owned(),
                kind: KeyType::S,
            },
            (Err(_), _) => return Ok(None),
        };
        look(aws, name, &key).await.map(Some)
    };
    let looked = tokio::select! {
        biased;
        () = stop.requested() => return Ok((None, None)),
        looked = looked => looked?,
    };
    let normalizer = match &looked {
        Some(look) => look.rules(given, Settings::Flags)?,
        None => given.normalizer()?,
    };
    Ok((Some(normalizer), looked))
}
