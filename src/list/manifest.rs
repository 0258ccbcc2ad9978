//! A manifest → the objects that it names.
//!
//! Either text with one `s3://bucket/key` or path a line (blank lines and `#` comments
//! are passed over), or the `manifest.json` of an S3 inventory, whose CSV files are
//! read one after another. Both are read as they come and never held.
//! Source of the inventory's form: Amazon S3 user guide, Amazon S3 inventory list.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::printable::shown;
use crate::list::format::kind;
use crate::list::lines::{Framer, Line};
use crate::list::opened::Opened;
use crate::source::decompress::codec::Unpack;
use crate::source::listing::Object;
use crate::source::location::Location;
use crate::source::version::ObjectVersion;
use csv_core::ReadFieldResult;
use serde::Deserialize;
use std::collections::VecDeque;

/// An inventory's `manifest.json` at most: it names some thousand files.
const MAX_MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// As what the text of a manifest is opened: nothing is looked for in it.
const PLAIN: kind::Form = kind::Form {
    format: Some(kind::Format::Lines),
    column: None,
    encoding: kind::Encoding::Hex,
    paths: None,
    others: kind::OtherAlgorithms::Refuse,
};

/// A manifest that is being read. See the [module](self).
#[derive(Debug)]
pub(super) struct Manifest {
    location: Location,
    unpack: Unpack,
    form: Form,
    /// The list that is being read: the manifest itself, or a file of the inventory.
    reading: Option<Reading>,
    /// Objects that were read and not taken.
    objects: VecDeque<Object>,
}

#[derive(Debug)]
enum Form {
    Text,
    Inventory {
        files: VecDeque<Location>,
        columns: Columns,
    },
}

#[derive(Debug)]
struct Reading {
    name: String,
    opened: Box<Opened>,
    framer: Framer,
    ended: bool,
}

/// Where in a row of an inventory what stands.
#[derive(Debug, Clone, Copy)]
struct Columns {
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
    pub(super) async fn open(location: &Location, aws: &Aws, unpack: &Unpack) -> Result<Manifest> {
        let mut opened = Box::new(Opened::open(location, aws, unpack, &PLAIN).await?);
        let is_json = opened.head().trim_ascii_start().first() == Some(&b'{');
        let mut manifest = Manifest {
            location: location.clone(),
            unpack: unpack.clone(),
            form: Form::Text,
            reading: None,
            objects: VecDeque::new(),
        };
        if !is_json {
            manifest.reading = Some(Reading::of(location, opened));
            return Ok(manifest);
        }
        let mut json = Vec::new();
        while let Some(chunk) = opened.next().await? {
            json.extend_from_slice(&chunk.bytes);
            if json.len() > MAX_MANIFEST_BYTES {
                return Err(manifest.is_none("it is JSON of more than 16 MiB"));
            }
        }
        manifest.form = manifest.inventory(&json)?;
        Ok(manifest)
    }

    /// The next object; nothing at the end.
    pub(super) async fn next(&mut self, aws: &Aws) -> Result<Option<Object>> {
        loop {
            if let Some(object) = self.objects.pop_front() {
                return Ok(Some(object));
            }
            if self.reading.is_none() {
                let Form::Inventory { files, .. } = &mut self.form else {
                    return Ok(None);
                };
                let Some(file) = files.front().cloned() else {
                    return Ok(None);
                };
                let opened = Opened::open(&file, aws, &self.unpack, &PLAIN).await?;
                files.pop_front();
                self.reading = Some(Reading::of(&file, Box::new(opened)));
            }
            self.read().await?;
        }
    }

