//! Settings of a run: mode of the checkpoint, and settings of a refresh.

/// Location of a run's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CheckpointMode {
    /// A file in the user's state folder. A run that reads standard input has no checkpoint.
    #[default]
    Default,
    /// This path, or `s3://bucket/key`.
    At(String),
    /// No checkpoint.
    Off,
}

/// Default of the command line for [`Refresh::max_change`], in percent.
pub const MAX_CHANGE_PERCENT: f64 = 20.0;

/// Settings of a refresh, which writes the difference of two lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Refresh {
    /// Sources of the old list; the sources of the run are the new list.
    pub from: Vec<String>,
    /// Delete the items of hashes that are not in the new list.
    pub delete: bool,
    /// Maximum share of the old list that may change, in percent; `None` if any change is
    /// confirmed.
    pub max_change: Option<f64>,
    /// Delete even if the new list has rejected lines. The hash of such a line then counts
    /// as removed from the list.
    pub delete_despite_rejects: bool,
}

impl Refresh {
    /// A refresh from the list named `old` to the sources of the run. It writes new hashes
    /// and deletes nothing.
    pub fn new(old: impl Into<String>) -> Refresh {
        Refresh {
            from: vec![old.into()],
            delete: false,
            max_change: None,
            delete_despite_rejects: false,
        }
    }
}
