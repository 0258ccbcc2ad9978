//! The embedded DynamoDB: the `dynoxide` engine over a SQLite file.
//!
//! The engine brings its own HTTP server with the DynamoDB protocol. It allows every web
//! page to read its answers, so it stands behind [`crate::local::front`], and each connection of a
//! client has a separate one to the engine. One lock guards the
//! SQLite connection, so requests are served one after the other however many
//! connections there are. The maximum is some 12,000 items a second.
//!
//! Not implemented: throttling, ImportTable, DescribeLimits, backups. It
//! requires signed requests, but accepts any credentials and any region.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use dynoxide::Database;
use http::{Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::local::error::LocalError;
use crate::local::front::{BoxError, HttpResponse, Service, answer};
use crate::local::server::listen;

/// Content type of DynamoDB's responses.
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Opens the database file of a folder, or creates it.
pub(super) fn open(dir: &Path) -> Result<Database, LocalError> {
    let path = dir.join("dynamodb.db");
    let Some(name) = path.to_str() else {
        return Err(LocalError::PathNotUtf8 { path });
    };
    // Despite its name the call is what makes writing fast: it lets SQLite leave
    // the syncing of each commit to the write-ahead log's checkpoints. The mode
    // it "restores" is set nowhere else.
    Database::new(name)
        .and_then(|database| database.disable_bulk_loading().map(|()| database))
        .map_err(|error| LocalError::Database {
            path: path.clone(),
            message: error.to_string(),
        })
}

/// Serves until `stop`, then waits a limited time for running requests.
pub(super) async fn serve(listener: TcpListener, database: Database, stop: CancellationToken) {
    let tables = || Tables {
        database: database.clone(),
        engine: Mutex::new(None),
    };
    crate::local::front::serve(listener, tables, stop).await;
}

/// The tables, for one connection of a client.
struct Tables {
    database: Database,
    /// Connection to the engine; `None` before the first request.
    engine: Mutex<Option<Engine>>,
}

/// A connection to the engine's own HTTP server.
struct Engine {
    sender: SendRequest<Either<Incoming, Empty<Bytes>>>,
    /// Stops the engine's server when the client disconnects.
    _end: DropGuard,
}

impl Tables {
    async fn ask(&self, request: Request<Incoming>) -> Result<Response<Incoming>, BoxError> {
        let mut engine = self.engine.lock().await;
        if let Some(open) = engine.as_mut()
            && open.sender.ready().await.is_err()
        {
            *engine = None;
        }
        let engine = match &mut *engine {
            Some(open) => open,
            none => none.insert(Engine::open(self.database.clone(), listen(0)?).await?),
        };
        let request = request.map(Either::Left);
        Ok(engine.sender.send_request(request).await?)
    }
}

impl Engine {
    /// Opens a connection to the engine. Its server needs a port to take connections
    /// from, and would serve web pages there. So `listener` exists for this connection
    /// only, and closes as soon as the engine responds.
    async fn open(
        database: Database,
        (listener, address): (TcpListener, SocketAddr),
    ) -> Result<Engine, BoxError> {
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        let server = dynoxide::server::serve_with_shutdown(listener, database, ended);
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let health = Request::get("/")
                .header(header::HOST, "localhost")
                .body(Either::Right(Empty::new()))?;
            let answer = sender.send_request(health).await?;
            answer.into_body().collect().await?;
            Ok::<_, BoxError>(sender)
        };
        // Its connections are separate tasks, which outlive the accept loop.
        let sender = tokio::select! {
            ended = server => {
                let why = ended.err();
                return Err(why.unwrap_or_else(|| "its server ended".to_owned()).into());
            }
            connected = connect => connected?,
        };
        Ok(Engine {
            sender,
            _end: end.drop_guard(),
        })
    }
}

impl Service for Tables {
    const NAME: &'static str = "DynamoDB";

    async fn handle(&self, mut request: Request<Incoming>) -> HttpResponse {
        // These headers concern only the client's connection.
        for name in [header::CONNECTION, header::EXPECT, header::UPGRADE] {
            request.headers_mut().remove(name);
        }
        *request.version_mut() = Version::HTTP_11;
        if let Some(target) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(target);
        }
        match self.ask(request).await {
            Ok(mut answer) => {
                answer.headers_mut().remove(header::CONNECTION);
                answer.map(|body| body.map_err(BoxError::from).boxed_unsync())
            }
            Err(error) => {
                tracing::error!(error, "the local DynamoDB server failed on a request");
                let body = error_body("InternalServerError", "the engine does not respond");
                answer(StatusCode::INTERNAL_SERVER_ERROR, CONTENT_TYPE, body)
            }
        }
    }

    fn access_denied(message: &str) -> (&'static str, String) {
        (CONTENT_TYPE, error_body("AccessDeniedException", message))
    }
}

fn error_body(code: &str, message: &str) -> String {
    let code = format!("com.amazon.coral.service#{code}");
    serde_json::json!({"__type": code, "message": message}).to_string()
}

#[cfg(test)]
mod tests;
