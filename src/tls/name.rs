//! Names and validity of a certificate.
//!
//! The names are the first DNS name and the first URI (a SPIFFE id, for example) among the
//! subject's alternative names, and the subject's common name if there is exactly one (RFC 5280,
//! 4.1.2.6 and 4.2.1.6). Each name keeps its field: a certificate authority that is constrained in
//! DNS names can put any text into the other fields. Names are read only from verified
//! certificates.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::keys::{CertificateField, CertificateName};
use crate::model::time::UnixMillis;

/// The peer of a connection, as identified by its verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The certificate's names, DNS name first; empty if none could be read.
    pub names: Vec<CertificateName>,
    /// Expiry of the certificate.
    pub not_after: UnixMillis,
}

impl Peer {
    /// The peer with this verified certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        // A certificate that can't be parsed here has no name and counts as expired.
        let read = read(certificate);
        let not_after = read.as_ref().map_or(UnixMillis(0), |read| millis(read.validity.not_after));
        Self { names: read.as_ref().map(names).unwrap_or_default(), not_after }
    }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(certificate) {
        Ok(([], read)) => Some(read),
        Ok(_) | Err(_) => None,
    }
}

/// Whether the certificate can be parsed.
pub(super) fn is_certificate(certificate: &CertificateDer<'_>) -> bool {
    read(certificate).is_some()
}

/// The validity period of a certificate.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(UnixMillis, UnixMillis)> {
    let validity = &read(certificate)?.validity;
    Some((millis(validity.not_before), millis(validity.not_after)))
}

fn millis(time: ASN1Time) -> UnixMillis {
    let secs = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixMillis(secs.saturating_mul(1000)).min(UnixMillis::MAX)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
    // An error means that the extension is repeated or damaged; then no name is used.
    let Ok(alternatives) = certificate.subject_alternative_name() else { return Vec::new() };
    let alternatives = alternatives.map_or(&[][..], |names| &names.value.general_names);
    let dns = alternatives.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let uri = alternatives.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let fields = [
        (CertificateField::Dns, dns),
        (CertificateField::Uri, uri),
        (CertificateField::CommonName, common_name(certificate)),
    ];
    let named = fields.into_iter().filter_map(|(field, name)| Some((field, name?)));
    let named = named.filter(|(_, name)| !name.is_empty());
    named.map(|(field, name)| CertificateName { field, name: name.to_owned() }).collect()
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then_some(name)
}
