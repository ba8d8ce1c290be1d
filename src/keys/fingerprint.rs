//! What the keys files of several servers are compared by.

use sha2::{Digest, Sha256};

use super::entry::KeyEntry;

/// Sixteen bytes that differ where two keys files admit different callers. Comments, the names of
/// keys and their order make no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// The fingerprint of a server without keys.
    pub const NO_KEYS: Self = Self([0; 16]);

    /// The fingerprint of a file with these keys.
    #[must_use]
    pub fn of(entries: &[KeyEntry]) -> Self {
        let mut lines: Vec<String> = entries.iter().map(line).collect();
        lines.sort_unstable();
        let mut hash = Sha256::new_with_prefix("jeton keys\n");
        lines.iter().for_each(|line| hash.update(line));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(bytes)
    }
}

/// Everything of a key that decides whom it admits to what. Each text has its length before it.
fn line(entry: &KeyEntry) -> String {
    let KeyEntry {
        id,
        namespace,
        scopes,
        hash,
        expires_at,
        revoked_at,
        holder,
        certificate,
        from,
        ..
    } = entry;
    let mut networks: Vec<String> = from.iter().map(ToString::to_string).collect();
    networks.sort_unstable();
    let (namespace, certificate) = (namespace.as_str(), certificate.as_ref());
    format!(
        "{id} {} {namespace} {scopes} {hash} {:?} {} {:?} {:?} {}\n",
        namespace.len(),
        expires_at.map(|at| at.0),
        revoked_at.is_some(),
        holder.map(|holder| holder.to_string()),
        certificate.map(|name| (name.field, name.name.len(), &name.name)),
        networks.join(","),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::text::KeyHash;
    use crate::model::namespace::Namespace;
    use crate::model::scope::Scopes;
    use crate::model::time::UnixMillis;

    fn key(id: &str) -> KeyEntry {
        KeyEntry {
            id: id.parse().unwrap(),
            name: "shop".to_owned(),
            namespace: Namespace::default(),
            scopes: Scopes::ALL,
            hash: KeyHash::parse(&format!("sha256:{}", "07".repeat(32))).unwrap(),
            created_at: UnixMillis(1),
            expires_at: None,
            revoked_at: None,
            holder: None,
            certificate: None,
            from: Vec::new(),
        }
    }

    #[test]
    fn what_admits_other_callers_has_another_fingerprint() {
        let (one, two) = (key("00000001"), key("00000002"));
        let both = Fingerprint::of(&[one.clone(), two.clone()]);
        assert_eq!(Fingerprint::of(&[two.clone(), one.clone()]), both);
        let renamed = KeyEntry { name: "x".to_owned(), created_at: UnixMillis(9), ..two.clone() };
        assert_eq!(Fingerprint::of(&[one.clone(), renamed]), both);
        let now = Some(UnixMillis(7));
        let hash = KeyHash::parse(&format!("sha256:{}", "08".repeat(32))).unwrap();
        for other in [
            KeyEntry { revoked_at: now, ..two.clone() },
            KeyEntry { expires_at: now, ..two.clone() },
            KeyEntry { scopes: "resolve".parse().unwrap(), ..two.clone() },
            KeyEntry { namespace: "shop".parse().unwrap(), ..two.clone() },
            KeyEntry { holder: Some(one.id), ..two.clone() },
            KeyEntry { hash, ..two.clone() },
            KeyEntry { from: vec!["10.0.0.0/8".parse().unwrap()], ..two.clone() },
            key("00000003"),
        ] {
            let shown = format!("{other:?}");
            assert_ne!(Fingerprint::of(&[one.clone(), other]), both, "{shown}");
        }
        assert_ne!(Fingerprint::of(&[one]), both);
        assert_ne!(Fingerprint::of(&[]), Fingerprint::NO_KEYS, "an empty file admits nobody");
    }
}
