//! TLS, keys and passwords of a server that the harness starts: all of it is made for
//! one run, in the server's folder.

use std::path::Path;
use std::process::{Command, Stdio};

use super::access::Access;
use super::kind::Kind;
use super::options::Options;
use super::{environment, process};
use crate::failure::{Failure, Result, io};
use crate::secret::{self, Credentials, Secret};
use crate::tls::made::{self, private_file};
use crate::tls::{HTTP1, Tls, Trust};

/// What the mixes need. Extending needs the scope of issuing.
const SCOPES: &str = "issue,resolve,consume,revoke";
/// Of the key for the statistics.
const ADMIN_SCOPES: &str = "metrics,admin";

/// Arguments of a secured server, and how it is asked.
#[derive(Default)]
pub(super) struct Secured {
    /// In front of all other arguments.
    pub(super) arguments: Vec<String>,
    pub(super) access: Access,
}

/// Refuses what a server of this kind can't be asked for.
pub(super) fn check(kind: Kind, options: &Options) -> Result<()> {
    let name = kind.name();
    let has_none =
        matches!(kind, Kind::Memcached | Kind::Pogocache | Kind::Floor | Kind::JetonResp);
    let refuse = |text: String| Err(Failure::Input(text));
    if options.tls && has_none {
        return refuse(format!("--tls: the harness starts {name} without TLS only"));
    }
    if options.with_key && has_none {
        return refuse(match kind {
            Kind::JetonResp => format!("--with-key: the harness starts {name} without keys only"),
            _ => format!("--with-key: {name} has no keys"),
        });
    }
    if options.trust.ca.is_some() {
        let why = if options.tls {
            "with --tls the harness makes the certificate and trusts it"
        } else {
            "is for a server with TLS, such as --target https://HOST:PORT"
        };
        return refuse(format!("--ca: {why}"));
    }
    if options.trust.identity.is_some() && !options.tls {
        return refuse("--cert and --key are for a server with TLS: give --tls too".to_owned());
    }
    Ok(())
}

/// For jeton, whose binary makes its keys.
pub(super) fn jeton(folder: &Path, program: &Path, options: &Options) -> Result<Secured> {
    let mut secured = Secured::default();
    if options.tls {
        let made = made::make(folder)?;
        secured.access.tls = Some(believe(&made, options, Some(HTTP1))?);
        for (flag, file) in [("--tls-cert", &made.cert), ("--tls-key", &made.key)] {
            secured.arguments.extend([flag.to_owned(), file.display().to_string()]);
        }
    }
    if options.with_key {
        let keys = folder.join("keys.toml");
        let key = |namespace, scopes| add_key(program, &keys, namespace, scopes);
        secured.access.key = Some(key("default", SCOPES)?);
        secured.access.admin_key = Some(key("*", ADMIN_SCOPES)?);
        secured.arguments.extend(["--keys".to_owned(), keys.display().to_string()]);
    }
    Ok(secured)
}

/// For Redis and Valkey, which listen on `port`: in a file, so that no list of processes shows the
/// password.
pub(super) fn store(folder: &Path, port: u16, options: &Options) -> Result<Secured> {
    let mut secured = Secured::default();
    if !options.tls && !options.with_key {
        return Ok(secured);
    }
    let mut text = String::new();
    if options.tls {
        let made = made::make(folder)?;
        secured.access.tls = Some(believe(&made, options, None)?);
        text += &format!(
            "tls-port {port}\ntls-cert-file \"{}\"\ntls-key-file \"{}\"\ntls-auth-clients no\n",
            made.cert.display(),
            made.key.display()
        );
    }
    if options.with_key {
        let password = format!("{:032x}", rand::random::<u128>());
        text += &format!("requirepass {password}\n");
        secured.access.credentials =
            Some(Credentials { user: None, password: Secret::from(password) });
    }
    let file = folder.join("secured.conf");
    private_file(&file, &text)?;
    // The folder it is started in; its name differs from run to run.
    secured.arguments.push("secured.conf".to_owned());
    Ok(secured)
}

fn believe(made: &made::Made, options: &Options, alpn: Option<&'static [u8]>) -> Result<Tls> {
    let trust = Trust { ca: Some(made.cert.clone()), identity: options.trust.identity.clone() };
    Tls::new(&trust, "127.0.0.1", alpn)
}

/// Has jeton make a key of these scopes.
fn add_key(program: &Path, keys: &Path, namespace: &str, scopes: &str) -> Result<Secret> {
    let out = keys.with_extension(if namespace == "*" { "admin" } else { "data" });
    let mut command = Command::new(program);
    command.args(["keys", "add", "--namespace", namespace, "--scope", scopes, "--keys"]);
    command.arg(keys).arg("--out").arg(&out);
    environment::for_server(&mut command);
    let made = process::output(&command, Stdio::piped(), Stdio::piped());
    let made = made.map_err(io(format!("start {}", program.display())))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        let problem = format!("--with-key: jeton created no key: {said}");
        return Err(Failure::Target { target: program.display().to_string(), problem });
    }
    secret::key("--with-key", &out)
}
