//! Members of a ZIP archive, by the central directory at the end of the object.

use crate::aws::config::Aws;
use crate::base::error::Result;
use crate::source::decompress::zip;
use crate::source::location::Location;
use crate::source::open::OpenSource;
use crate::source::version::ObjectVersion;

/// Reads the names of the members of the ZIP archive at `location` from its central
/// directory. `None` if the directory is invalid, or the source cannot be read from the
/// middle; the stream itself then shows the members.
pub(super) async fn members(
    location: &Location,
    aws: &Aws,
    object: &ObjectVersion,
) -> Result<Option<Vec<String>>> {
    let Some(length) = object.bytes.filter(|_| object.is_comparable()) else {
        return Ok(None);
    };
    let from = length.saturating_sub(zip::TAIL_BYTES);
    let tail = part(location, aws, object, from, length - from).await?;
    let mut place = zip::find_directory(&tail);
    if let Some(zip::DirectoryLocation::EndRecord64(at)) = place {
        let record = match at < length {
            true => part(location, aws, object, at, 56).await?,
            false => Vec::new(),
        };
        place = zip::find_directory_64(&record);
    }
    let Some(zip::DirectoryLocation::At(at, size)) = place else {
        return Ok(None);
    };
    if size > zip::MAX_DIRECTORY_BYTES || at.checked_add(size).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let directory = match usize::try_from(at.wrapping_sub(from)) {
        // The directory is usually in the tail.
        Ok(start) if at >= from && size <= length - at => {
            tail.get(start..start + size as usize).map(<[u8]>::to_vec)
        }
        _ => Some(part(location, aws, object, at, size).await?),
    };
    Ok(directory.and_then(|d| zip::member_names(&d)))
}

/// Reads `length` bytes of the source from offset `from`; fewer if it ends earlier.
async fn part(
    location: &Location,
    aws: &Aws,
    object: &ObjectVersion,
    from: u64,
    length: u64,
) -> Result<Vec<u8>> {
    let mut source = OpenSource::reopen(location, aws, object, from).await?;
    let mut bytes = Vec::new();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    while bytes.len() < length
        && let Some(chunk) = source.next().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(length);
    Ok(bytes)
}
