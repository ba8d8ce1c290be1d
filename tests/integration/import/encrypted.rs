//! Imports from a server that speaks TLS.

use std::path::Path;
use std::process::Command;

use super::source::{Source, count, free, import, said};
use crate::pki::{Ca, Files};
use crate::resp_data::redis::Jeton;
use crate::server::output;
use crate::support::not_run;

const CHECK: &str = "import: TLS";

/// Whether the program was built with TLS; without it, that is told.
fn has_tls() -> bool {
    let Some(program) = Source::program(CHECK) else { return false };
    // With TLS it refuses the value, without TLS the name of the setting.
    let (_, text) = said(&output(Command::new(program).args(["--tls-port", "none"])));
    let is_known = !text.contains("Bad directive");
    if !is_known {
        not_run(CHECK, "the server was built without TLS");
    }
    is_known
}

#[test]
fn p9_a_source_with_tls_is_read_only_if_its_certificate_is_trusted() {
    if !has_tls() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca = Ca::new("the source");
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (cert, key, trusted) = (path(&files.cert), path(&files.key), path(&files.ca));
    let port = free().port().to_string();
    let start = |clients| {
        let flags = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key];
        let of_clients = ["--tls-ca-cert-file", &trusted, "--tls-auth-clients", clients];
        Source::start_with(CHECK, &[&flags[..], &of_clients].concat())
    };
    let Some(source) = start("no") else { return };
    let jeton = Jeton::start();
    source.say("SET cart:7 1 EX 600");
    let url = format!("rediss://127.0.0.1:{port}");
    let stranger = dir.path().join("stranger.pem");
    std::fs::write(&stranger, Ca::new("a stranger").pem).expect("a file");
    let by = |url: &str, ca: &Path| said(&output(import(url, &jeton, &dir).arg("--ca").arg(ca)));
    let (code, text) = by(&url, &stranger);
    assert!(code == 3 && text.contains("certificate"), "{code} {text}");
    let (code, text) = by(&format!("redis://127.0.0.1:{port}"), &files.ca);
    assert_eq!((code, count(&text, "copied")), (3, 0), "{text}");
    let (code, text) = by(&source.url().replace("redis:", "rediss:"), &files.ca);
    assert_eq!((code, count(&text, "copied")), (3, 0), "{text}");
    assert_eq!(jeton.wire().say("GET cart:7"), "$-1\\r\\n");
    let (code, text) = by(&url, &files.ca);
    assert_eq!((code, count(&text, "copied")), (0, 1), "{text}");
    assert_eq!(jeton.wire().say("GET cart:7"), "$1\\r\\n1\\r\\n");

    // Import has no certificate of its own to show.
    drop(source);
    let Some(_source) = start("yes") else { return };
    let (code, text) = by(&url, &files.ca);
    assert!(code == 3 && text.contains("certificate"), "{code} {text}");
}
