//! Description of a list's format, for the log and for messages.

use crate::base::hash::Algorithm;
use crate::list::format::kind::{Format, ListOptions};
use crate::list::format::layout::Layout;
use crate::list::format::paths;

/// Describes how a list is read. `None` for a plain list.
pub(crate) fn describe(
    layout: &Layout,
    options: &ListOptions,
    algorithm: Algorithm,
) -> Option<String> {
    if layout.format == Format::Lines {
        return None;
    }
    if let Some(paths) = &options.path_normalizer {
        let (format, rules) = (Format::Paths.describe(), paths::describe(paths));
        return Some(format!(
            "{format}, normalised by {rules} and hashed with SHA-256"
        ));
    }
    let column = match layout.format {
        Format::Sums | Format::Clamav | Format::Powershell | Format::Certutil => String::new(),
        Format::Ndjson => match layout.hash_field(algorithm, options) {
            Ok(field) => format!(", reading field {field}"),
            Err(_) => String::new(),
        },
        _ => match layout.hash_column(algorithm, options) {
            Ok(at) => format!(", reading column {}", layout.display_name(at)),
            Err(_) => String::new(),
        },
    };
    let hint = match options.format {
        None => " (change with --format)",
        Some(_) => "",
    };
    let version = match layout.format {
        // RDS 2.x has no MD4.
        Format::Nsrl if layout.find_column("MD4").is_some() => " (RDS 1.x)",
        Format::Nsrl => " (RDS 2.x)",
        _ => "",
    };
    let format = layout.format.describe();
    Some(format!("{format}{version}{column}{hint}"))
}
