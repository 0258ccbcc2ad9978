//! A fake container credentials endpoint: it returns the current credentials, which a
//! test can change.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::wire::{Answer, Server};

/// Temporary AWS credentials.
#[derive(Clone, Debug)]
pub struct Keys {
    pub access_key_id: String,
    pub secret: String,
    pub token: String,
}

impl Keys {
    /// Credentials that contain `name`.
    pub fn named(name: &str) -> Self {
        Self {
            access_key_id: format!("AKID{name}"),
            secret: format!("secret+of/{name}"),
            token: format!("token+of/{name}"),
        }
    }
}

/// The running server.
#[derive(Debug)]
pub struct FakeCredentials {
    server: Server,
    state: Arc<Mutex<(Keys, u64)>>,
}

impl FakeCredentials {
    /// Serves these keys, valid for an hour.
    pub fn start(keys: Keys) -> Self {
        let state = Arc::new(Mutex::new((keys, 0)));
        let serving = Arc::clone(&state);
        let server = Server::start(move |mut connection| {
            let state = Arc::clone(&serving);
            async move {
                while connection.read_request().await?.is_some() {
                    connection.answer(&answer(&state)).await?;
                }
                Ok(())
            }
        });
        Self { server, state }
    }

    /// Serves these keys from now on.
    pub fn renew(&self, keys: Keys) {
        self.state.lock().expect("the server has not panicked").0 = keys;
    }

    /// Number of requests.
    pub fn request_count(&self) -> u64 {
        self.state.lock().expect("the server has not panicked").1
    }

    /// The URL, for AWS_CONTAINER_CREDENTIALS_FULL_URI.
    pub fn uri(&self) -> String {
        format!("{}/creds", self.server.endpoint())
    }
}

fn answer(state: &Mutex<(Keys, u64)>) -> Answer {
    let mut state = state.lock().expect("the server has not panicked");
    state.1 += 1;
    let keys = &state.0;
    let hour = jiff::SignedDuration::from_hours(1);
    let body = json!({
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret,
        "Token": keys.token,
        "Expiration": (jiff::Timestamp::now() + hour).to_string(),
    });
    Answer::new(200, body.to_string()).header("Content-Type", "application/json")
}
