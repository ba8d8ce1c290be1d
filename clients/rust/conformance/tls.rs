//! TLS with an authority and a certificate of one's own: `URL CA CERTIFICATE KEY`, files as PEM.
//! Prints `ok` at the end.

#![expect(clippy::print_stdout, reason = "the test reads it")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use jeton_client::{Client, Issue};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

fn tls(ca: &str, certificate: &str, key: &str) -> Result<ClientConfig, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(ca)? {
        roots.add(authority?)?;
    }
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, ca, certificate, key] = &arguments[..] else {
        return Err("URL CA CERTIFICATE KEY".into());
    };
    let tls = Arc::new(tls(ca, certificate, key)?);
    let jeton = Client::builder([url]).tls(tls).build()?;
    let issued = jeton.issue(&Issue::new(r#"{"order":"A-17"}"#)?).await?;
    let payload = jeton.consume(&issued.token).await?;
    assert_eq!(payload.raw(), br#"{"order":"A-17"}"#);
    // Without the authority nothing is sent, and the error says why.
    let roots = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_root_certificates(RootCertStore::empty())
    .with_no_client_auth();
    let stranger =
        Client::builder([url]).tls(Arc::new(roots)).try_timeout(Duration::from_secs(1)).build()?;
    let refused = stranger.consume(&issued.token).await;
    let Err(jeton_client::Error::NoConnection(why)) = refused else {
        return Err("it was sent".into());
    };
    assert!(why.to_string().contains("certificate"), "{why}");
    println!("ok");
    Ok(())
}
