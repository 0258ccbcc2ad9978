//! The command `hashferry lookup`: looks up each hash or path of a list in a table or an API.
//!
//! Bottom-up:
//!
//! * `status`, `query` and `counts`: an answer's status, a line's query, the counters;
//! * `backend`: the trait of a backend, with its replies;
//! * `answers`: the reorder buffer: pending lines in, answers out in input order;
//! * `output`: output of the answers to a pipe, or to a file that a later run resumes;
//! * `input`: the list, line by line, as queries;
//! * `answer_pattern` and `api_response`: the meaning of an API's response;
//! * `api_options`, `watch` and `options`: the caller's options, and the handle to a run;
//! * `table_backend` and `api_backend`: the two backends;
//! * `api_probe`: the test of an API's URL before the first query;
//! * `api_throttle`: the reaction to an API that throttles;
//! * `requester_options` and `requester`: from queries to answers;
//! * `prepare`: the preparation of the backend, before the first query;
//! * `report` and `outcome`: the report of the run, and its outcome;
//! * `run`: the run, from the options to the report.

pub(crate) mod answer_pattern;
pub(crate) mod answers;
pub(crate) mod api_backend;
pub(crate) mod api_options;
pub(crate) mod api_probe;
pub(crate) mod api_response;
pub(crate) mod api_throttle;
pub(crate) mod backend;
pub(crate) mod counts;
pub(crate) mod input;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod output;
pub(crate) mod prepare;
pub(crate) mod query;
pub(crate) mod report;
pub(crate) mod requester;
pub(crate) mod requester_options;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod table_backend;
pub(crate) mod watch;
