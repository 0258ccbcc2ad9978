//! The OpenAPI 3.1 document of the server, from a template.
//!
//! The template describes every response of every route. A server with API keys has no
//! 403, one without them no 401 and no security schemes.

use crate::base::hash::Algorithm;
use crate::commands::serve::options::MAX_BATCH;
use crate::list::matchmeta::normalizer::Normalizer;
use serde_json::{Map, Value};

/// The document, with placeholders in braces.
const TEMPLATE: &str = include_str!("openapi.json");

/// Builds the document for a table of `algorithm`.
pub(super) fn openapi_document(
    algorithm: Algorithm,
    normalizer: &Normalizer,
    wants_keys: bool,
) -> Value {
    let other = match algorithm {
        Algorithm::Md5 | Algorithm::Sha1 | Algorithm::Sha256 => {
            "other algorithms have the same route, which answers 400"
        }
        _ => "the table has another algorithm: answers 400",
    };
    let text = TEMPLATE
        .replace("{algorithm}", algorithm.name())
        .replace("{digits}", &(algorithm.bytes() * 2).to_string())
        .replace("\"{max_batch}\"", &MAX_BATCH.to_string())
        .replace("{max_batch}", &MAX_BATCH.to_string())
        .replace("{rules}", normalizer.rules().name())
        .replace("{circl}", other)
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    // Cannot fail: a test parses the document of each algorithm.
    let mut document: Value = serde_json::from_str(&text).unwrap_or_default();
    let unused = match wants_keys {
        true => ("403", "Forbidden"),
        false => ("401", "Unauthorized"),
    };
    remove_response(&mut document, unused);
    if !wants_keys && let Some(members) = document.as_object_mut() {
        members.remove("security");
        if let Some(components) = members.get_mut("components").and_then(Value::as_object_mut) {
            components.remove("securitySchemes");
        }
    }
    document
}

/// Removes the response with a status, which has a name, from all routes.
fn remove_response(document: &mut Value, (status, name): (&str, &str)) {
    fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
        value.as_object_mut().into_iter().flat_map(Map::values_mut)
    }
    for operation in members(&mut document["paths"]).flat_map(members) {
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.remove(status);
        }
    }
    if let Some(responses) = document["components"]["responses"].as_object_mut() {
        responses.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_each_algorithm_has_no_placeholder_and_no_dangling_reference() {
        let normalizer = Normalizer::default();
        for algorithm in Algorithm::ALL {
            for wants_keys in [false, true] {
                let document = openapi_document(algorithm, &normalizer, wants_keys);
                let text = document.to_string();
                let route = format!("/{}/{{hash}}", algorithm.name());
                assert!(document["paths"][&route].is_object(), "{text}");
                for placeholder in [
                    "{algorithm}",
                    "{digits}",
                    "{max_batch}",
                    "{rules}",
                    "{circl}",
                    "{version}",
                ] {
                    assert!(!text.contains(placeholder), "{placeholder}");
                }
                for (at, _) in text.match_indices("\"#/") {
                    let (pointer, _) = text[at + 2..].split_once('"').expect("an end");
                    assert!(document.pointer(pointer).is_some(), "{pointer}");
                }
                assert_eq!(text.contains("securitySchemes"), wants_keys);
                assert_eq!(text.contains("\"401\""), wants_keys);
                assert_eq!(text.contains("\"403\""), !wants_keys);
            }
        }
    }
}
