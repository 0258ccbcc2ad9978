//! PutObject and DeleteObject with If-Match and If-None-Match, and what befalls them.

use bytes::Bytes;

use super::super::wire::{Answer, Request};
use super::{Content, Object, Reply, State, error};

/// What befalls one PUT or DELETE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveFault {
    /// It is done, and answered by 412: the answer to a first try that was lost.
    DoneThen412,
    /// It is done, and the connection is reset instead of an answer.
    DoneThenReset,
    /// Another client puts these bytes there just before it.
    After(Bytes),
    /// Another client takes the object away just before it.
    AfterDelete,
    /// 409 ConditionalRequestConflict.
    Conflict,
    /// 501 NotImplemented, as of a server that knows no conditions.
    NotImplemented,
}

/// One PutObject or DeleteObject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// `PUT` or `DELETE`.
    pub method: String,
    /// The key.
    pub key: String,
    /// The If-Match header, as it was sent.
    pub if_match: Option<String>,
    /// The If-None-Match header, as it was sent.
    pub if_none_match: Option<String>,
    /// The status it was answered with; 0 when it wasn't.
    pub status: u16,
}

impl State {
    /// Answers a PUT or DELETE of an object.
    pub(super) fn save(&mut self, request: &Request, bucket: &str, key: &str) -> Reply {
        self.saves += 1;
        let fault = self.config.plan.saves.get(&self.saves).cloned();
        let reply = match fault {
            None => Reply::Answer(self.saved(request, bucket, key)),
            Some(SaveFault::DoneThen412) => {
                self.saved(request, bucket, key);
                Reply::Answer(failed_condition(key))
            }
            Some(SaveFault::DoneThenReset) => {
                self.saved(request, bucket, key);
                Reply::Reset
            }
            Some(SaveFault::After(bytes)) => {
                self.object(bucket, key, Some(bytes));
                Reply::Answer(self.saved(request, bucket, key))
            }
            Some(SaveFault::AfterDelete) => {
                self.object(bucket, key, None);
                Reply::Answer(self.saved(request, bucket, key))
            }
            Some(SaveFault::Conflict) => {
                let why = "The conditional request cannot succeed due to a conflicting operation \
                           against this resource.";
                Reply::Answer(error(409, "ConditionalRequestConflict", why, key))
            }
            Some(SaveFault::NotImplemented) => {
                let why = "A header you provided implies functionality that is not implemented";
                Reply::Answer(error(501, "NotImplemented", why, key))
            }
        };
        let header = |name: &str| request.header(name).map(str::to_owned);
        self.stats.saves.push(Save {
            method: request.method.clone(),
            key: key.to_owned(),
            if_match: header("if-match"),
            if_none_match: header("if-none-match"),
            status: match &reply {
                Reply::Answer(answer) => answer.status,
                _ => 0,
            },
        });
        reply
    }

    /// Puts or removes an object, whatever is there.
    fn object(&mut self, bucket: &str, key: &str, bytes: Option<Bytes>) -> Option<String> {
        let objects = self.config.buckets.get_mut(bucket)?;
        match bytes {
            Some(bytes) => {
                let object = Object::new(Content::Bytes(bytes));
                let etag = object.etag.clone();
                objects.insert(key.to_owned(), object);
                Some(etag)
            }
            None => objects.remove(key).map(|o| o.etag),
        }
    }

    /// The answer of a server with which nothing is wrong.
    fn saved(&mut self, request: &Request, bucket: &str, key: &str) -> Answer {
        let Some(objects) = self.config.buckets.get(bucket) else {
            let why = "The specified bucket does not exist";
            return error(404, "NoSuchBucket", why, "");
        };
        let etag = objects.get(key).map(|o| o.etag.clone());
        let bare = |tag: &str| tag.trim_matches('"').to_owned();
        match (request.header("if-match"), &etag) {
            (Some(_), None) => {
                return error(404, "NoSuchKey", "The specified key does not exist.", key);
            }
            (Some(wanted), Some(etag)) if bare(wanted) != bare(etag) => {
                return failed_condition(key);
            }
            _ => {}
        }
        if request.header("if-none-match") == Some("*") && etag.is_some() {
            return failed_condition(key);
        }
        match request.method.as_str() {
            "PUT" => {
                let etag = self.object(bucket, key, Some(request.body.clone()));
                Answer::new(200, "").header("ETag", etag.unwrap_or_default())
            }
            _ => {
                self.object(bucket, key, None);
                Answer::new(204, "")
            }
        }
    }
}

fn failed_condition(key: &str) -> Answer {
    let why = "At least one of the pre-conditions you specified did not hold";
    error(412, "PreconditionFailed", why, key)
}
