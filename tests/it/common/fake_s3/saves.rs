//! PutObject and DeleteObject with If-Match and If-None-Match, and their faults.

use bytes::Bytes;

use super::super::wire::{Answer, Request};
use super::{Content, Object, Reply, State, error};

/// A fault of one PUT or DELETE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveFault {
    /// The change is made, but the response is 412, as after a lost first response.
    DoneThen412,
    /// The change is made, but the connection is reset without a response.
    DoneThenReset,
    /// Another client writes these bytes just before.
    After(Bytes),
    /// Another client deletes the object just before.
    AfterDelete,
    /// 409 ConditionalRequestConflict.
    Conflict,
    /// 501 NotImplemented, as from a server without conditional writes.
    NotImplemented,
}

/// A recorded PutObject or DeleteObject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// `PUT` or `DELETE`.
    pub method: String,
    /// The key.
    pub key: String,
    /// The If-Match header as sent.
    pub if_match: Option<String>,
    /// The If-None-Match header as sent.
    pub if_none_match: Option<String>,
    /// Status of the response; 0 without one.
    pub status: u16,
}

impl State {
    /// Responds to a PUT or DELETE.
    pub(super) fn save(&mut self, request: &Request, bucket: &str, key: &str) -> Reply {
        self.saves += 1;
        let fault = self.config.plan.saves.get(&self.saves).cloned();
        let reply = match fault {
            None => Reply::Answer(self.apply_save(request, bucket, key)),
            Some(SaveFault::DoneThen412) => {
                self.apply_save(request, bucket, key);
                Reply::Answer(failed_condition(key))
            }
            Some(SaveFault::DoneThenReset) => {
                self.apply_save(request, bucket, key);
                Reply::Reset
            }
            Some(SaveFault::After(bytes)) => {
                self.set_object(bucket, key, Some(bytes));
                Reply::Answer(self.apply_save(request, bucket, key))
            }
            Some(SaveFault::AfterDelete) => {
                self.set_object(bucket, key, None);
                Reply::Answer(self.apply_save(request, bucket, key))
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

    /// Writes or deletes an object unconditionally.
    fn set_object(&mut self, bucket: &str, key: &str, bytes: Option<Bytes>) -> Option<String> {
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

    /// The response without a fault.
    fn apply_save(&mut self, request: &Request, bucket: &str, key: &str) -> Answer {
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
                let etag = self.set_object(bucket, key, Some(request.body.clone()));
                Answer::new(200, "").header("ETag", etag.unwrap_or_default())
            }
            _ => {
                self.set_object(bucket, key, None);
                Answer::new(204, "")
            }
        }
    }
}

fn failed_condition(key: &str) -> Answer {
    let why = "At least one of the pre-conditions you specified did not hold";
    error(412, "PreconditionFailed", why, key)
}
