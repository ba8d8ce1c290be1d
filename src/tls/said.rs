//! What the TLS library reports, as sentences: its own texts quote the names of its values.

use rustls::{AlertDescription, CertificateError, Error};

/// A sentence without names of the library. It is about the other side of a connection, or about a
/// certificate that was read.
#[must_use]
pub fn said(error: &Error) -> String {
    let fixed = match error {
        Error::InvalidCertificate(reason) => return format!("the certificate {}", flaw(reason)),
        Error::General(text) => return text.clone(),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) => "what answers there does not speak TLS",
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            "the other side has no version or cipher of TLS in common with this one (1.2 or 1.3)"
        }
        Error::NoCertificatesPresented => "the other side shows no certificate",
        Error::InconsistentKeys(_) => "the private key is not the certificate's",
        Error::FailedToGetRandomBytes => "the system gives no random bytes",
        Error::FailedToGetCurrentTime => "the system gives no time",
        _ => "the other side does not keep to TLS, or something between alters what it sends",
    };
    fixed.to_owned()
}

/// What is wrong with a certificate; continues a sentence that begins with it.
fn flaw(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, by this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, by this machine's clock"
        }
        CertificateError::UnknownIssuer => "is signed by nobody who is trusted here",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Revoked => "is revoked",
        CertificateError::BadEncoding => "is damaged",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is for another purpose"
        }
        // The library hands on what its verifier said, as a value without a name of its own.
        reason if format!("{reason:?}").contains("CaUsedAsEndEntity") => {
            "is for signing others, not for a server: openssl needs -addext \
             basicConstraints=critical,CA:FALSE"
        }
        _ => "has a signature or a form that does not count",
    }
}

fn alerted(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            "the other side asks for a client's certificate: give --cert and --key"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "the other side does not accept the certificate that was shown to it"
        }
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => {
            "the other side has no version or cipher of TLS in common with this one (1.2 or 1.3)"
        }
        AlertDescription::InternalError => {
            "the other side ended the handshake: it may have no place for another connection"
        }
        _ => "the other side ended the handshake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{InvalidMessage, PeerIncompatible};

    #[test]
    fn a_sentence_has_no_name_of_the_library() {
        let certificate = |reason| Error::InvalidCertificate(reason);
        for error in [
            certificate(CertificateError::UnknownIssuer),
            certificate(CertificateError::Expired),
            certificate(CertificateError::BadSignature),
            certificate(CertificateError::UnhandledCriticalExtension),
            Error::AlertReceived(AlertDescription::CertificateRequired),
            Error::AlertReceived(AlertDescription::UnknownCA),
            Error::AlertReceived(AlertDescription::UserCanceled),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::DecryptError,
        ] {
            let sentence = said(&error);
            // Such as UnknownIssuer: a capital behind a small letter.
            let words = sentence.as_bytes().windows(2);
            let is_name =
                |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
            let is_plain = !words.into_iter().any(is_name) || sentence.contains("basicConstraints");
            assert!(is_plain && sentence.len() > 20, "{sentence}");
        }
    }
}
