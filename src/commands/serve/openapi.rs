//! OpenAPI 3.1 description of the routes.

use crate::base::hash::Algorithm;
use crate::commands::serve::options::MAX_BATCH;
use crate::list::matchmeta::normalizer::Normalizer;
use serde_json::{Map, Value, json};

/// Builds the document for a table of `algorithm`.
pub(super) fn openapi_document(
    algorithm: Algorithm,
    normalizer: &Normalizer,
    wants_keys: bool,
) -> Value {
    let name = algorithm.name();
    let digits = algorithm.bytes() * 2;
    let pattern = format!("^[0-9A-Fa-f]{{{digits}}}$");
    let rules = normalizer.rules().name();
    let schema = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let content = |schema: Value| json!({"application/json": {"schema": schema}});
    let answer =
        |what: &str, of: &str| json!({"description": what, "content": content(schema(of))});
    let common = |mut responses: Value, keyed: bool| {
        if keyed && wants_keys {
            responses["401"] = answer("The API key is missing or not valid", "Problem");
        }
        if !wants_keys {
            responses["403"] = answer("The Host is not this machine", "Problem");
        }
        responses
    };
    let limited = |mut responses: Value| {
        let mut refused = answer(
            "The rate limit is exceeded; Retry-After gives the time to wait",
            "Problem",
        );
        refused["headers"] = json!({"Retry-After": {
            "description": "Seconds to wait", "schema": {"type": "integer"}}});
        responses["429"] = refused;
        common(responses, true)
    };
    let single = |what: &str, of: &str| {
        limited(json!({
            "200": answer("Known: the table holds the hash", of),
            "400": answer(what, of),
            "404": answer("Unknown: the table does not hold the hash. With status error in the body: the route does not exist", of),
            "503": answer("Error: the table did not respond; Retry-After gives the time to wait", of),
        }))
    };
    let parameter = |at: &str, name: &str, what: &str, schema: Value| json!({"in": at, "name": name, "required": true, "description": what, "schema": schema});
    let hash = parameter(
        "path",
        "hash",
        &format!("A {name} hash, {digits} hexadecimal digits of either case"),
        json!({"type": "string", "pattern": pattern}),
    );
    let list = |field: &str, what: &str| {
        json!({"type": "object", "additionalProperties": false, "required": [field],
            "properties": {field: {"type": "array", "maxItems": MAX_BATCH,
                "items": {"type": "string"}, "description": what}}})
    };
    let open = json!([]);
    let mut paths = Map::new();
    let mut add = |path: String, method: &str, operation: Value| {
        paths.insert(path, json!({method: operation}));
    };
    add(
        format!("/{name}/{{hash}}"),
        "get",
        json!({"summary": "Look up a hash", "operationId": "lookupHash", "parameters": [hash],
            "responses": single("Invalid: not a hash of this table", "Result")}),
    );
    add(
        "/lookup".to_owned(),
        "post",
        json!({"summary": format!("Look up to {MAX_BATCH} hashes or paths"), "operationId": "lookupMany",
            "requestBody": {"required": true, "content": content(json!({"oneOf": [
                list("hashes", &format!("Hashes of {name}")),
                list("paths", &format!("Full paths, normalised by rules {rules}; only for a table of sha256 hashes"))]}))},
            "responses": limited(json!({
                "200": answer("One result for each, in the order of the request", "Results"),
                "400": answer("The body is invalid or has too many entries", "Problem"),
                "408": answer("The body did not arrive in time", "Problem"),
                "413": answer("The body is larger than 1 MiB", "Problem"),
                "503": answer("Too many request bodies at the moment", "Problem")}))}),
    );
    add(
        "/path".to_owned(),
        "get",
        json!({"summary": "Look up a path", "operationId": "lookupPath",
            "parameters": [parameter("query", "p",
                &format!("A full path in UTF-8, percent-encoded; + is a space, %2B a plus sign. Normalised by rules {rules}"),
                json!({"type": "string", "minLength": 1}))],
            "responses": single("Invalid: not a path, or not a table of sha256 hashes", "Result")}),
    );
    add(
        "/healthz".to_owned(),
        "get",
        json!({"summary": "Reports whether the server is alive, and whether the table responded recently",
            "operationId": "health", "security": open,
            "responses": common(json!({"200": answer("Alive", "Health")}), false)}),
    );
    let text = |what: &str, kind: &str| json!({"description": what, "content": {kind: {"schema": {"type": "string"}}}});
    add(
        "/metrics".to_owned(),
        "get",
        json!({"summary": "Counters and latencies for Prometheus",
            "operationId": "metrics",
            "responses": common(json!({"200": text("Prometheus text format", "text/plain")}), true)}),
    );
    add(
        "/openapi.json".to_owned(),
        "get",
        json!({"summary": "This description", "operationId": "openapi", "security": open,
            "responses": common(json!({"200": {"description": "OpenAPI 3.1",
                "content": content(json!({"type": "object"}))}}), false)}),
    );
    add(
        "/".to_owned(),
        "get",
        json!({"summary": "A web page for look-ups", "operationId": "page", "security": open,
            "responses": common(json!({"200": text("The page", "text/html")}), false)}),
    );
    add(
        "/info".to_owned(),
        "get",
        json!({"summary": "Describe the table (CIRCL hashlookup)", "operationId": "circlInfo", "tags": ["CIRCL hashlookup"],
            "responses": common(json!({"200": answer("About the table", "Info")}), true)}),
    );
    let other = if matches!(
        algorithm,
        Algorithm::Md5 | Algorithm::Sha1 | Algorithm::Sha256
    ) {
        "answers 400 unless the table has this algorithm"
    } else {
        "answers 400, because the table has another algorithm"
    };
    for kind in ["md5", "sha1", "sha256"] {
        add(
            format!("/lookup/{kind}/{{hash}}"),
            "get",
            json!({"summary": format!("Look up a hash of {kind} (CIRCL hashlookup; {other})"),
                "operationId": format!("circlLookup_{kind}"), "tags": ["CIRCL hashlookup"],
                "parameters": [parameter("path", "hash", "A hash", json!({"type": "string"}))],
                "responses": limited(json!({
                    "200": answer("Known", "CirclItem"),
                    "400": answer("Not a hash, or not of this table's algorithm", "CirclMessage"),
                    "404": answer("Unknown", "CirclMessage"),
                    "503": answer("The table did not respond", "CirclMessage")}))}),
        );
        add(
            format!("/bulk/{kind}"),
            "post",
            json!({"summary": format!("Look up to {MAX_BATCH} hashes of {kind} (CIRCL hashlookup; {other})"),
                "operationId": format!("circlBulk_{kind}"), "tags": ["CIRCL hashlookup"],
                "requestBody": {"required": true, "content": content(list("hashes", "Hashes"))},
                "responses": limited(json!({
                    "200": {"description": "The known hashes",
                        "content": content(json!({"type": "array", "items": schema("CirclItem")}))},
                    "400": answer("The body is invalid, or the table has another algorithm", "CirclMessage"),
                    "408": answer("The body did not arrive in time", "Problem"),
                    "413": answer("The body is larger than 1 MiB", "Problem"),
                    "503": answer("The table did not respond for every hash", "CirclMessage")}))}),
        );
    }
    let text = json!({"type": "string"});
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hashferry: look up hashes and paths",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
            "description": "Known means that the table holds the hash, not that it is harmless. Unknown means that the table does not hold it, not that it is harmful.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": {
            "Result": {
                "type": "object", "required": ["input", "hash", "status"],
                "description": "Result for one hash or path. A known one also has the attributes of its item; an attribute named like a field of this object is item.NAME.",
                "properties": {
                    "input": {"type": "string", "description": "The input as received"},
                    "hash": {"type": ["string", "null"], "description": "In upper case; null if the input is invalid"},
                    "status": {"enum": ["known", "unknown", "invalid", "error"]},
                    "reason": {"type": "string", "description": "Reason why the input is invalid"},
                    "error": {"type": "string", "description": "Reason of the failed look-up"},
                    "normalized": {"type": "string", "description": "The path that was looked up"},
                    "rules": {"enum": ["v2", "v3"], "description": "The rules of path normalisation"},
                },
            },
            "Results": {"type": "object", "required": ["results"],
                "properties": {"results": {"type": "array", "items": schema("Result")}}},
            "Problem": {"type": "object", "required": ["status", "error"],
                "properties": {"status": {"const": "error"}, "error": text}},
            "Health": {"type": "object", "required": ["status", "table"], "properties": {
                "status": {"const": "ok"}, "version": text,
                "table": {"enum": ["answering", "failing", "not asked yet"]},
                "table_answered_s_ago": {"type": ["number", "null"]}}},
            "Info": {"type": "object", "properties": {
                "hashlookup-version": text, "server": text, "table": text, "algorithm": text, "rules": text,
                "algorithms": {"type": "array", "items": text}}},
            "CirclItem": {"type": "object", "description": "The hash in a field named like its algorithm (MD5, SHA-1, SHA-256), and the attributes of its item"},
            "CirclMessage": {"type": "object", "required": ["message"],
                "properties": {"message": text, "query": text}},
        }},
    });
    if wants_keys {
        document["components"]["securitySchemes"] = json!({
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        });
        document["security"] = json!([{"key": []}, {"bearer": []}]);
    }
    document
}