    /// Reads the objects of the next chunk.
    async fn read(&mut self) -> Result<()> {
        let Manifest {
            form,
            reading,
            objects,
            ..
        } = self;
        let Some(now) = reading else { return Ok(()) };
        let mut take = |name: &str, line: &Line<'_>| {
            let object = match form {
                Form::Text => of_text(line),
                Form::Inventory { columns, .. } => of_inventory(line, *columns),
            };
            match object {
                Ok(object) => {
                    objects.extend(object);
                    Ok(())
                }
                Err(why) => {
                    let hint = match form {
                        Form::Text => "a manifest has one s3://bucket/key or path a line",
                        Form::Inventory { .. } => {
                            "a file of an S3 inventory has the columns that its manifest.json names"
                        }
                    };
                    Err(Error::usage(format!("{name}, line {}: {why}", line.number)).hint(hint))
                }
            }
        };
        match now.opened.next().await? {
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

    fn inventory(&self, json: &[u8]) -> Result<Form> {
        let inventory: Inventory = serde_json::from_slice(json).map_err(|e| {
            self.is_none("it is JSON, and not of an S3 inventory")
                .because(e)
        })?;
        if inventory.format != "CSV" {
            return Err(Error::usage(format!(
                "{} is an S3 inventory whose files are {}",
                self.location, inventory.format
            ))
            .hint("have the inventory made as CSV, or list the objects, one URI a line"));
        }
        let names: Vec<&str> = inventory.schema.split(',').map(str::trim).collect();
        let at = |name: &str| names.iter().position(|n| *n == name);
        let (Some(bucket), Some(key)) = (at("Bucket"), at("Key")) else {
            return Err(self.is_none("its fileSchema has no Bucket and Key"));
        };
        // An ARN, arn:aws:s3:::BUCKET.
        let destination = inventory.destination.rsplit(':').next().unwrap_or_default();
        let file = |file: InventoryFile| Location::S3 {
            bucket: destination.to_owned(),
            key: file.key,
        };
        Ok(Form::Inventory {
            files: inventory.files.into_iter().map(file).collect(),
            columns: Columns {
                bucket,
                key,
                size: at("Size"),
                etag: at("ETag"),
                is_latest: at("IsLatest"),
                is_deleted: at("IsDeleteMarker"),
            },
        })
    }

    fn is_none(&self, why: &str) -> Error {
        Error::usage(format!("{} is no manifest: {why}", self.location))
            .hint("a manifest has one s3://bucket/key or path a line, or is the manifest.json of an S3 inventory")
    }
}

impl Reading {
    fn of(location: &Location, opened: Box<Opened>) -> Reading {
        Reading {
            name: location.to_string(),
            opened,
            framer: Framer::new(),
            ended: false,
        }
    }
}

/// The object that a line of text names; nothing where it is blank or a comment.
fn of_text(line: &Line<'_>) -> Result<Option<Object>, String> {
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
    let said = || shown(text, 80);
    let text = (!line.is_overlong()).then_some(text);
    let text = text.and_then(|t| std::str::from_utf8(t).ok());
    let location = text.map(str::parse);
    match location {
        Some(Ok(location)) if location != Location::Stdin => Ok(Some(Object {
            location,
            listed: None,
        })),
        _ => Err(format!("{:?} names no object and no file", said())),
    }
}

/// The object that a row of an inventory names; nothing where it is no longer there.
fn of_inventory(line: &Line<'_>, columns: Columns) -> Result<Option<Object>, String> {
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
    let key = decoded(key).ok_or_else(|| format!("{key:?} is no URL-encoded key"))?;
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

/// The fields of a row of CSV.
fn fields(row: &[u8]) -> Vec<String> {
    let mut reader = csv_core::Reader::new();
    let (mut rest, mut fields, mut field) = (row, Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    loop {
        let (result, read, wrote) = reader.read_field(rest, &mut buffer);
        rest = &rest[read..];
        field.extend_from_slice(&buffer[..wrote]);
        match result {
            // At the end of the row there is nothing more: say so.
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

/// A key as it was before it was URL-encoded.
fn decoded(key: &str) -> Option<String> {
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
        let named = |text: &str| of_text(&line(text.as_bytes()));
        let location = |text: &str| named(text).map(|o| o.map(|o| o.location.to_string()));
        assert_eq!(location("s3://b/k\r"), Ok(Some("s3://b/k".into())));
        assert_eq!(location("\u{FEFF}a/b.txt"), Ok(Some("a/b.txt".into())));
        assert_eq!(location("  # x"), Ok(None));
        assert_eq!(location(""), Ok(None));
        for bad in ["-", "s3://b/p/", "https://x/y"] {
            assert!(named(bad).is_err(), "{bad}");
        }
        assert!(of_text(&line(b"\xFF\xFE")).is_err());
    }

    #[test]
    fn a_row_of_an_inventory_names_an_object_with_its_size_and_tag() {
        let columns = Columns {
            bucket: 0,
            key: 1,
            size: Some(4),
            etag: Some(5),
            is_latest: Some(2),
            is_deleted: Some(3),
        };
        let row = |text: &str| of_inventory(&line(text.as_bytes()), columns);
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
