//! The sentence about the format of a list, for the log and for messages.

use crate::base::hash::Algorithm;
use crate::list::format::kind::{Form, Format};
use crate::list::format::layout::Layout;
use crate::list::format::paths;

/// What is said of a list that is read so: nothing for a plain one.
pub(crate) fn said(layout: &Layout, form: &Form, algorithm: Algorithm) -> Option<String> {
    if layout.format == Format::Lines {
        return None;
    }
    if let Some(paths) = &form.paths {
        let (what, rules) = (Format::Paths.described(), paths::words(paths));
        return Some(format!(
            "{what}, made comparable by {rules} and hashed by SHA-256"
        ));
    }
    let column = match layout.format {
        Format::Sums | Format::Clamav | Format::Powershell | Format::Certutil => String::new(),
        Format::Ndjson => match layout.hash_field(algorithm, form) {
            Ok(field) => format!(", taking field {field}"),
            Err(_) => String::new(),
        },
        _ => match layout.hash_column(algorithm, form) {
            Ok(at) => format!(", taking column {}", layout.called(at)),
            Err(_) => String::new(),
        },
    };
    let way = match form.format {
        None => " (--format says otherwise)",
        Some(_) => "",
    };
    let version = match layout.format {
        // Only the older one has this column.
        Format::Nsrl if layout.column("MD4").is_some() => " (RDS 1.x)",
        Format::Nsrl => " (RDS 2.x)",
        _ => "",
    };
    let what = layout.format.described();
    Some(format!("{what}{version}{column}{way}"))
}
