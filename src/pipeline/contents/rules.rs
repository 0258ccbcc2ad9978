//! Rules of a table of paths, given or detected from its items.

use crate::aws::config::Aws;
use crate::base::error::{ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::shutdown::Stop;
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::Normalizer;
use crate::pipeline::contents::inspection::Inspection;
use crate::pipeline::contents::scan::inspect;
use crate::pipeline::contents::settings::SettingSyntax;

/// Determines the path normalizer for the table `name`, and returns it with the inspection
/// of the table. The items of the table complete the `given` rules. Both are `None` if
/// `given` is `None` or `stop` is requested. An invalid table is not reported here.
///
/// # Errors
/// As [`InspectedItems::normalizer`](crate::pipeline::contents::items::InspectedItems::normalizer).
pub(crate) async fn rules_for(
    aws: &Aws,
    name: &str,
    key: Option<&KeyAttribute>,
    given: Option<&GivenRules>,
    stop: &Stop,
) -> Result<(Option<Normalizer>, Option<Inspection>)> {
    let Some(given) = given else {
        return Ok((None, None));
    };
    let looked = async {
        let key = match (
            crate::dynamodb::describe_table::describe_table(aws, name, None).await,
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
        inspect(aws, name, &key).await.map(Some)
    };
    let looked = tokio::select! {
        biased;
        () = stop.requested() => return Ok((None, None)),
        looked = looked => looked?,
    };
    let normalizer = match &looked {
        Some(look) => look.normalizer(given, SettingSyntax::Flags)?,
        None => given.normalizer()?,
    };
    Ok((Some(normalizer), looked))
}
