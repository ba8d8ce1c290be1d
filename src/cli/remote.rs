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

/// What a command that failed may have done, for the error message.
pub(super) enum Doubt {
    /// Nothing: it reads.
    Read,
    /// A change that does no harm when it is repeated.
    Harmless,
    /// A change with this key.
    Keyed(IdempotencyKey),
}

impl Doubt {
    /// A read changes nothing.
    pub(super) fn none() -> Self {
        Self::Read
    }

    /// A change with this key, or one that does no harm when it is repeated.
    pub(super) fn of(key: Option<&IdempotencyKey>) -> Self {
        key.map_or(Self::Harmless, |key| Self::Keyed(key.clone()))
    }

    /// The key of the command.
    pub(super) fn key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Keyed(key) => Some(key),
            Self::Read | Self::Harmless => None,
        }
    }

    /// What to do where the outcome is unknown.
    fn unknown(&self) -> String {
        match self {
            Self::Read => String::new(),
            Self::Harmless => "; repeat the command, which does no harm".to_owned(),
            Self::Keyed(key) => format!(
                "; {} changes nothing twice, and prints what this one has found",
                same_command(key)
            ),
        }
    }

    /// What to do where a part of a list was done before.
    fn partly(&self) -> String {
        let Self::Keyed(key) = self else { return String::new() };
        format!(
            "; earlier tokens of the list were consumed: {} prints them again and goes on",
            same_command(key)
        )
    }

    /// What became of an answer that cannot be printed.
    pub(super) fn unprinted(&self) -> String {
        let Self::Keyed(key) = self else { return String::new() };
        format!("; uses were taken: {} prints the payloads again", same_command(key))
    }
}

/// With an equals sign: a key may begin with a hyphen.
pub(super) fn same_command(key: &IdempotencyKey) -> String {
    format!("the same command with --idempotency-key={}", key.as_str())
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
        let flags = [("urls", "--server"), ("key", "--key-file")];
        let client = builder.build().map_err(|error| ClientError::argument(&error, &flags))?;
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
                let said = match cause.as_deref() {
                    Some(cause) => format!("the outcome is unknown: {}", self.failed(cause, doubt)),
                    None => error.to_string(),
                };
                ClientError::Call { said: said + &doubt.unknown(), code: UNANSWERED }
            }
            Error::NoAnswer(why)
                if why.contains("HTTP/1.1") && self.server.starts_with("http:") =>
            {
                let said =
                    format!("{}: {why}: should the address begin with https://?", self.server);
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

    /// Why a later request of a list failed, of which earlier ones were performed.
    pub(super) fn failed_later(&self, error: &Error, doubt: &Doubt) -> ClientError {
        let failed = self.failed(error, doubt);
        match error {
            Error::OutcomeUnknown { .. } => failed,
            _ => ClientError::Call {
                said: format!("{failed}{}", doubt.partly()),
                code: failed.code(),
            },
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
