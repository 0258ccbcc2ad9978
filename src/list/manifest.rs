//! Manifests: files that name the objects to read.
//!
//! A manifest is either text with one `s3://bucket/key` or path per line, or the
//! `manifest.json` of an S3 inventory. In text, blank lines and `#` comments are skipped. The
//! CSV files of an inventory are read one after another. Both kinds are streamed.
//! Source of the inventory's format: Amazon S3 user guide, Amazon S3 inventory list.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::printable::printable_bytes;
use crate::list::format::kind;
use crate::list::lines::{Framer, Line};
use crate::list::open_list::OpenList;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::listing::Object;
use crate::source::location::Location;
use crate::source::version::ObjectVersion;
use csv_core::ReadFieldResult;
use serde::Deserialize;
use std::collections::VecDeque;

/// Maximum size of an inventory's `manifest.json`, in bytes; it names a few thousand files.
const MAX_MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// List options that open a manifest as text, without detection of a format.
const PLAIN_TEXT: kind::ListOptions = kind::ListOptions {
    format: Some(kind::Format::Lines),
    column: None,
    encoding: kind::Encoding::Hex,
    path_normalizer: None,
    other_algorithms: kind::OtherAlgorithms::Refuse,
};

/// Reader of a manifest. See the [module](self).
#[derive(Debug)]
pub(super) struct Manifest {
    location: Location,
    unpack: DecompressOptions,
    kind: ManifestKind,
    /// The current file: the manifest itself, or a file of the inventory.
    current: Option<ManifestFile>,
    /// Objects that were read and not returned yet.
    objects: VecDeque<Object>,
}

#[derive(Debug)]
enum ManifestKind {
    Text,
    Inventory {
        files: VecDeque<Location>,
        columns: InventoryColumns,
    },
}

#[derive(Debug)]
struct ManifestFile {
    name: String,
    list: Box<OpenList>,
    framer: Framer,
    ended: bool,
}

/// Indexes of the columns in an inventory file.
#[derive(Debug, Clone, Copy)]
struct InventoryColumns {
    bucket: usize,
    key: usize,
    size: Option<usize>,
    etag: Option<usize>,
    is_latest: Option<usize>,
    is_deleted: Option<usize>,
}

#[derive(Deserialize)]
struct Inventory {
    #[serde(rename = "destinationBucket")]
    destination: String,
    #[serde(rename = "fileFormat")]
    format: String,
    #[serde(rename = "fileSchema")]
    schema: String,
    files: Vec<InventoryFile>,
}

#[derive(Deserialize)]
struct InventoryFile {
    key: String,
}

impl Manifest {
    /// Opens the manifest at `location`.
    ///
    /// # Errors
    /// If it cannot be read, or is JSON but not an inventory in CSV format.
    pub(super) async fn open(
        location: &Location,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<Manifest> {
        let mut opened = Box::new(OpenList::open(location, aws, unpack, &PLAIN_TEXT).await?);
        let is_json = opened.head().trim_ascii_start().first() == Some(&b'{');
        let mut manifest = Manifest {
            location: location.clone(),
            unpack: unpack.clone(),
            kind: ManifestKind::Text,
            current: None,
            objects: VecDeque::new(),
        };
        if !is_json {
            manifest.current = Some(ManifestFile::new(location, opened));
            return Ok(manifest);
        }
        let mut json = Vec::new();
        while let Some(chunk) = opened.next().await? {
            json.extend_from_slice(&chunk.bytes);
            if json.len() > MAX_MANIFEST_BYTES {
                return Err(manifest.not_a_manifest_error("it is JSON of more than 16 MiB"));
            }
        }
        manifest.kind = manifest.parse_inventory(&json)?;
        Ok(manifest)
    }

    /// Returns the next object. `None` at the end.
    pub(super) async fn next(&mut self, aws: &Aws) -> Result<Option<Object>> {
        loop {
            if let Some(object) = self.objects.pop_front() {
                return Ok(Some(object));
            }
            if self.current.is_none() {
                let ManifestKind::Inventory { files, .. } = &mut self.kind else {
                    return Ok(None);
                };
                let Some(file) = files.front().cloned() else {
                    return Ok(None);
                };
                let opened = OpenList::open(&file, aws, &self.unpack, &PLAIN_TEXT).await?;
                files.pop_front();
                self.current = Some(ManifestFile::new(&file, Box::new(opened)));
            }
            self.read().await?;
        }
    }

    /// Reads the objects in the next chunk.
    async fn read(&mut self) -> Result<()> {
        let Manifest {
            kind: form,
            current: reading,
            objects,
            ..
        } = self;
        let Some(now) = reading else { return Ok(()) };
        let mut take = |name: &str, line: &Line<'_>| {
            let object = match form {
                ManifestKind::Text => parse_text_line(line),
                ManifestKind::Inventory { columns, .. } => parse_inventory_row(line, *columns),
            };
            match object {
                Ok(object) => {
                    objects.extend(object);
                    Ok(())
                }
                Err(why) => {
                    let hint = match form {
                        ManifestKind::Text => "a manifest has one s3://bucket/key or path per line",
                        ManifestKind::Inventory { .. } => {
                            "a file of an S3 inventory has the columns named in its manifest.json"
                        }
                    };
                    Err(Error::usage(format!("{name}, line {}: {why}", line.number))
                        .with_hint(hint))
                }
            }
        };
        match now.list.next().await? {
            Some(chunk) => {
                let mut lines = now.framer.push(&chunk.bytes);
                while let Some(line) = lines.next() {
                    take(&now.name, &line)?;
                }
            }
            None => now.ended = true,
        }
        if now.ended {
            if let Some(line) = now.framer.finish() {
                take(&now.name, &line)?;
            }
            *reading = None;
        }
        Ok(())
    }

