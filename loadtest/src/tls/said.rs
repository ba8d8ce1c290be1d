//! What rustls reports about the server, as a reason that says what to do.

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use crate::denial::{Denial, Flaw};

/// The reason, whose text has no names of the library.
#[must_use]
pub fn said(error: &Error) -> Denial {
    let other = match error {
        Error::InvalidCertificate(reason) => return Denial::Certificate(flaw(reason)),
        Error::AlertReceived(alert) => return alerted(*alert),
        Error::InvalidMessage(_) => return Denial::NotTls,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => return Denial::NoCommonTls,
        Error::NoCertificatesPresented => return Denial::NoCertificate,
        Error::InconsistentKeys(_) => return Denial::KeyOfAnother,
        Error::General(text) => text.as_str(),
        Error::FailedToGetRandomBytes => "the system gives no random bytes",
        Error::FailedToGetCurrentTime => "the system gives no time",
        _ => "the server does not keep to TLS, or something between alters what it sends",
    };
    Denial::Tls(other.to_owned())
}

/// What is wrong with the server's certificate.
fn flaw(reason: &CertificateError) -> Flaw {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Flaw::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Flaw::NotYetValid
        }
        CertificateError::BadSignature => Flaw::OtherSigner,
        CertificateError::UnknownIssuer => Flaw::UnknownSigner,
        CertificateError::NotValidForName => Flaw::OtherName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            Flaw::OtherName(presented.iter().map(|name| plain(name).to_owned()).collect())
        }
        CertificateError::Revoked => Flaw::Revoked,
        CertificateError::BadEncoding => Flaw::Damaged,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Flaw::OtherPurpose
        }
        // The library passes its verifier's error through.
        CertificateError::Other(error) if is_ca_of_server(error) => Flaw::SignersOwn,
        _ => Flaw::Other,
    }
}

fn is_ca_of_server(error: &OtherError) -> bool {
    matches!(error.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// A name as it stands in the certificate: the library writes `DnsName("localhost")`.
fn plain(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn alerted(alert: AlertDescription) -> Denial {
    match alert {
        AlertDescription::CertificateRequired => Denial::CertificateWanted,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => Denial::CertificateRefused,
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => Denial::NoCommonTls,
        _ => Denial::TlsAlert,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        for (said, shown) in
            [("DnsName(\"a.b\")", "a.b"), ("IpAddress(127.0.0.1)", "127.0.0.1"), ("a.b", "a.b")]
        {
            assert_eq!(plain(said), shown);
        }
    }

    /// What the verifier that is in use says of it.
    #[test]
    fn a_ca_in_the_place_of_a_server_is_a_flaw_of_its_own() {
        let mut of_ca = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        of_ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = of_ca.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from("localhost").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000));
        let refused =
            verifier.build().unwrap().verify_server_cert(cert.der(), &[], &name, &[], now);
        assert_eq!(said(&refused.unwrap_err()), Denial::Certificate(Flaw::SignersOwn));
    }

    #[test]
    fn a_sentence_has_no_name_of_the_library() {
        let certificate = |reason| Error::InvalidCertificate(reason);
        for error in [
            certificate(CertificateError::UnknownIssuer),
            certificate(CertificateError::Expired),
            certificate(CertificateError::NotValidForName),
            certificate(CertificateError::BadSignature),
            certificate(CertificateError::UnhandledCriticalExtension),
            Error::AlertReceived(AlertDescription::CertificateRequired),
            Error::AlertReceived(AlertDescription::UnknownCA),
            Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            Error::AlertReceived(AlertDescription::UserCanceled),
            Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            Error::DecryptError,
        ] {
            let denial = said(&error);
            assert!(denial.is_of_tls(), "{denial:?}");
            let sentence = denial.to_string();
            // Such as UnknownIssuer: a capital behind a small letter.
            let is_name =
                |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
            assert!(!sentence.as_bytes().windows(2).any(is_name), "{sentence}");
            assert!(sentence.contains("server"), "{sentence}");
        }
    }
}
