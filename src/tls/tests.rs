//! Files with mistakes, and names of certificates.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::permissions::Strictness;

const NOW: UnixMillis = UnixMillis(1_769_860_800_007);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

/// Certificate and key as PEM.
fn pair(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

struct Dir {
    files: TlsFiles,
    _dir: tempfile::TempDir,
}

impl Dir {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let files = TlsFiles { cert, key, client_ca: None, permissions: Strictness::Warn };
        Self { files, _dir: dir }
    }

    fn put(&self, cert: &str, key: &str) {
        write(&self.files.cert, cert);
        write(&self.files.key, key);
    }

    fn open(&self) -> Result<(Tls, TlsRead), TlsError> {
        Tls::open(self.files.clone(), NOW)
    }

    fn said(&self) -> String {
        self.open().map(|_| ()).unwrap_err().to_string()
    }
}

fn write(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn every_mistake_names_the_file_and_what_is_wrong_with_it() {
    let dir = Dir::new();
    let ((cert, key), (other, other_key)) = (pair(&params("a")), pair(&params("b")));
    assert!(dir.said().starts_with("--tls-cert ") && dir.said().contains("can't be read"));
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let legacy = key.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n");
    let short = &cert[..cert.len() / 2];
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let behind = format!("{cert}{damaged}");
    for (cert, key, flag, said) in [
        ("", &key[..], "--tls-cert", "contains no certificate (-----BEGIN"),
        (&key, &key, "--tls-cert", "contains a private key and no certificate"),
        (short, &key, "--tls-cert", "ends in the middle"),
        (damaged, &key, "--tls-cert", "certificate 1 in it is damaged"),
        (&behind, &key, "--tls-cert", "certificate 2 in it is damaged"),
        (&cert, "", "--tls-key", "contains no private key (-----BEGIN"),
        (&cert, &cert, "--tls-key", "contains a certificate and no private key"),
        (&cert, &encrypted, "--tls-key", "is encrypted"),
        (&cert, &legacy, "--tls-key", "is encrypted"),
        (&cert, &other_key, "--tls-key", "is not the key of the first certificate"),
        (&other, &key, "--tls-key", "is not the key of the first certificate"),
    ] {
        dir.put(cert, key);
        let error = dir.said();
        assert!(error.starts_with(flag) && error.contains(said), "{said}: {error}");
        assert!(error.contains(".pem"), "names no file: {error}");
    }
    dir.put(&cert, &key);
    assert_eq!(dir.open().unwrap().1.warnings, Vec::<String>::new());
    let long = cert.clone() + &" ".repeat(1 << 20);
    dir.put(&long, &key);
    assert!(dir.said().contains("at most 1048576 bytes"), "{}", dir.said());
}

#[test]
fn p9_no_mistake_repeats_what_stands_in_the_key_file() {
    let dir = Dir::new();
    let (cert, key) = pair(&params("a"));
    let line = key.lines().nth(1).unwrap().to_owned();
    let odd = key.replace(&line, &format!("-----BEGIN {line}"));
    let broken = key.replace(&line, &format!("*{line}"));
    for key in [odd, broken, key.replace("-----END", "-----OFF")] {
        dir.put(&cert, &key);
        let error = dir.said();
        assert!(!error.contains(&line[..8]) && !error.contains('*'), "{error}");
    }
    dir.put(&cert, &key);
    assert!(!format!("{:?}", dir.open().unwrap()).contains(&line[..8]));
}

#[test]
fn what_should_not_stay_so_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let mut old = params("a");
    old.not_after = rcgen::date_time_ymd(2021, 2, 3);
    let (cert, key) = pair(&old);
    dir.put(&cert, &key);
    fs::set_permissions(&dir.files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let read = dir.open().unwrap().1;
    assert_eq!(read.not_after.unwrap().to_string(), "2021-02-03T00:00:00.000Z");
    let [expired, open] = &read.warnings[..] else { panic!("{:?}", read.warnings) };
    assert!(expired.contains("has expired: 2021-02-03"), "{expired}");
    assert!(open.contains("mode 644") && open.contains("chmod 600"), "{open}");
    // Other programs may use it as well, so its mode is not changed.
    let files = TlsFiles { permissions: Strictness::Refuse, ..dir.files.clone() };
    let refused = Tls::open(files, NOW).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("mode 644") && refused.starts_with("--tls-key"), "{refused}");
    fs::set_permissions(&dir.files.key, fs::Permissions::from_mode(0o440)).unwrap();
    assert_eq!(dir.open().unwrap().1.warnings.len(), 1, "a group may read it");
}

#[test]
fn a_reload_replaces_all_or_nothing() {
    let dir = Dir::new();
    let ((cert, key), (other, other_key)) = (pair(&params("a")), pair(&params("b")));
    dir.put(&cert, &key);
    let tls = dir.open().unwrap().0;
    let before = tls.data();
    dir.put(&other, &key);
    assert!(tls.reload(NOW).is_err());
    assert!(Arc::ptr_eq(&before, &tls.data()), "a pair that does not match changes nothing");
    dir.put(&other, &other_key);
    tls.reload(NOW).unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.data()));
    assert_eq!(tls.data().alpn_protocols, [HTTP2, HTTP1]);
    assert_eq!(tls.admin().alpn_protocols, [HTTP1]);
    assert_eq!(tls.data().max_early_data_size, 0, "early data can be replayed");
}

#[test]
fn the_names_of_a_certificate_keep_the_field_they_stand_in() {
    let ca_key = KeyPair::generate().unwrap();
    let ca = params("ca");
    let issuer = Issuer::from_params(&ca, &ca_key);
    let name = |sans: &[SanType], common: &[&str]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for common in common {
            params.distinguished_name.push(DnType::CommonName, *common);
        }
        params.subject_alt_names = sans.to_vec();
        let key = KeyPair::generate().unwrap();
        let names = Peer::of(params.signed_by(&key, &issuer).unwrap().der()).names;
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = SanType::URI("spiffe://x/shop".try_into().unwrap());
    let mail = SanType::Rfc822Name("a@b.example".try_into().unwrap());
    let all = [mail.clone(), uri.clone(), dns("one.example"), dns("two.example")];
    assert_eq!(name(&all, &["shop"]), "dns:one.example uri:spiffe://x/shop cn:shop");
    assert_eq!(name(&[mail.clone(), uri], &["shop"]), "uri:spiffe://x/shop cn:shop");
    assert_eq!(name(&[mail], &["shop"]), "cn:shop");
    assert_eq!(name(&[], &[]), "");
    let nothing = Peer::of(&CertificateDer::from(vec![0x30, 0]));
    assert_eq!(nothing, Peer { names: Vec::new(), not_after: UnixMillis(0) });
}
