//! The embedded servers of `--local`: their start and their endpoints.

use crate::aws::config::LocalEndpoints;
use crate::base::error::{Error, Result};
use crate::local::access::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::local::servers::{LocalOptions, LocalServers};
use std::path::Path;

/// Starts the servers with their data in `dir`. Port 0 is any free port.
pub(super) fn start(dir: &Path, s3_port: u16, dynamodb_port: u16) -> Result<LocalServers> {
    LocalServers::start(LocalOptions {
        dir: dir.to_owned(),
        s3_port,
        dynamodb_port,
    })
    .map_err(|e| Error::usage(e.to_string()))
}

/// Endpoints and credentials for clients of the servers.
pub(super) fn endpoints(servers: &LocalServers) -> LocalEndpoints {
    LocalEndpoints {
        folder: servers.dir().display().to_string(),
        s3: servers.s3_endpoint().to_owned(),
        dynamodb: servers.dynamodb_endpoint().to_owned(),
        region: REGION.to_owned(),
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: SECRET_ACCESS_KEY.to_owned(),
    }
}
