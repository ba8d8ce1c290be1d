//! Libraries of OAuth, unchanged, that `tests/clients/prepare` installs, and Apache with its modules.
//! What the machine has not is NOT RUN.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::access::Keys;
use crate::pki::{Ca, Files};
use crate::raw::{Conn, request};
use crate::resp_data::clients::{FOLDER, prepared};
use crate::server::{Launch, Server, output};
use crate::support::{eventually, not_run};

/// Runs a script against a server without keys, and against one with them.
fn run(check: &str, program: &str, script: &str, env: &[(&str, &str)]) {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("shop", "issue,resolve,revoke", &[]);
    let key = key.strip_prefix("Bearer ").expect("a header's value");
    let keyed = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    for (server, key) in [(&Server::fresh(), None), (&keyed, Some(key))] {
        let mut command = Command::new(program);
        command.arg(format!("{FOLDER}/{script}")).arg(server.data.ip().to_string());
        command.arg(server.data.port().to_string()).args(key);
        let output = output(command.envs(env.iter().copied()));
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success() && out.ends_with("ok\n"), "{check}: {out}{err}");
    }
}

#[test]
fn authlib_and_fastmcp_run_unchanged() {
    if let Some(python) = prepared("Authlib and FastMCP", "oauth") {
        run("Authlib and FastMCP", &python, "oauth.py", &[]);
    }
}

#[test]
fn oauth4webapi_and_openid_client_run_unchanged() {
    if let Some(folder) = prepared("oauth4webapi and openid-client", "node") {
        let path = format!("{folder}/node_modules");
        run("oauth4webapi and openid-client", "node", "oauth.mjs", &[("NODE_PATH", &path)]);
    }
}

/// An Apache of this machine with the modules of both generations.
struct Apache {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The modules, each with its file.
const MODULES: [&str; 7] =
    ["mpm_event", "authn_core", "authz_core", "authz_user", "dir", "auth_openidc", "oauth2"];

impl Apache {
    /// `None` where the machine lacks something, which is told.
    fn start(jeton: &str, key: &str, ca: &Path) -> Option<Self> {
        let check = "mod_auth_openidc and mod_oauth2";
        let folder = std::env::var("APACHE_MODULES");
        let folder = PathBuf::from(folder.unwrap_or("/usr/lib/apache2/modules".to_owned()));
        let file = |module: &str| folder.join(format!("mod_{module}.so"));
        if let Some(missing) = MODULES.iter().find(|module| !file(module).is_file()) {
            not_run(check, &format!("there is no {}", file(missing).display()));
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let (root, address) = (dir.path().display(), port.expect("a port").to_string());
        for page in ["openidc", "oauth2"] {
            std::fs::create_dir_all(dir.path().join(page)).expect("a folder");
            std::fs::write(dir.path().join(page).join("index.html"), "served").expect("a page");
        }
        let load =
            |module: &&str| format!("LoadModule {module}_module {}\n", file(module).display());
        let mut config: String = MODULES.iter().map(load).collect();
        config += &format!(
            "ServerRoot {root}\nServerName 127.0.0.1\nListen {address}\nPidFile {root}/pid\n\
             ErrorLog {root}/error.log\nDocumentRoot {root}\n\
             OIDCCABundlePath {}\n\
             OIDCOAuthIntrospectionEndpoint {jeton}/oauth2/introspect\n\
             OIDCOAuthIntrospectionEndpointAuth client_secret_basic\n\
             OIDCOAuthClientID apache\nOIDCOAuthClientSecret {key}\n\
             OIDCOAuthTokenIntrospectionInterval -1\n\
             OIDCOAuthTokenExpiryClaim exp absolute mandatory\nOIDCOAuthRemoteUserClaim sub\n\
             <Location /openidc>\nAuthType oauth20\n\
             Require claim \"scope~^(.* )?read( .*)?$\"\n</Location>\n\
             <Location /oauth2>\nAuthType oauth2\nOAuth2TokenVerify introspect \
             {jeton}/oauth2/introspect introspect.auth=client_secret_basic&client_id=apache\
             &client_secret={key}&expiry=0&introspect.ssl_verify=false\n\
             Require valid-user\n</Location>\n",
            ca.display()
        );
        std::fs::write(dir.path().join("httpd.conf"), config).expect("a file");
        let mut command = Command::new("apache2");
        command.arg("-X").arg("-f").arg(dir.path().join("httpd.conf"));
        match command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn() {
            Ok(child) => Some(Self { child, address, _dir: dir }),
            Err(error) => {
                not_run(check, &format!("apache2: {error}"));
                None
            }
        }
    }

    /// The status of each page for a bearer of `token`; 0 while there is no answer.
    fn statuses(&self, token: &str) -> [u16; 2] {
        let address = self.address.parse().expect("an address");
        ["/openidc/index.html", "/oauth2/index.html"].map(|path| {
            let bearer = format!("Bearer {token}");
            let asked = request("GET", path, &[("Authorization", &*bearer)], b"");
            let Ok(mut conn) = Conn::open(address) else { return 0 };
            conn.send(&asked).and_then(|()| conn.response()).map_or(0, |answer| answer.status)
        })
    }
}

#[test]
fn the_modules_of_apache_run_unchanged_and_fail_closed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (keys, ca) = (Keys::in_dir(dir.path()), Ca::new("servers"));
    let key = keys.add("shop", "issue,resolve,revoke", &[]);
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let server = Launch::on(&dir.path().join("data"))
        .flag("--keys", keys.path())
        .flag("--tls-cert", files.cert.to_str().expect("UTF-8"))
        .flag("--tls-key", files.key.to_str().expect("UTF-8"))
        .start();
    let secret = key.strip_prefix("Bearer ").expect("a header's value");
    let Some(apache) = Apache::start(&format!("https://{}", server.data), secret, &files.ca) else {
        return;
    };
    let ask = |path: &str, kind: &str, body: &str| {
        let headers = [("Authorization", &*key), ("Content-Type", kind)];
        let mut conn = ca.client().connect(server.data).expect("a handshake");
        conn.send(&request("POST", path, &headers, body.as_bytes())).expect("sends");
        conn.response().expect("an answer")
    };
    let body = r#"{"payload":{"sub":"u","scope":"write read"}}"#;
    let issued = ask("/v1/tokens", "application/json", body).json();
    let token = issued["token"].as_str().expect("a token");
    eventually("Apache serves", || apache.statuses(token) == [200, 200]);
    assert_eq!(apache.statuses("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), [401, 401]);
    let form = "application/x-www-form-urlencoded";
    assert_eq!(ask("/oauth2/revoke", form, &format!("token={token}")).status, 200);
    assert_eq!(apache.statuses(token), [401, 401], "nothing is cached");
    let issued = ask("/v1/tokens", "application/json", body).json();
    let token = issued["token"].as_str().expect("a token").to_owned();
    assert_eq!(apache.statuses(&token), [200, 200]);
    server.stop_well();
    assert_eq!(apache.statuses(&token), [401, 401], "without an answer no one is let in");
}
