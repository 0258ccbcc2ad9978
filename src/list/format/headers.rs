//! Repeated headers, and the limit on how many are skipped.
//!
//! Concatenated lists repeat their headers, so a repeated header is skipped. But a wrong
//! hash column may hold its own name in each row, and then the whole list would be skipped.
//!
//! Real lists have hashes between their headers. Consecutive headers are therefore rejected
//! after the first [`MAX_CONSECUTIVE_HEADERS`]; the limit leaves room for empty lists. At the
//! start of a table it is 1. In a list without columns it is not, because a title may precede
//! the header.

use crate::base::record::RejectReason;
use crate::list::format::delimited::is_excel_separator;
use crate::list::format::plain::{Parsed, trimmed};
use crate::list::lines::Line;

/// Maximum number of consecutive headers that are skipped.
const MAX_CONSECUTIVE_HEADERS: u32 = 16;

/// Counter of consecutive headers in one list. See the [module](self).
#[derive(Debug)]
pub(super) struct Headers {
    /// Number of the line after the last classified one.
    next_line: u64,
    /// True if all lines before that one were skipped or rejected as headers.
    at_start: bool,
    /// Consecutive headers up to that line.
    consecutive: u32,
}

impl Default for Headers {
    fn default() -> Self {
        Headers {
            next_line: 1,
            at_start: true,
            consecutive: 0,
        }
    }
}

impl Headers {
    /// Classifies a `line` that a parser reports as blank, a comment or a header.
    pub(super) fn classify(&mut self, line: &Line<'_>, is_table: bool) -> Parsed {
        if line.number != self.next_line {
            *self = Headers {
                at_start: false,
                consecutive: 0,
                ..*self
            };
        }
        self.next_line = line.number + 1;
        let text = trimmed(line.bytes);
        if text.is_empty() || text[0] == b'#' || is_table && is_excel_separator(text) {
            return Parsed::Skipped;
        }
        self.consecutive = self.consecutive.saturating_add(1);
        let max = match is_table && self.at_start {
            true => 1,
            false => MAX_CONSECUTIVE_HEADERS,
        };
        match self.consecutive > max {
            true => Parsed::Rejected(RejectReason::Header),
            false => Parsed::Skipped,
        }
    }
}
