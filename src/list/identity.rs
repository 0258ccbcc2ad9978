//! Identity of a list, compared on resume to detect changes.

use crate::list::encoding::TextEncoding;
use crate::list::format::layout::Layout;
use crate::source::decompress::codec::SourceCompression;
use crate::source::version::ObjectVersion;
use serde::{Deserialize, Serialize};

/// Identity of a list: the version of its object, and the conversion of its bytes to text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "StoredIdentity", into = "StoredIdentity")]
pub struct Identity {
    /// The version of the object or file that holds it.
    pub object: ObjectVersion,
    /// Its compression. `None` if it is not compressed, or not opened yet.
    pub compression: Option<SourceCompression>,
    /// Its format and columns. `None` if it is not opened yet.
    pub layout: Option<Layout>,
    /// True if it is a database; its text is then the hashes in it.
    pub is_database: bool,
    /// Its text encoding. `None` if the text is UTF-8 lines.
    pub text_encoding: Option<TextEncoding>,
    /// The field whose path splits a JSON document into lines. `None` for other lists.
    pub array_field: Option<String>,
}

impl Identity {
    /// True if its text is identical to its bytes, so that offsets in both agree.
    pub fn is_verbatim(&self) -> bool {
        let rewritten = self.text_encoding.is_some() || self.array_field.is_some();
        self.compression.is_none() && !self.is_database && !rewritten
    }
}

impl From<ObjectVersion> for Identity {
    fn from(object: ObjectVersion) -> Identity {
        Identity {
            object,
            ..Identity::default()
        }
    }
}

/// The identity as stored in checkpoints: all fields in one object; unknown fields are errors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredIdentity {
    uri: String,
    etag: Option<String>,
    version_id: Option<String>,
    bytes: Option<u64>,
    modified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packed: Option<SourceCompression>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<Layout>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    database: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writing: Option<TextEncoding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

impl From<StoredIdentity> for Identity {
    fn from(flat: StoredIdentity) -> Identity {
        Identity {
            object: ObjectVersion {
                uri: flat.uri,
                etag: flat.etag,
                version_id: flat.version_id,
                bytes: flat.bytes,
                modified: flat.modified,
            },
            compression: flat.packed,
            layout: flat.layout,
            is_database: flat.database,
            text_encoding: flat.writing,
            array_field: flat.document,
        }
    }
}

impl From<Identity> for StoredIdentity {
    fn from(identity: Identity) -> StoredIdentity {
        let object = identity.object;
        StoredIdentity {
            uri: object.uri,
            etag: object.etag,
            version_id: object.version_id,
            bytes: object.bytes,
            modified: object.modified,
            packed: identity.compression,
            layout: identity.layout,
            database: identity.is_database,
            writing: identity.text_encoding,
            document: identity.array_field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_stored_flat_and_rejects_unknown_fields() {
        let json = r#"{"uri":"s3://b/k","etag":"\"a\"","version_id":null,"bytes":7,"modified":null,"database":true}"#;
        let identity: Identity = serde_json::from_str(json).expect("an identity");
        assert_eq!(
            (identity.object.bytes, identity.is_database),
            (Some(7), true)
        );
        assert_eq!(serde_json::to_string(&identity).expect("JSON"), json);
        let unknown = json.replace("bytes", "length");
        assert!(serde_json::from_str::<Identity>(&unknown).is_err());
    }
}
