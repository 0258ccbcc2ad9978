//! Headers that come again, and a bound on how many of them are skipped.
//!
//! Lists are put one behind another, each with its header, so one that comes again is
//! skipped. But a column that is taken for the hash's by mistake repeats its name in
//! each row, and then a whole list would be skipped. Between the headers of real lists
//! stand hashes: beyond [`MOST_IN_A_ROW`], which is more empty lists than anybody puts
//! together, a header after another is rejected; in a table from the second on where it
//! has shown no hash yet. (A list without columns may have a title before its header.)

use crate::base::record::Reason;
use crate::list::format::delimited::is_separator_of_excel;
use crate::list::format::plain::{Parsed, content};
use crate::list::lines::Line;

/// Headers one after another that are skipped.
const MOST_IN_A_ROW: u32 = 16;

/// The headers of one list so far. See the [module](self).
#[derive(Debug)]
pub(super) struct Headers {
    /// The number of the line that would follow those skipped last.
    next: u64,
    /// Whether nothing but skipped lines and such headers stands before that one.
    from_the_first: bool,
    /// Headers one after another up to there.
    in_a_row: u32,
}

impl Default for Headers {
    fn default() -> Self {
        Headers {
            next: 1,
            from_the_first: true,
            in_a_row: 0,
        }
    }
}

impl Headers {
    /// Judges `line`, which a parser takes for a blank one, a comment or a header.
    pub(super) fn judge(&mut self, line: &Line<'_>, is_table: bool) -> Parsed {
        if line.number != self.next {
            *self = Headers {
                from_the_first: false,
                in_a_row: 0,
                ..*self
            };
        }
        self.next = line.number + 1;
        let text = content(line.bytes);
        if text.is_empty() || text[0] == b'#' || is_table && is_separator_of_excel(text) {
            return Parsed::Skipped;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let most = match is_table && self.from_the_first {
            true => 1,
            false => MOST_IN_A_ROW,
        };
        match self.in_a_row > most {
            true => Parsed::Rejected(Reason::Header),
            false => Parsed::Skipped,
        }
    }
}
