//! The platform: servers that already run, or one that the example starts and ends.
//!
//! The example's server is jeton as a library: an engine that keeps a log and syncs it before it
//! answers, and the workers that serve it. The parties use it over HTTP like any other.

use std::fmt;

use jeton::engine::{Config, Engine};
use jeton::http::{self, Server};
use jeton::net::listen;
use tempfile::TempDir;

use crate::Outcome;

/// The server that the parties use.
pub struct Platform {
    /// Host and port of each.
    servers: Vec<String>,
    own: Option<Own>,
}

/// A server in this process, and the folder of its log, which is removed with it.
struct Own {
    server: Server,
    engine: Engine,
    data_dir: TempDir,
}

impl Platform {
    /// The servers at `urls`, which already run.
    pub fn running(urls: &[String]) -> Outcome<Self> {
        let address = |url: &String| {
            let address = url
                .trim()
                .strip_prefix("http://")
                .ok_or_else(|| format!("--server must begin with http://, and {url:?} does not"))?;
            Ok(address.trim_end_matches('/').to_owned())
        };
        Ok(Self { servers: urls.iter().map(address).collect::<Outcome<_>>()?, own: None })
    }

    /// Starts a server with the usual settings, on a free port and with a log of its own.
    pub fn start() -> Outcome<Self> {
        let data_dir = TempDir::with_prefix("jeton-checkout-")?;
        let engine = Engine::open(Config::at(data_dir.path()))?;
        let serving = http::Config::default();
        let listeners = listen::bind(&"127.0.0.1:0".parse()?, serving.workers)?;
        let server = Server::start(&engine, &serving, listeners)?;
        let servers = vec![server.address().to_string()];
        Ok(Self { servers, own: Some(Own { server, engine, data_dir }) })
    }

    /// Host and port of each server.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// Ends the example's server: every request is answered, and its log is removed from disk.
    pub fn stop(self) -> Outcome<()> {
        if let Some(Own { server, engine, data_dir }) = self.own {
            server.stop()?;
            engine.close()?;
            data_dir.close()?;
        }
        Ok(())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose =
            if self.own.is_some() { "started for this checkout" } else { "running already" };
        write!(f, "platform at http://{}, {whose}", self.servers.join(", http://"))
    }
}
