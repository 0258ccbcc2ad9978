//! Exit status of a run, combined with the result of writing its report.

use crate::base::error::Result;
use crate::cli::context::Context;

/// Combines a run's exit status with the result of writing its report. A report that could
/// not be written turns a success into a failure.
pub(super) fn exit_status(
    context: &Context,
    ended: Result<u8>,
    reported: Result<()>,
) -> Result<u8> {
    match (ended, reported) {
        (Ok(0 | 3), Err(unwritten)) => Err(unwritten),
        (ended, Err(unwritten)) => {
            context.print_error(&unwritten);
            ended
        }
        (ended, Ok(())) => ended,
    }
}
