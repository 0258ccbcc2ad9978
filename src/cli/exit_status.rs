//! Exit status of a run, given whether its report was written.

use crate::base::error::Result;
use crate::cli::context::Context;

/// The exit status of a run that has `ended` so, and whose report was written or not.
pub(super) fn exit_status(
    context: &Context,
    ended: Result<u8>,
    reported: Result<()>,
) -> Result<u8> {
    match (ended, reported) {
        (Ok(0 | 3), Err(unwritten)) => Err(unwritten),
        (ended, Err(unwritten)) => {
            context.complain(&unwritten);
            ended
        }
        (ended, Ok(())) => ended,
    }
}
