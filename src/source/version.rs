//! The version of an object or file: what tells later whether it is still the same.

/// The version of an object or file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectVersion {
    /// `s3://bucket/key` or a path.
    pub uri: String,
    /// The object's ETag, with its quotes.
    pub etag: Option<String>,
    /// The object's version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// Length in bytes.
    pub bytes: Option<u64>,
    /// When a file was last changed (UTC, RFC 3339).
    pub modified: Option<String>,
}

impl ObjectVersion {
    /// What of `now` is not as it was, in words.
    pub fn difference(&self, now: &ObjectVersion) -> Option<String> {
        let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        // Some write it with quotes in one answer and without in another.
        let bare = |tag: &Option<String>| tag.as_ref().map(|t| t.trim_matches('"').to_owned());
        if bare(&self.etag) != bare(&now.etag) {
            return Some(format!(
                "its ETag was {} and is {}",
                said(&self.etag),
                said(&now.etag)
            ));
        }
        if self.bytes != now.bytes {
            let said = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), |b| b.to_string());
            return Some(format!(
                "its length was {} and is {}",
                said(self.bytes),
                said(now.bytes)
            ));
        }
        (self.modified != now.modified).then(|| {
            format!(
                "it was last changed at {} and then at {}",
                said(&self.modified),
                said(&now.modified)
            )
        })
    }

    /// Whether it can be recognised at all: a pipe cannot.
    pub fn is_known(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_the_same_when_tag_length_and_time_are() {
        let before = ObjectVersion {
            uri: "s3://b/k".into(),
            etag: Some("\"a\"".into()),
            version_id: Some("1".into()),
            bytes: Some(7),
            ..ObjectVersion::default()
        };
        let differs = |now: ObjectVersion| before.difference(&now);
        // The same content once more is the same list.
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
