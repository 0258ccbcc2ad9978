//! Members of a ZIP archive, by its table of contents at the end of the object.

use crate::aws::config::Aws;
use crate::base::error::Result;
use crate::source::decompress::zip;
use crate::source::location::Location;
use crate::source::open::Source;
use crate::source::version::ObjectVersion;

/// The members of the ZIP archive at `location`, by its table of contents; nothing
/// where that cannot be read out of turn, or is none: then the archive itself shows
/// them as it is read.
pub(super) async fn members(
    location: &Location,
    aws: &Aws,
    object: &ObjectVersion,
) -> Result<Option<Vec<String>>> {
    let Some(length) = object.bytes.filter(|_| object.is_known()) else {
        return Ok(None);
    };
    let from = length.saturating_sub(zip::TAIL_BYTES);
    let tail = part(location, aws, object, from, length - from).await?;
    let mut place = zip::place(&tail);
    if let Some(zip::Place::EndRecord64(at)) = place {
        let record = match at < length {
            true => part(location, aws, object, at, 56).await?,
            false => Vec::new(),
        };
        place = zip::place_64(&record);
    }
    let Some(zip::Place::At(at, size)) = place else {
        return Ok(None);
    };
    if size > zip::MAX_DIRECTORY_BYTES || at.checked_add(size).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let directory = match usize::try_from(at.wrapping_sub(from)) {
        // It mostly is in the tail.
        Ok(start) if at >= from && size <= length - at => {
            tail.get(start..start + size as usize).map(<[u8]>::to_vec)
        }
        _ => Some(part(location, aws, object, at, size).await?),
    };
    Ok(directory.and_then(|d| zip::names(&d)))
}

/// `length` bytes of the source from `from` on; fewer when it ends before.
async fn part(
    location: &Location,
    aws: &Aws,
    object: &ObjectVersion,
    from: u64,
    length: u64,
) -> Result<Vec<u8>> {
    let mut source = Source::open_again(location, aws, object, from).await?;
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
