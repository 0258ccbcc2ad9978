//! Fake services of temporary credentials: STS (AssumeRole and
//! AssumeRoleWithWebIdentity) and the portal of IAM Identity Center.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::fake_credentials::Keys;
use super::wire::{Answer, Request, Server, percent_decode};

/// A request for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialRequest {
    /// `AssumeRole`, `AssumeRoleWithWebIdentity` or `GetRoleCredentials`.
    pub action: String,
    /// The role's ARN, or its name at the portal.
    pub role: String,
    /// Access key of the signature.
    pub signer: Option<String>,
    /// Token in place of a signature.
    pub token: Option<String>,
}

#[derive(Debug)]
struct State {
    keys: Keys,
    denied: bool,
    requests: Vec<CredentialRequest>,
}

/// The running server.
#[derive(Debug)]
pub struct FakeSignIn {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl FakeSignIn {
    /// Returns these keys to every client, valid for an hour.
    pub fn start(keys: Keys) -> Self {
        Self::start_with(keys, false)
    }

    /// Denies every request.
    pub fn denying() -> Self {
        Self::start_with(Keys::named("NONE"), true)
    }

    fn start_with(keys: Keys, denied: bool) -> Self {
        let state = Arc::new(Mutex::new(State {
            keys,
            denied,
            requests: Vec::new(),
        }));
        let serving = Arc::clone(&state);
        let server = Server::start(move |mut connection| {
            let state = Arc::clone(&serving);
            async move {
                while let Some(request) = connection.read_request().await? {
                    let answer = state
                        .lock()
                        .expect("the server has not panicked")
                        .answer(&request);
                    connection.answer(&answer).await?;
                }
                Ok(())
            }
        });
        Self { server, state }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<CredentialRequest> {
        let state = self.state.lock().expect("the server has not panicked");
        state.requests.clone()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        if request.path == "/federation/credentials" {
            return self.portal(request);
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let field = |name: &str| {
            let mut fields = body.split('&').filter_map(|f| f.split_once('='));
            let found = fields.find(|(n, _)| *n == name);
            found.map(|(_, value)| percent_decode(value))
        };
        let action = field("Action").unwrap_or_default();
        self.requests.push(CredentialRequest {
            action: action.clone(),
            role: field("RoleArn").unwrap_or_default(),
            signer: request.signer().map(|(key, _)| key),
            token: field("WebIdentityToken"),
        });
        let xml = "text/xml";
        if self.denied {
            let why = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole";
            let body = format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>AccessDenied</Code><Message>{why}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            );
            return Answer::new(403, body).header("Content-Type", xml);
        }
        let keys = &self.keys;
        let hour = jiff::SignedDuration::from_hours(1);
        let body = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
             <Expiration>{:.0}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId>\
             <Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser></{action}Result>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>",
            keys.access_key_id,
            keys.secret,
            keys.token,
            jiff::Timestamp::now() + hour,
        );
        Answer::new(200, body).header("Content-Type", xml)
    }

    fn portal(&mut self, request: &Request) -> Answer {
        self.requests.push(CredentialRequest {
            action: "GetRoleCredentials".to_owned(),
            role: request.parameter("role_name").unwrap_or_default(),
            signer: None,
            token: request.header("x-amz-sso_bearer_token").map(str::to_owned),
        });
        if self.denied {
            let body = json!({ "message": "Session token not found or invalid" });
            return Answer::new(401, body.to_string())
                .header("Content-Type", "application/json")
                .header("x-amzn-ErrorType", "UnauthorizedException");
        }
        let keys = &self.keys;
        let hour = jiff::SignedDuration::from_hours(1);
        let body = json!({ "roleCredentials": {
            "accessKeyId": keys.access_key_id,
            "secretAccessKey": keys.secret,
            "sessionToken": keys.token,
            "expiration": (jiff::Timestamp::now() + hour).as_millisecond(),
        } });
        Answer::new(200, body.to_string()).header("Content-Type", "application/json")
    }
}
