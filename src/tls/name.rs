//! Whose a certificate is, and how long it counts.
//!
//! The names are the first DNS name and the first URI (a SPIFFE id, for example) among the subject's
//! alternative names, and the subject's common name where there is exactly one (RFC 5280, 4.1.2.6 and
//! 4.2.1.6). Each keeps the field it stands in: a certificate authority that is constrained in DNS
//! names may write what it likes into the others. Only a certificate that was verified is asked for
//! its names.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::keys::{CertificateField, CertificateName};
use crate::model::time::UnixMillis;

/// Who is at the other end of a connection, as a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The certificate's names, DNS name first; none where none could be read.
    pub names: Vec<CertificateName>,
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
        Peer { names: read.as_ref().map(names).unwrap_or_default(), not_after }
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

fn names(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
    // An error means that the extension is there twice or damaged: then nothing is certain.
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
