//! Identity of a list, compared on resume to detect that it changed.

use crate::list::encoding::Writing;
use crate::list::format::layout::Layout;
use crate::source::decompress::codec::Packed;
use crate::source::version::ObjectVersion;
use serde::{Deserialize, Serialize};

/// Identity of a list: the version of its object, and how its text is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct Identity {
    /// The version of the object or file that holds it.
    pub object: ObjectVersion,
    /// How it is compressed, where it is and that is known.
    pub packed: Option<Packed>,
    /// Its form, where that is known.
    pub layout: Option<Layout>,
    /// Whether it is a database, and its text the hashes in it.
    pub database: bool,
    /// How its text is written, where that is rewritten as it is read.
    pub writing: Option<Writing>,
    /// Of JSON documents that are split into lines, the field whose path says how.
    pub document: Option<String>,
}

impl Identity {
    /// Whether its text is its bytes, so that a byte of the one is a byte of the other.
    pub fn is_verbatim(&self) -> bool {
        let rewritten = self.writing.is_some() || self.document.is_some();
        self.packed.is_none() && !self.database && !rewritten
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

/// The identity as checkpoints hold it: all fields in one object, no unknown ones.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    uri: String,
    etag: Option<String>,
    version_id: Option<String>,
    bytes: Option<u64>,
    modified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packed: Option<Packed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<Layout>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    database: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writing: Option<Writing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

impl From<Flat> for Identity {
    fn from(flat: Flat) -> Identity {
        Identity {
            object: ObjectVersion {
                uri: flat.uri,
                etag: flat.etag,
                version_id: flat.version_id,
                bytes: flat.bytes,
                modified: flat.modified,
            },
            packed: flat.packed,
            layout: flat.layout,
            database: flat.database,
            writing: flat.writing,
            document: flat.document,
        }
    }
}

impl From<Identity> for Flat {
    fn from(identity: Identity) -> Flat {
        let object = identity.object;
        Flat {
            uri: object.uri,
            etag: object.etag,
            version_id: object.version_id,
            bytes: object.bytes,
            modified: object.modified,
            packed: identity.packed,
            layout: identity.layout,
            database: identity.database,
            writing: identity.writing,
            document: identity.document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_holds_it_flat_and_without_unknown_fields() {
        let json = r#"{"uri":"s3://b/k","etag":"\"a\"","version_id":null,"bytes":7,"modified":null,"database":true}"#;
        let identity: Identity = serde_json::from_str(json).expect("an identity");
        assert_eq!((identity.object.bytes, identity.database), (Some(7), true));
        assert_eq!(serde_json::to_string(&identity).expect("JSON"), json);
        let unknown = json.replace("bytes", "length");
        assert!(serde_json::from_str::<Identity>(&unknown).is_err());
    }
}