    fn parse_inventory(&self, json: &[u8]) -> Result<ManifestKind> {
        let inventory: Inventory = serde_json::from_slice(json).map_err(|e| {
            self.not_a_manifest_error("it is JSON, but not of an S3 inventory")
                .with_source(e)
        })?;
        if inventory.format != "CSV" {
            return Err(Error::usage(format!(
                "{} is an S3 inventory whose files are {}; expected CSV",
                self.location, inventory.format
            ))
            .with_hint(
                "set the inventory's format to CSV, or give a manifest with one URI per line",
            ));
        }
        let names: Vec<&str> = inventory.schema.split(',').map(str::trim).collect();
        let at = |name: &str| names.iter().position(|n| *n == name);
        let (Some(bucket), Some(key)) = (at("Bucket"), at("Key")) else {
            return Err(self.not_a_manifest_error("its fileSchema has no Bucket and Key"));
        };
        // The destination is an ARN, arn:aws:s3:::BUCKET.
        let destination = inventory.destination.rsplit(':').next().unwrap_or_default();
        let file = |file: InventoryFile| Location::S3 {
            bucket: destination.to_owned(),
            key: file.key,
        };
        Ok(ManifestKind::Inventory {
            files: inventory.files.into_iter().map(file).collect(),
            columns: InventoryColumns {
                bucket,
                key,
                size: at("Size"),
                etag: at("ETag"),
                is_latest: at("IsLatest"),
                is_deleted: at("IsDeleteMarker"),
            },
        })
    }

    fn not_a_manifest_error(&self, why: &str) -> Error {
        Error::usage(format!("{} is not a manifest: {why}", self.location)).with_hint(
            "give a file with one s3://bucket/key or path per line, or the manifest.json of an S3 inventory",
        )
    }
}

impl ManifestFile {
    fn new(location: &Location, list: Box<OpenList>) -> ManifestFile {
        ManifestFile {
            name: location.to_string(),
            list,
            framer: Framer::new(),
            ended: false,
        }
    }
}

/// Parses a line of a text manifest. `None` if it is blank or a comment.
fn parse_text_line(line: &Line<'_>) -> Result<Option<Object>, String> {
    let bytes = match line.number {
        1 => line
            .bytes
            .strip_prefix(b"\xEF\xBB\xBF")
            .unwrap_or(line.bytes),
        _ => line.bytes,
    };
    let text = bytes.trim_ascii();
    if text.is_empty() || text[0] == b'#' {
        return Ok(None);
    }
    let described = || printable_bytes(text, 80);
    let text = (!line.is_overlong()).then_some(text);
    let text = text.and_then(|t| std::str::from_utf8(t).ok());
    let location = text.map(str::parse);
    match location {
        Some(Ok(location)) if location != Location::Stdin => Ok(Some(Object {
            location,
            listed: None,
        })),
        _ => Err(format!(
            "{:?} names neither an object nor a file",
            described()
        )),
    }
}

