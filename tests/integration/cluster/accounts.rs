//! An operator with an account and its users, as NATS knows them: JWTs that are signed with keys,
//! and files with a user's JWT and seed.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::pki::put;
use crate::support::now_ms;

/// An operator, its system account, and an account with streams.
pub struct Accounts {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Accounts {
    pub fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
        }
    }

    /// The lines of a server's configuration.
    pub fn lines(&self) -> String {
        let operator = claims(&self.operator, &self.operator, json!({ "type": "operator" }), None);
        let account = |account: &KeyPair, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
                "disk_storage": storage, "streams": storage, "consumer": storage,
            });
            let nats = json!({ "type": "account", "limits": limits });
            format!("{}: {}", account.public_key(), claims(&self.operator, account, nats, None))
        };
        format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{\n{}\n{}\n}}\n",
            self.system.public_key(),
            account(&self.system, 0),
            account(&self.account, -1),
        )
    }

    /// Writes the credentials of a new user. `None`: any subject; it never expires.
    pub fn write_user(&self, file: &Path, subjects: Option<Subjects>, lives_s: Option<i64>) {
        let user = KeyPair::new_user();
        let mut nats = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
        if let Some(Subjects { publish, subscribe }) = subjects {
            nats["pub"] = json!({ "allow": publish });
            nats["sub"] = json!({ "allow": subscribe });
        }
        let jwt = claims(&self.account, &user, nats, lives_s);
        let seed = user.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        put(file, &text);
    }
}

/// What a user may do.
pub struct Subjects {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

/// A signed JWT about `subject`.
fn claims(issuer: &KeyPair, subject: &KeyPair, mut nats: Value, lives_s: Option<i64>) -> String {
    nats["version"] = json!(2);
    let now_s = now_ms() / 1000;
    let mut claims = json!({
        "iat": now_s, "iss": issuer.public_key(), "jti": "a test", "name": "jeton",
        "sub": subject.public_key(), "nats": nats,
    });
    if let Some(lives_s) = lives_s {
        claims["exp"] = json!(now_s + lives_s);
    }
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("signed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
