//! The server of the commands about tokens, which ask it with the Rust client: it sends a request again whose
//! answer was lost, with the same Idempotency-Key.

use std::time::Duration;

use jeton_client::{Client, Error, IdempotencyKey, NoConnection};

use super::exit::{MISTAKEN, UNANSWERED};
use super::explain;
use super::failure::{ClientError, code_of};
use super::wire::{TIMEOUT, Trust, tls_for};

/// Time for one try of a call, which has [`TIMEOUT`] with all its tries.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// A server.
pub(super) struct Remote {
    pub(super) client: Client,
    /// As the command names it.
    server: String,
}

/// What to do after a change whose outcome is unknown, for the error message.
pub(super) struct Doubt(String);

impl Doubt {
    /// A read changes nothing.
    pub(super) fn none() -> Self {
        Self(String::new())
    }

    /// A change with this key, or one that does no harm when it is repeated.
    pub(super) fn of(key: Option<&IdempotencyKey>) -> Self {
        Self(match key {
            None => "; repeat the command, which does no harm".to_owned(),
            Some(key) => {
                let key = key.as_str();
                format!(
                    "; the same command with --idempotency-key {key} changes nothing twice, and \
                     prints what this one has found"
                )
            }
        })
    }
}

impl Remote {
    /// A client of `server`, which is `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. It connects
    /// with its first call.
    pub(super) fn new(
        server: &str,
        key: Option<String>,
        trust: Trust<'_>,
    ) -> Result<Self, ClientError> {
        let tls = tls_for(server, trust)?;
        let mut builder = Client::builder([server]).deadline(TIMEOUT).try_timeout(TRY_TIMEOUT);
        if let Some(key) = key {
            builder = builder.key(key);
        }
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        let client = builder.build().map_err(ClientError::argument)?;
        Ok(Self { client, server: server.to_owned() })
    }

    /// Why a call to this server failed.
    pub(super) fn failed(&self, error: &Error, doubt: &Doubt) -> ClientError {
        match error {
            Error::Problem(problem) => {
                ClientError::Refused { status: problem.status, detail: problem.detail.clone() }
            }
            Error::Gateway { status: status @ (404 | 405), .. } => {
                ClientError::NoDataListener(*status)
            }
            Error::Malformed(_) => ClientError::Call { said: error.to_string(), code: MISTAKEN },
            Error::Gateway { status, .. } => {
                ClientError::Call { said: error.to_string(), code: code_of(*status) }
            }
            Error::OutcomeUnknown { cause, .. } => {
                let cause = cause.as_deref().map(|cause| self.failed(cause, doubt).to_string());
                let cause = cause.unwrap_or_else(|| error.to_string());
                let said = format!("the outcome is unknown: {cause}{}", doubt.0);
                ClientError::Call { said, code: UNANSWERED }
            }
            Error::NoConnection(why) => {
                let said = format!("{}: {}", self.server, unconnected(why));
                ClientError::Call { said, code: UNANSWERED }
            }
            Error::Deadline => {
                let said = format!("the server did not answer within {} s", TIMEOUT.as_secs());
                ClientError::Call { said, code: UNANSWERED }
            }
            error => ClientError::Call { said: error.to_string(), code: UNANSWERED },
        }
    }
}

/// Why no connection could be opened, and what to do.
fn unconnected(why: &NoConnection) -> String {
    match why {
        NoConnection::Name(error) => explain::name(error),
        NoConnection::Connect(error) => explain::connect(error),
        NoConnection::Handshake(error) => explain::handshake(error),
        other => other.to_string(),
    }
}
