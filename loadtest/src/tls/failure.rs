//! Why TLS failed, as an error of I/O that a reader can ask for its reason.

use std::io::ErrorKind;
use std::time::Duration;

use super::said::said;
use crate::denial::Denial;

/// Why TLS failed, as an error of I/O; see [`denial`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TlsFailure(Denial);

/// What rustls reports, as an error of the connection.
pub(super) fn io_error(error: &rustls::Error) -> std::io::Error {
    tls_error(said(error))
}

/// A reason, as an error of the connection.
pub(super) fn tls_error(denial: Denial) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, TlsFailure(denial))
}

/// Why TLS ended a connection (certificates, versions, alerts), where it did.
pub fn denial(error: &std::io::Error) -> Option<&Denial> {
    error.get_ref()?.downcast_ref::<TlsFailure>().map(|failure| &failure.0)
}

/// A handshake that was not done in time.
pub fn slow(limit: Duration) -> std::io::Error {
    tls_error(Denial::TlsSlow(limit))
}
