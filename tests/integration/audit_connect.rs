//! Connections without a request in the audit log.

use std::path::Path;

use crate::access::Keys;
use crate::audit::{UNKNOWN, launch, lines_at_the_end, what};
use crate::pki::{Ca, Files, put};
use crate::raw::{Conn, request};

#[test]
fn who_is_turned_away_below_http_is_a_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ca, clients) = (Ca::new("servers"), Ca::new("clients"));
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let client_ca = dir.path().join("clients.pem");
    put(&client_ca, &clients.pem);
    let keys = Keys::in_dir(dir.path());
    keys.add("shop-a", "resolve", &["--certificate", "shop.example"]);
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let server = launch(dir.path())
        .flag("--keys", keys.path())
        .flag("--tls-cert", &text(&files.cert))
        .flag("--tls-key", &text(&files.key))
        .flag("--tls-client-ca", &text(&client_ca))
        .start();
    let get = request("GET", &format!("/v1/tokens/{UNKNOWN}"), &[], b"");
    for address in [server.data, server.admin] {
        let mut conn = Conn::open(address).expect("connects");
        conn.send(&get).expect("sends");
        assert_eq!(conn.response().expect("an answer").status, 400);
    }
    let stranger = Ca::new("clients").issue(&["shop.example"]);
    for address in [server.data, server.admin] {
        // With TLS 1.3 the client's handshake ends before the server has checked its certificate.
        if let Ok(mut conn) = ca.client().with(&stranger).connect(address) {
            assert!(conn.send(&get).is_err() || conn.response().is_err());
        }
    }
    for (name, status) in [("unknown.example", 401), ("shop.example", 404)] {
        let client = ca.client().with(&clients.issue(&[name]));
        let mut conn = client.connect(server.data).expect("a handshake");
        conn.send(&get).expect("sends");
        assert_eq!(conn.response().expect("an answer").status, status);
    }
    let [_, lines] = lines_at_the_end(server, &dir.path().join("audit.log"));
    let told: Vec<_> = lines.iter().map(what).collect();
    let expected = [
        ("connect", "plain_http", 0),
        ("connect", "plain_http", 0),
        ("connect", "tls_refused", 0),
        ("connect", "tls_refused", 0),
        ("unknown", "unauthorized", 401),
        ("resolve", "not_found", 404),
    ];
    assert_eq!(told, expected);
    assert_eq!(lines[5]["namespace"], "shop-a", "a certificate stands for its key");
}
