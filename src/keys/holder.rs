//! Holders of keys, and names of certificates.
//!
//! An `Idempotency-Key` belongs to a holder: the same text from another holder is a different key.
//! A key that replaces another one ([`crate::keys::KeyEntry::holder`]) keeps its holder. A client
//! certificate is a holder by its name. All callers without a key are one holder.

use std::fmt;
use std::str::FromStr;

use super::text::KeyId;

/// Maximum length of a certificate's name, in bytes: that of a host name.
pub const CERTIFICATE_LEN_MAX: usize = 255;

/// The field of a certificate that a name is in. A certificate authority that is constrained to
/// some domains is constrained in DNS names only (RFC 5280, 4.2.1.10), so a name counts only in its
/// field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateField {
    /// The first DNS name among the subject's alternative names.
    Dns,
    /// The first URI among the subject's alternative names, a SPIFFE id for example.
    Uri,
    /// The subject's common name.
    CommonName,
}

impl CertificateField {
    const ALL: [Self; 3] = [Self::Dns, Self::Uri, Self::CommonName];

    fn prefix(self) -> &'static str {
        match self {
            Self::Dns => "dns:",
            Self::Uri => "uri:",
            Self::CommonName => "cn:",
        }
    }
}

/// A name in a client's certificate. Its text is `dns:NAME`, `uri:NAME` or `cn:NAME`; `NAME` alone
/// is a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateName {
    /// The field of the name.
    pub field: CertificateField,
    /// The name, compared byte for byte.
    pub name: String,
}

/// Why a text is not a name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateNameError {
    /// The name is empty, too long, or contains control characters.
    #[error("certificate must have 1 to {CERTIFICATE_LEN_MAX} bytes and no control characters")]
    Length,
    /// A name without a prefix must be a DNS name, and this one cannot be.
    #[error("certificate: {name:?} is not a DNS name; write \"{prefix}{name}\"")]
    NotDns {
        /// The name as it was given.
        name: String,
        /// The prefix to put before it.
        prefix: &'static str,
    },
}

impl FromStr for CertificateName {
    type Err = CertificateNameError;

    fn from_str(text: &str) -> Result<Self, CertificateNameError> {
        let named = CertificateField::ALL
            .into_iter()
            .find_map(|field| Some((field, text.strip_prefix(field.prefix())?)));
        let (field, name) = named.unwrap_or((CertificateField::Dns, text));
        let is_text = !name.chars().any(char::is_control);
        if !(1..=CERTIFICATE_LEN_MAX).contains(&name.len()) || !is_text {
            return Err(CertificateNameError::Length);
        }
        if named.is_none() && !may_be_dns(name) {
            let field = if name.contains("://") || name.starts_with("urn:") {
                CertificateField::Uri
            } else {
                CertificateField::CommonName
            };
            let (name, prefix) = (name.to_owned(), field.prefix());
            return Err(CertificateNameError::NotDns { name, prefix });
        }
        Ok(Self { field, name: name.to_owned() })
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.field.prefix(), self.name)
    }
}

/// Whether a name has the characters of a DNS name (RFC 1123, 2.1, with `_` and a leading `*`).
fn may_be_dns(name: &str) -> bool {
    let labels = name.strip_prefix("*.").unwrap_or(name);
    labels.split('.').all(|label| {
        let is_of_dns = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.chars().all(is_of_dns)
    })
}

/// The owner of an `Idempotency-Key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// All callers without a key.
    #[default]
    Anonymous,
    /// The holder of this key and of the keys that replace it.
    Key(KeyId),
    /// The holder of a certificate with this name.
    Certificate(CertificateName),
}

impl Holder {
    /// The holder as bytes, which are different for each holder. Empty for callers without a key.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Key(id) => format!("key:{id}").into_bytes(),
            Self::Certificate(name) => format!("certificate:{name}").into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_a_dns_name_and_others_say_where_they_stand() {
        let read = |text: &str| text.parse::<CertificateName>().map(|name| name.to_string());
        assert_eq!(read("shop.example").as_deref(), Ok("dns:shop.example"));
        for text in ["dns:*.shop.example", "uri:spiffe://shop/pay", "cn:Checkout 7"] {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
        for (text, write) in [
            ("spiffe://shop/pay", "write \"uri:spiffe://shop/pay\""),
            ("urn:uuid:7", "write \"uri:urn:uuid:7\""),
            ("Checkout 7", "write \"cn:Checkout 7\""),
            ("shop..example", "write \"cn:shop..example\""),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.ends_with(write), "{text}: {error}");
        }
        for text in ["", "dns:", "cn:\n", &"x".repeat(256)] {
            assert_eq!(read(text), Err(CertificateNameError::Length), "{text:?}");
        }
    }

    #[test]
    fn no_two_holders_have_the_same_bytes() {
        let id = KeyId::random().unwrap();
        let [dns, cn] = ["dns:a", "cn:a"].map(|name| Holder::Certificate(name.parse().unwrap()));
        let all = [Holder::Anonymous, Holder::Key(id), dns, cn].map(|holder| holder.to_bytes());
        assert!(all.iter().enumerate().all(|(n, one)| !all[..n].contains(one)), "{all:?}");
    }
}
