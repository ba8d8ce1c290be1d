//! What rustls reports about the server, as sentences that say what to do.

use rustls::{AlertDescription, CertificateError, Error};

const NO_COMMON: &str = "the server and the harness have no version, cipher or protocol of TLS in \
     common (the harness has TLS 1.2 and 1.3; --http chooses between http/1.1 and h2)";

/// A sentence without names of the library.
#[must_use]
pub fn said(error: &Error) -> String {
    let fixed = match error {
        Error::InvalidCertificate(reason) => return flaw(reason),
        Error::General(text) => return text.clone(),
        Error::AlertReceived(alert) => return alerted(*alert),
        Error::InvalidMessage(_) => {
            "the server does not speak TLS on that port: use the port that does, or http:// or \
             redis:// for this one"
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => NO_COMMON,
        Error::NoCertificatesPresented => "the server shows no certificate",
        Error::InconsistentKeys(_) => "the private key is not the certificate's",
        Error::FailedToGetRandomBytes => "the system gives no random bytes",
        Error::FailedToGetCurrentTime => "the system gives no time",
        _ => "the server does not keep to TLS, or something between alters what it sends",
    };
    fixed.to_owned()
}

/// What is wrong with the server's certificate.
fn flaw(reason: &CertificateError) -> String {
    let what = match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, by this machine's clock: it must be renewed at the server"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, by this machine's clock: one of the two clocks is wrong"
        }
        CertificateError::BadSignature => {
            "is not signed by the CA that is trusted here, though by one of that name: give the CA \
             that signed it with --ca FILE"
        }
        CertificateError::UnknownIssuer => {
            "is signed by nobody who is trusted here: give the CA that signed it with --ca FILE"
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            return format!(
                "the server's certificate is for another name: it has {}; --target must use one of \
                 its names",
                presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
            );
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name: --target must use one of its names"
        }
        CertificateError::Revoked => "is revoked",
        CertificateError::BadEncoding => "is damaged",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is for another purpose than a server's"
        }
        // The library hands on what its verifier said, as a value without a name of its own.
        reason if format!("{reason:?}").contains("CaUsedAsEndEntity") => {
            "is for signing others, not for a server (basicConstraints must be CA:FALSE)"
        }
        _ => "has a signature or a form that does not count",
    };
    format!("the server's certificate {what}")
}

/// A name as it stands in the certificate: the library writes `DnsName("localhost")`.
fn plain(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn alerted(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CertificateRequired => {
            "the server asks for a client's certificate: give --cert FILE and --key FILE"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "the server does not accept the certificate of --cert: it must be signed by a CA that \
             the server trusts, and not be expired"
        }
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => NO_COMMON,
        _ => "the server ended TLS with an alert",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        for (said, shown) in
            [("DnsName(\"a.b\")", "a.b"), ("IpAddress(127.0.0.1)", "127.0.0.1"), ("a.b", "a.b")]
        {
            assert_eq!(plain(said), shown);
        }
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
            let sentence = said(&error);
            // Such as UnknownIssuer: a capital behind a small letter.
            let is_name =
                |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
            assert!(!sentence.as_bytes().windows(2).any(is_name), "{sentence}");
            assert!(sentence.contains("server"), "{sentence}");
        }
    }
}
