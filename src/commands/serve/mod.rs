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

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod api_keys;
pub(crate) mod app;
pub(crate) mod body_budget;
pub(crate) mod circl;
pub(crate) mod handlers;
pub(crate) mod listen;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod options;
pub(crate) mod pending;
pub(crate) mod reads;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod router;
pub(crate) mod table_reader;