/// Parses a row of an inventory. `None` if the object is deleted, an old version, or a folder.
fn parse_inventory_row(
    line: &Line<'_>,
    columns: InventoryColumns,
) -> Result<Option<Object>, String> {
    if line.bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let row = fields(line.bytes);
    let at = |n: usize| row.get(n).map(String::as_str);
    let is = |column: Option<usize>, word: &str| {
        (column.and_then(at)).is_some_and(|v| v.eq_ignore_ascii_case(word))
    };
    if is(columns.is_latest, "false") || is(columns.is_deleted, "true") {
        return Ok(None);
    }
    let (Some(bucket), Some(key)) = (at(columns.bucket), at(columns.key)) else {
        return Err("expected a bucket and a key".to_owned());
    };
    let key = url_decode(key).ok_or_else(|| format!("{key:?} is not a URL-encoded key"))?;
    if bucket.is_empty() || key.is_empty() {
        return Err("expected a bucket and a key".to_owned());
    }
    let size = columns.size.and_then(at).and_then(|s| s.parse().ok());
    if key.ends_with('/') && size == Some(0) {
        return Ok(None);
    }
    let location = Location::S3 {
        bucket: bucket.to_owned(),
        key,
    };
    Ok(Some(Object {
        listed: Some(ObjectVersion {
            uri: location.to_string(),
            etag: columns.etag.and_then(at).map(str::to_owned),
            bytes: size,
            ..ObjectVersion::default()
        }),
        location,
    }))
}

/// Splits a row of CSV into fields.
fn fields(row: &[u8]) -> Vec<String> {
    let mut reader = csv_core::Reader::new();
    let (mut rest, mut fields, mut field) = (row, Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    loop {
        let (result, read, wrote) = reader.read_field(rest, &mut buffer);
        rest = &rest[read..];
        field.extend_from_slice(&buffer[..wrote]);
        match result {
            // The empty input that follows tells the reader that the row has ended.
            ReadFieldResult::InputEmpty if rest.is_empty() && read == 0 => return fields,
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::Field { record_end } => {
                fields.push(String::from_utf8_lossy(&field).into_owned());
                field.clear();
                if record_end {
                    return fields;
                }
            }
            ReadFieldResult::End => return fields,
        }
    }
}

/// Decodes a URL-encoded key. `None` if the encoding is invalid.
fn url_decode(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Line<'_> {
        Line {
            bytes,
            offset: 0,
            number: 1,
            length: bytes.len() as u64,
        }
    }

    #[test]
    fn a_line_names_an_object_or_a_file() {
        let named = |text: &str| parse_text_line(&line(text.as_bytes()));
        let location = |text: &str| named(text).map(|o| o.map(|o| o.location.to_string()));
        assert_eq!(location("s3://b/k\r"), Ok(Some("s3://b/k".into())));
        assert_eq!(location("\u{FEFF}a/b.txt"), Ok(Some("a/b.txt".into())));
        assert_eq!(location("  # x"), Ok(None));
        assert_eq!(location(""), Ok(None));
        for bad in ["-", "s3://b/p/", "https://x/y"] {
            assert!(named(bad).is_err(), "{bad}");
        }
        assert!(parse_text_line(&line(b"\xFF\xFE")).is_err());
    }

    #[test]
    fn a_row_of_an_inventory_names_an_object_with_its_size_and_tag() {
        let columns = InventoryColumns {
            bucket: 0,
            key: 1,
            size: Some(4),
            etag: Some(5),
            is_latest: Some(2),
            is_deleted: Some(3),
        };
        let row = |text: &str| parse_inventory_row(&line(text.as_bytes()), columns);
        let object = row(r#""b","a%20b%2Bc+d.txt","true","false","7","ee""#);
        let object = object.expect("a row").expect("an object");
        assert_eq!(object.location.to_string(), "s3://b/a b+c d.txt");
        let listed = object.listed.expect("listed");
        assert_eq!(
            (listed.bytes, listed.etag.as_deref()),
            (Some(7), Some("ee"))
        );
        assert_eq!(row(r#""b","k","false","false","7","e""#), Ok(None));
        assert_eq!(row(r#""b","k","true","true","",""#), Ok(None));
        assert_eq!(row(r#""b","folder/","true","false","0","e""#), Ok(None));
        assert!(row(r#""b""#).is_err());
        assert!(row(r#""b","%zz","true","false","7","e""#).is_err());
    }
}
