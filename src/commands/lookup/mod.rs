//! Look-up: whether each hash, or path, of a list is known to a table or an API.
//!
//! Bottom-up:
//!
//! * `status`, `query` and `counts`: an answer's status, a line's question, the counters;
//! * `backend`: the trait of what is asked, with its replies;
//! * `answers`: the reorder buffer: lines wait for replies, and leave in their order;
//! * `output`: answers on their way to a pipe or a file, where a later run resumes;
//! * `input`: the list, line by line, as questions;
//! * `answer_pattern` and `api_response`: the meaning of an API's answer;
//! * `api_options`, `watch` and `options`: what the caller sets, and what it sees of a run;
//! * `table_backend` and `api_backend`: the two that are asked;
//! * `api_probe`: the test of an API's address before the first question;
//! * `request_state` and `requester`: the send loop, from questions to answers;
//! * `prepare`: everything that is known before the first question;
//! * `report` and `outcome`: the account of the run, and how it ended;
//! * `run`: all of it, wired up.

pub(crate) mod answer_pattern;
pub(crate) mod answers;
pub(crate) mod api_backend;
pub(crate) mod api_options;
pub(crate) mod api_probe;
pub(crate) mod api_response;
pub(crate) mod backend;
pub(crate) mod counts;
pub(crate) mod input;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod output;
pub(crate) mod prepare;
pub(crate) mod query;
pub(crate) mod report;
pub(crate) mod request_state;
pub(crate) mod requester;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod table_backend;
pub(crate) mod watch;
