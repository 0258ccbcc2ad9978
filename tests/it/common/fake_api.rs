//! A fake look-up API over HTTP, with or without TLS.
//!
//! `GET /v1/ALGORITHM/HASH` returns 200 with the item of a known hash, 404 with a JSON
//! object for an unknown one, and 400 for an invalid one. Each response names the
//! query, as CIRCL's does. A fault of the k-th request is a value. The server counts
//! requests and their keys.
//!
//! A request with an invalid hash is a probe, and so is the one after it. Probes have
//! number 0 and a separate count.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

use super::tls;
use super::wire::{Answer, Connection, Server};

/// A fault of one request.
#[derive(Clone, Debug)]
pub enum ApiFault {
    /// This response.
    Answer(Answer),
    /// The connection closes without a response.
    Drop,
    /// No response until the server stops.
    Stall,
    /// The normal response, delayed until so many requests have arrived, or until a
    /// timeout.
    HoldUntil(u64),
}

type Plan = Arc<dyn Fn(u64, &str) -> Option<ApiFault> + Send + Sync>;

/// Counts of the server.
#[derive(Clone, Debug, Default)]
pub struct ApiStats {
    pub requests: u64,
    /// Requests with an invalid hash, and those directly after them.
    pub probes: u64,
    pub connections: u64,
    /// Number of requests by path.
    pub paths: BTreeMap<String, u64>,
    /// Number of requests by value of `x-api-key`; `None` without one.
    pub keys: BTreeMap<Option<String>, u64>,
    /// Arrival time of each request.
    pub times: Vec<Instant>,
}

struct Shared {
    known: BTreeMap<String, Value>,
    key: Option<String>,
    plan: Plan,
    stats: Mutex<ApiStats>,
    /// True if the next request is a probe.
    probing: AtomicBool,
    arrived: Notify,
}

/// The running server.
pub struct FakeApi {
    server: Server,
    shared: Arc<Shared>,
}

impl FakeApi {
    /// Starts a server that knows these upper-case hashes, without faults.
    pub fn start(known: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self::start_with(known, None, |_, _| None)
    }

    /// As [`start`](Self::start), with a required key and a plan of faults. The plan
    /// gets the request's number (from 1, or 0 for a probe) and path.
    pub fn start_with(
        known: impl IntoIterator<Item = (String, Value)>,
        key: Option<&str>,
        plan: impl Fn(u64, &str) -> Option<ApiFault> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            known: known.into_iter().collect(),
            key: key.map(str::to_owned),
            plan: Arc::new(plan),
            stats: Mutex::default(),
            probing: AtomicBool::new(false),
            arrived: Notify::new(),
        });
        let serving = Arc::clone(&shared);
        let server = Server::start(move |connection| Arc::clone(&serving).serve(connection));
        Self { server, shared }
    }

    /// The URL for hashes of `algorithm`.
    pub fn url(&self, algorithm: &str) -> String {
        format!("{}/v1/{algorithm}", self.server.endpoint())
    }

    pub fn stats(&self) -> ApiStats {
        self.shared.stats().clone()
    }

    /// Waits until so many requests have arrived.
    pub fn wait_for(&self, requests: u64) {
        let limit = Instant::now() + Duration::from_secs(60);
        while self.stats().requests < requests {
            assert!(Instant::now() < limit, "{:?}", self.stats().requests);
            std::thread::yield_now();
        }
    }
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, ApiStats> {
        self.stats.lock().expect("no panic")
    }

    async fn serve(self: Arc<Self>, mut connection: Connection) -> io::Result<()> {
        self.stats().connections += 1;
        while let Some(request) = connection.read_request().await? {
            let key = request.header("x-api-key").map(str::to_owned);
            let queried = request.path.rsplit('/').next().unwrap_or_default();
            let is_word = !queried.bytes().all(|b| b.is_ascii_hexdigit());
            let is_probe = self.probing.swap(is_word, Ordering::SeqCst) || is_word;
            let k = {
                let mut stats = self.stats();
                *stats.keys.entry(key.clone()).or_default() += 1;
                if is_probe {
                    stats.probes += 1;
                    0
                } else {
                    stats.requests += 1;
                    stats.times.push(Instant::now());
                    *stats.paths.entry(request.path.clone()).or_default() += 1;
                    stats.requests
                }
            };
            self.arrived.notify_waiters();
            match (self.plan)(k, &request.path) {
                Some(ApiFault::Answer(answer)) => {
                    connection.answer(&answer).await?;
                    continue;
                }
                Some(ApiFault::Drop) => return Ok(()),
                Some(ApiFault::Stall) => std::future::pending().await,
                Some(ApiFault::HoldUntil(wanted)) => {
                    let come = async {
                        loop {
                            let arrived = self.arrived.notified();
                            if self.stats().requests >= wanted {
                                return;
                            }
                            arrived.await;
                        }
                    };
                    let _ = tokio::time::timeout(Duration::from_secs(2), come).await;
                }
                None => {}
            }
            let answer = if self.key.is_some() && self.key != key {
                let message = format!("no such key: {}", key.unwrap_or_default());
                json_answer(401, &json!({ "message": message }))
            } else {
                self.look_up(&request.path)
            };
            connection.answer(&answer).await?;
        }
        Ok(())
    }

    fn look_up(&self, path: &str) -> Answer {
        let Some((_, hash)) = path
            .strip_prefix("/v1/")
            .and_then(|rest| rest.split_once('/'))
        else {
            return Answer::new(404, "<html>Not Found</html>");
        };
        if !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return json_answer(400, &json!({ "message": "no hash", "query": hash }));
        }
        match self.known.get(&hash.to_uppercase()) {
            Some(item) => json_answer(200, item),
            None => json_answer(404, &json!({ "message": "not in any list", "query": hash })),
        }
    }
}

/// A response of pretty-printed JSON.
pub fn json_answer(status: u16, body: &Value) -> Answer {
    Answer::new(status, serde_json::to_vec_pretty(body).expect("JSON"))
        .header("Content-Type", "application/json")
}

/// A TLS proxy in front of a server, with a certificate for `localhost` from a test
/// authority.
pub struct Tls {
    port: u16,
    /// The authority's certificate, in PEM.
    pub ca: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tls {
    pub fn in_front_of(api: &FakeApi) -> Self {
        let tls::Server {
            acceptor,
            authority: ca,
        } = tls::server().expect("certificates");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a local socket");
        let port = listener.local_addr().expect("bound").port();
        let to = api.server.endpoint().replace("http://", "");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("listening");
                let accept = async {
                    loop {
                        let (near, _) = listener.accept().await.expect("a connection");
                        let (acceptor, to) = (acceptor.clone(), to.clone());
                        tokio::spawn(async move {
                            let mut near = acceptor.accept(near).await?;
                            let mut far = TcpStream::connect(to).await?;
                            tokio::io::copy_bidirectional(&mut near, &mut far).await
                        });
                    }
                };
                tokio::select! {
                    _ = stopped => {}
                    () = accept => {}
                }
            });
        });
        Tls {
            port,
            ca,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn url(&self, algorithm: &str) -> String {
        format!("https://localhost:{}/v1/{algorithm}", self.port)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
