//! Error of a run that cannot read its table.

use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind};

/// The error of a run that a permanent `error` of BatchGetItem ends. `policy` is the file
/// with the permissions that the command needs.
pub(crate) fn permanent_read_error(table: &str, policy: &str, error: CallError) -> Error {
    let hint = match error.code.as_deref() {
        Some("AccessDeniedException") => {
            format!("allow dynamodb:BatchGetItem on this table (see {policy}), then run this again")
        }
        Some("ResourceNotFoundException") => {
            "the table is deleted or not ready; run this again once it is ACTIVE".to_owned()
        }
        _ => "fix the cause, then run this again".to_owned(),
    };
    Error::new(ErrorKind::Read, format!("cannot read from table {table}"))
        .with_source(error)
        .with_hint(hint)
}
