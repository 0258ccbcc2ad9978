//! Operations that list objects, in both versions, and the format of their responses.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::local::s3::listing;
use crate::local::s3::listing::{ListQuery, ListStart, Page};
use crate::local::s3::operations::Api;

/// Maximum number of keys on a page, as in S3.
const MAX_KEYS: i32 = 1000;

impl Api {
    /// ListObjectsV2.
    pub(super) async fn list_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input {
            bucket,
            continuation_token,
            delimiter,
            encoding_type,
            max_keys,
            prefix,
            start_after,
            ..
        } = req.input;
        let after = match (&continuation_token, &start_after) {
            (Some(token), _) => ListStart::from_token(token)?,
            (None, start_after) => ListStart::Key(start_after.clone().unwrap_or_default()),
        };
        let query = |max_keys| {
            Ok(ListQuery {
                prefix: prefix.clone().unwrap_or_default(),
                delimiter: delimiter.clone().filter(|d| !d.is_empty()),
                after,
                max_keys,
            })
        };
        let (page, max_keys) = self.list(bucket.clone(), max_keys, query).await?;
        let encode = key_encoder(encoding_type.as_ref());
        let next = page.next.as_ref().map(ListStart::to_token);
        let (contents, common_prefixes) = to_entries(page, encode);
        let count = contents.len() + common_prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix: Some(encode(prefix.unwrap_or_default())),
            delimiter: delimiter.map(encode),
            start_after: start_after.map(encode),
            max_keys: Some(max_keys),
            key_count: i32::try_from(count).ok(),
            is_truncated: Some(next.is_some()),
            continuation_token,
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }

    /// ListObjects, the first version.
    pub(super) async fn list_v1(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let ListObjectsInput {
            bucket,
            delimiter,
            encoding_type,
            marker,
            max_keys,
            prefix,
            ..
        } = req.input;
        let delimiter = delimiter.filter(|d| !d.is_empty());
        let query = |max_keys| {
            let marker = marker.clone().unwrap_or_default();
            // The marker is the key or common prefix that was listed last.
            let after = match &delimiter {
                Some(delimiter) if marker.ends_with(delimiter.as_str()) => {
                    ListStart::Prefix(marker)
                }
                _ => ListStart::Key(marker),
            };
            Ok(ListQuery {
                prefix: prefix.clone().unwrap_or_default(),
                delimiter: delimiter.clone(),
                after,
                max_keys,
            })
        };
        let (page, max_keys) = self.list(bucket.clone(), max_keys, query).await?;
        let encode = key_encoder(encoding_type.as_ref());
        let next = page.next.as_ref().map(|next| {
            let (ListStart::Key(next) | ListStart::Prefix(next)) = next;
            encode(next.clone())
        });
        let (contents, common_prefixes) = to_entries(page, encode);
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(bucket),
            prefix: Some(encode(prefix.unwrap_or_default())),
            delimiter: delimiter.map(encode),
            marker: Some(encode(marker.unwrap_or_default())),
            max_keys: Some(max_keys),
            is_truncated: Some(next.is_some()),
            next_marker: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type,
            ..ListObjectsOutput::default()
        }))
    }

    async fn list(
        &self,
        bucket: String,
        max_keys: Option<i32>,
        query: impl FnOnce(usize) -> S3Result<ListQuery>,
    ) -> S3Result<(Page, i32)> {
        let max_keys = max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
        let max = usize::try_from(max_keys)
            .map_err(|_| s3_error!(InvalidArgument, "max-keys is negative"))?;
        let query = query(max)?;
        let page = self
            .blocking(move |store| listing::list(store, &bucket, &query))
            .await?;
        Ok((page, max_keys))
    }
}

fn key_encoder(encoding: Option<&EncodingType>) -> fn(String) -> String {
    match encoding {
        Some(encoding) if encoding.as_str() == EncodingType::URL => {
            |text| listing::url_encode(&text)
        }
        _ => |text| text,
    }
}

fn to_entries(page: Page, encode: fn(String) -> String) -> (Vec<Object>, Vec<CommonPrefix>) {
    let objects = page.objects.into_iter().map(|(key, version)| Object {
        key: Some(encode(key)),
        e_tag: Some(version.etag()),
        size: i64::try_from(version.len).ok(),
        last_modified: Some(version.modified),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Object::default()
    });
    let prefixes = page.common_prefixes.into_iter().map(|prefix| CommonPrefix {
        prefix: Some(encode(prefix)),
    });
    (objects.collect(), prefixes.collect())
}
