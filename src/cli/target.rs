//! What the client commands are about: a server, tokens, an order.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::failure::ClientError;
use super::out::tell;
use super::settings::LISTEN;
use super::wire::{Trust, Wire};
use crate::model::token::Token;
use crate::permissions;

/// Put before a token that begins with a hyphen, which would be taken for a flag.
const TOKEN_MARK: &str = "token:";
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServerArg {
    /// The server: http://HOST:PORT, https://HOST:PORT or unix:PATH
    #[arg(long, env = "JETON_SERVER", default_value_t = format!("http://{LISTEN}"), value_name = "URL")]
    server: String,

    #[command(flatten)]
    key: KeyArgs,
}

/// Who we are, and whom we believe.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct KeyArgs {
    /// A file with the key, and nothing else
    #[arg(long, env = "JETON_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Whose certificate the server may have, in place of the system's roots (PEM)
    #[arg(long, env = "JETON_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A certificate of our own to show to the server (PEM)
    #[arg(long, env = "JETON_CERT", value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,

    /// The private key of --cert (PEM); an API key is given with --key-file
    #[arg(
        id = "cert_key",
        long = "key",
        env = "JETON_CERT_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    cert_key: Option<PathBuf>,
}

impl ServerArg {
    /// A connection to it.
    pub(super) async fn connect(&self) -> Result<Wire, ClientError> {
        self.key.connect(&self.server).await
    }
}

impl KeyArgs {
    /// A connection to `server`.
    pub(super) async fn connect(&self, server: &str) -> Result<Wire, ClientError> {
        let read = |file: &PathBuf| {
            let refused = |source| ClientError::KeyFile { file: file.clone(), source };
            std::fs::read_to_string(file).map_err(refused)
        };
        for file in self.key_file.iter().chain(&self.cert_key) {
            let wide = std::fs::metadata(file).ok();
            if let Some(wide) = wide.and_then(|found| permissions::look(file, &found)) {
                tell!("warning: {wide}");
            }
        }
        let key = self.key_file.as_ref().map(read).transpose()?;
        let trust = Trust {
            ca: self.ca.as_deref(),
            identity: self.cert.as_deref().zip(self.cert_key.as_deref()),
        };
        Ok(Wire::connect(server, key.as_deref().map(str::trim), trust).await?)
    }
}

/// An order, as it identifies a token.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ReferenceArgs {
    /// The order's number, as part of the reference
    #[arg(long, value_name = "TEXT")]
    pub(super) order_number: Option<String>,

    /// When the order was created (RFC 3339), as part of the reference
    #[arg(long, value_name = "TIME")]
    pub(super) created_at: Option<String>,

    /// The order's amount, as part of the reference
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(super) amount: Option<String>,
}

impl ReferenceArgs {
    pub(super) fn to_json(&self) -> Option<Value> {
        let mut reference = serde_json::Map::new();
        for (name, value) in [
            ("order_number", &self.order_number),
            ("created_at", &self.created_at),
            ("amount", &self.amount),
        ] {
            if let Some(value) = value {
                reference.insert(name.to_owned(), value.as_str().into());
            }
        }
        (!reference.is_empty()).then_some(Value::Object(reference))
    }
}

/// The tokens that a command is about.
#[derive(Args, Clone, Debug)]
pub(super) struct Tokens {
    #[command(flatten)]
    pub(super) server: ServerArg,

    /// Tokens; - reads them from standard input, one a line
    #[arg(value_name = "TOKEN")]
    tokens: Vec<String>,
}

/// The tokens that a command is about, and one by its order.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    #[command(flatten)]
    pub(super) tokens: Tokens,

    #[command(flatten)]
    reference: ReferenceArgs,
}

impl Tokens {
    /// The tokens given, those on standard input included.
    pub(super) fn read(&self) -> Result<Vec<String>, ClientError> {
        if self.tokens.is_empty() {
            return Err(ClientError::NoTarget);
        }
        let mut texts = Vec::new();
        for token in &self.tokens {
            if token != "-" {
                let text = token.strip_prefix(TOKEN_MARK).unwrap_or(token);
                texts.push(text.to_owned());
                continue;
            }
            for line in io::stdin().lock().lines() {
                let line = line.map_err(ClientError::Input)?;
                if !line.trim().is_empty() {
                    texts.push(line.trim().to_owned());
                }
            }
        }
        Ok(texts)
    }
}

impl Target {
    /// Tokens and a reference, as a body names them.
    pub(super) fn items(&self) -> Result<Vec<Value>, ClientError> {
        let reference = self.reference.to_json();
        let mut items = match self.tokens.read() {
            Err(ClientError::NoTarget) if reference.is_some() => Vec::new(),
            texts => texts?.into_iter().map(Value::from).collect(),
        };
        items.extend(reference.map(|reference| json!({ "reference": reference })));
        Ok(items)
    }
}

/// An argument of the command line, marked where it is a token that looks like a flag: one of 64
/// does.
pub(super) fn mark_token(arg: OsString) -> OsString {
    let is_token = Token::parse(arg.as_encoded_bytes()).is_ok();
    if !is_token || !arg.as_encoded_bytes().starts_with(b"-") {
        return arg;
    }
    let mut marked = OsString::from(TOKEN_MARK);
    marked.push(arg);
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_looks_like_a_flag_is_still_a_token() {
        for token in ["-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "--AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let marked = mark_token(token.into()).into_string().unwrap();
            let server = ServerArg::default();
            let tokens = Tokens { server, tokens: vec![marked] };
            assert_eq!(tokens.read().unwrap(), [token]);
        }
        assert_eq!(mark_token("--server".into()), "--server");
        assert_eq!(mark_token("-".into()), "-");
    }
}
