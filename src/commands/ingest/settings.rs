//! Settings of a run: the place of its checkpoint, and what a refresh does.

/// Where a run's checkpoint goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Keep {
    /// To a file in the user's folder for state, where the run can be taken up at
    /// all: not from standard input.
    #[default]
    Usual,
    /// To this path, or `s3://bucket/key`.
    At(String),
    /// Nowhere.
    Off,
}

/// The share of the old list that a refresh may change unless it is told otherwise, in
/// percent.
pub const MAX_CHANGE_PERCENT: f64 = 20.0;

/// The difference of two lists instead of one list.
#[derive(Debug, Clone, PartialEq)]
pub struct Refresh {
    /// The sources of the old list, as they are named; those of the run are the new
    /// one's.
    pub from: Vec<String>,
    /// Whether what is gone is deleted.
    pub delete: bool,
    /// How much of the old list may change, in percent; nothing when any change is
    /// confirmed.
    pub max_change: Option<f64>,
    /// Whether what is gone is deleted though the new list has rejected lines: a hash
    /// that cannot be read is then taken for gone.
    pub delete_despite_rejects: bool,
}

impl Refresh {
    /// A refresh from the `old` list, by its name, to the new one, which the sources of
    /// the run are. It writes what the old list lacks and deletes nothing.
    pub fn new(old: impl Into<String>) -> Refresh {
        Refresh {
            from: vec![old.into()],
            delete: false,
            max_change: None,
            delete_despite_rejects: false,
        }
    }
}
