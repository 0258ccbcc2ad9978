//! The look-up API over HTTP: whether a table knows a hash or a path.
//!
//! Each file uses only files below it:
//!
//! * `listen`: the server: connections, their time limits, and the end of all.
//! * `router`: the routes, and the middleware of all requests: log, Host check, key.
//! * `handlers`: the handlers of the native routes.
//! * `circl`: the routes of CIRCL hashlookup, for its clients.
//! * `request`: the steps of each look-up: client, rate, body, reads.
//! * `app`: [`App`](app::App), the API without a socket, and its start.
//! * `openapi`: the description of the routes.
//! * `reads`: the reads of a request: cached, joined or queued.
//! * `table_reader`: the calls of BatchGetItem for queued hashes.
//! * `answer`: one answer as JSON.
//! * `pending`: the state that `reads` and `table_reader` share.
//! * `access`: the gate, its keys and its rates.
//! * `api_keys`: the file of API keys.
//! * `response`: answers and refusals.
//! * `body_budget`: the memory for bodies of requests.
//! * `metrics`: the counters, and their text for Prometheus.
//! * `options`: the options of an app, and the limits of a request.

pub mod access;
pub mod answer;
pub mod api_keys;
pub mod app;
pub mod body_budget;
pub mod circl;
pub mod handlers;
pub mod listen;
pub mod metrics;
pub mod openapi;
pub mod options;
pub mod pending;
pub mod reads;
pub mod request;
pub mod response;
pub mod router;
pub mod table_reader;
