//! The guides, in reading order.

/// Makes a chapter and an entry of [`GUIDES`] of each guide `NAME.md` beside this file.
macro_rules! guides {
    ($($name:ident)*) => {
        /// A name and its Markdown for each guide.
        pub(crate) const GUIDES: &[(&str, &str)] = &[$((
            stringify!($name),
            include_str!(concat!(stringify!($name), ".md")),
        )),*];
        $(
            #[doc = include_str!(concat!(stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}

guides! {
    lists
    capacity
    raising
    resuming
    verifying
    refresh
    paths
    lookups
    api
    errors
    library
    permissions
    cost
    performance
    security
    architecture
}
