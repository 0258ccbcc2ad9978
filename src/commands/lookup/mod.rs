//! TODO

pub mod answer_pattern;
pub mod answers;
pub mod api_backend;
pub mod api_probe;
pub mod api_response;
pub mod backend;
pub mod builder;
pub mod counts;
pub mod input;
pub mod options;
pub mod output;
pub mod query;
pub mod report;
pub mod requester;
pub mod table_backend;
