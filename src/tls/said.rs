//! Sentences for the errors of rustls, whose own messages contain names of its Rust types.

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// A sentence about the peer of a connection, or about a certificate that was read.
#[must_use]
pub fn said(error: &Error) -> String {
    let fixed = match error {
        Error::InvalidCertificate(reason) => return format!("the certificate {}", flaw(reason)),
        Error::General(text) => return text.clone(),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) => "the peer does not speak TLS",
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            "the peer has no TLS version (1.2 or 1.3) or cipher suite in common with this side"
        }
        Error::NoCertificatesPresented => "the peer presented no certificate",
        Error::InconsistentKeys(_) => "the private key does not belong to the certificate",
        Error::FailedToGetRandomBytes => "the operating system returned no random bytes",
        Error::FailedToGetCurrentTime => "the operating system returned no time",
        _ => "the peer violates the TLS protocol, or a device in between alters the data",
    };
    fixed.to_owned()
}

/// The flaw of a certificate, as the end of a sentence that begins with "the certificate".
fn flaw(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, by this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, by this machine's clock"
        }
        CertificateError::UnknownIssuer => "is not signed by a trusted CA",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Revoked => "is revoked",
        CertificateError::BadEncoding => "is damaged",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is for another purpose"
        }
        CertificateError::Other(error) if is_ca_of_server(error) => {
            "is a CA certificate and not one for a server: openssl needs -addext \
             basicConstraints=critical,CA:FALSE"
        }
        _ => "has an invalid signature or form",
    }
}

/// Whether the verifier, whose error rustls passes through, found a CA in the place of a server.
fn is_ca_of_server(error: &OtherError) -> bool {
    matches!(error.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn alerted(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            "the peer requires a client certificate: give --cert and --key"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => "the peer rejected the certificate",
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => {
            "the peer has no TLS version (1.2 or 1.3) or cipher suite in common with this side"
        }
        AlertDescription::InternalError => {
            "the peer ended the handshake: it may have reached its maximum of connections"
        }
        _ => "the peer ended the handshake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{InvalidMessage, PeerIncompatible};
    use std::sync::Arc;
    use std::time::Duration;

    /// What the verifier that is in use says of a CA in the place of a server.
    #[test]
    fn a_ca_in_the_place_of_a_server_is_named_with_the_remedy() {
        let mut of_ca = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        of_ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = of_ca.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::super::provider());
        let (name, now) =
            (ServerName::try_from("localhost").unwrap(), Duration::from_secs(2_000_000_000));
        let now = UnixTime::since_unix_epoch(now);
        let refused =
            verifier.build().unwrap().verify_server_cert(cert.der(), &[], &name, &[], now);
        let said = said(&refused.unwrap_err());
        assert!(said.contains("is a CA certificate"), "{said}");
    }

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
            // Such as UnknownIssuer: a capital after a small letter.
            let words = sentence.as_bytes().windows(2);
            let is_name =
                |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
            let is_plain = !words.into_iter().any(is_name);
            assert!(is_plain && sentence.len() > 20, "{sentence}");
        }
    }
}
