//! The version of an object or file, to detect changes.

/// Version of an object or file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectVersion {
    /// `s3://bucket/key` or a path.
    pub uri: String,
    /// ETag of an object, with its quotes.
    pub etag: Option<String>,
    /// Version id of an object in a versioned bucket.
    pub version_id: Option<String>,
    /// Length in bytes.
    pub bytes: Option<u64>,
    /// Modification time of a file (UTC, RFC 3339).
    pub modified: Option<String>,
}

impl ObjectVersion {
    /// Describes the first difference to `now`; `None` if both are the same.
    pub fn describe_change(&self, now: &ObjectVersion) -> Option<String> {
        let text_or_none =
            |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        // Some servers omit the quotes in some responses.
        let bare = |tag: &Option<String>| tag.as_ref().map(|t| t.trim_matches('"').to_owned());
        if bare(&self.etag) != bare(&now.etag) {
            return Some(format!(
                "its ETag was {} and is {}",
                text_or_none(&self.etag),
                text_or_none(&now.etag)
            ));
        }
        if self.bytes != now.bytes {
            let text_or_unknown =
                |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), |b| b.to_string());
            return Some(format!(
                "its length was {} and is {}",
                text_or_unknown(self.bytes),
                text_or_unknown(now.bytes)
            ));
        }
        (self.modified != now.modified).then(|| {
            format!(
                "its modification time was {} and is {}",
                text_or_none(&self.modified),
                text_or_none(&now.modified)
            )
        })
    }

    /// True if it can be compared; a pipe cannot.
    pub fn is_comparable(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tag_length_and_time_mean_the_same_list() {
        let before = ObjectVersion {
            uri: "s3://b/k".into(),
            etag: Some("\"a\"".into()),
            version_id: Some("1".into()),
            bytes: Some(7),
            ..ObjectVersion::default()
        };
        let differs = |now: ObjectVersion| before.describe_change(&now);
        // The same content in a new version is the same list.
        assert_eq!(
            differs(ObjectVersion {
                version_id: None,
                ..before.clone()
            }),
            None
        );
        let tag = differs(ObjectVersion {
            etag: Some("\"b\"".into()),
            ..before.clone()
        });
        assert_eq!(tag.as_deref(), Some("its ETag was \"a\" and is \"b\""));
        let length = differs(ObjectVersion {
            bytes: Some(8),
            ..before.clone()
        });
        assert_eq!(length.as_deref(), Some("its length was 7 and is 8"));
        assert!(
            differs(ObjectVersion {
                modified: Some("x".into()),
                ..before.clone()
            })
            .is_some()
        );
    }
}
