//! Whose a certificate is, and how long it counts.
//!
//! The name is the first DNS name among the subject's alternative names, else the first URI there
//! (a SPIFFE id, for example), else the subject's common name where there is exactly one (RFC 5280,
//! 4.1.2.6 and 4.2.1.6). It is compared byte for byte. Only a certificate that was verified is asked
//! for its name.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::time::UnixMillis;

/// Who is at the other end of a connection, as a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The certificate's name; `None` where it has none that could be read.
    pub name: Option<String>,
    /// From then on the certificate counts no more.
    pub not_after: UnixMillis,
}

impl Peer {
    /// Who has this certificate, which was verified.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Peer {
        // What can't be read here has no name, and ends before it began.
        let read = read(certificate);
        let not_after = read.as_ref().map_or(UnixMillis(0), |read| millis(read.validity.not_after));
        Peer { name: read.as_ref().and_then(name), not_after }
    }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(certificate) {
        Ok(([], read)) => Some(read),
        Ok(_) | Err(_) => None,
    }
}

/// True where it can be read.
pub(super) fn is_certificate(certificate: &CertificateDer<'_>) -> bool {
    read(certificate).is_some()
}

/// From when to when it counts.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(UnixMillis, UnixMillis)> {
    let validity = &read(certificate)?.validity;
    Some((millis(validity.not_before), millis(validity.not_after)))
}

fn millis(time: ASN1Time) -> UnixMillis {
    let secs = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixMillis(secs.saturating_mul(1000)).min(UnixMillis::MAX)
}

fn name(certificate: &X509Certificate<'_>) -> Option<String> {
    // An error means that the extension is there twice or damaged: then nothing is certain.
    let alternatives = certificate.subject_alternative_name().ok()?;
    let alternatives = alternatives.map_or(&[][..], |names| &names.value.general_names);
    let dns = alternatives.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let uri = || {
        alternatives.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
    };
    let name = dns.or_else(uri).or_else(|| common_name(certificate));
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then_some(name)
}
