//! The look-up API over HTTP: looks up hashes and paths in a table.
//!
//! Each file uses only files below it:
//!
//! * `listen`: the server: connections, their timeouts, and the shutdown.
//! * `router`: the routes, and the middleware of every request: log, Host check, API key.
//! * `handlers`: the handlers of the native routes.
//! * `circl`: the routes of CIRCL hashlookup, for its clients.
//! * `request`: the steps of each look-up: client, rate, body, reads.
//! * `app`: [`App`](app::App), the API without a socket, and its start.
//! * `openapi`: the description of the routes.
//! * `reads`: the reads of a request: cached, coalesced or queued.
//! * `table_reader`: the calls of BatchGetItem for queued hashes.
//! * `answer`: one answer as JSON.
//! * `pending`: the state that `reads` and `table_reader` share.
//! * `access`: access control by API key, with a rate limit for each.
//! * `api_keys`: the file of API keys.
//! * `response`: JSON responses and errors.
//! * `body_budget`: the memory budget for request bodies.
//! * `metrics`: the counters, in Prometheus' text format.
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
