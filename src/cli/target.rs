//! Arguments shared by the client commands: a server, tokens, an order.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead};
use std::path::PathBuf;

use clap::Args;
use jeton_client::Reference;

use super::failure::ClientError;
use super::out::tell;
use super::remote::Remote;
use super::settings::{ADMIN_LISTEN, LISTEN, flags};
use super::wire::{Trust, Wire};
use crate::model::token::Token;
use crate::permissions;

/// Prefix for a token that begins with a hyphen, which clap would parse as a flag.
const TOKEN_MARK: &str = "token:";
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServerArg {
    /// The server: http://HOST:PORT, https://HOST:PORT or unix:PATH
    #[arg(long, env = "JETON_SERVER", default_value_t = format!("http://{LISTEN}"), value_name = "URL")]
    server: String,

    #[command(flatten)]
    key: KeyArgs,
}

/// Credentials of the client, and the CA that it trusts.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct KeyArgs {
    /// File that contains the API key and nothing else
    #[arg(long, env = "JETON_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// CA certificate to trust for the server, instead of the system's roots (PEM)
    #[arg(long, env = "JETON_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Client certificate to present to the server (PEM)
    #[arg(long, env = "JETON_CERT", value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,

    /// Private key of --cert (PEM); for an API key use --key-file
    #[arg(
        id = "cert_key",
        long = "key",
        env = "JETON_CERT_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    cert_key: Option<PathBuf>,
}

/// The admin listener that a command asks.
#[derive(Args, Clone, Debug)]
pub(super) struct AdminArgs {
    /// The admin listener of the server
    #[arg(
        long,
        env = "JETON_ADMIN_SERVER",
        default_value_t = format!("http://{ADMIN_LISTEN}"),
        value_name = "URL"
    )]
    pub(super) server: String,

    #[command(flatten)]
    key: KeyArgs,
}

impl AdminArgs {
    /// Connects to it.
    pub(super) async fn connect(&self) -> Result<Wire, ClientError> {
        self.key.connect(&self.server).await
    }
}

impl ServerArg {
    /// A client of the server.
    pub(super) fn remote(&self) -> Result<Remote, ClientError> {
        let key = self.key.read()?;
        Remote::new(&self.server, key, self.key.trust())
    }
}

impl KeyArgs {
    /// Connects to `server`.
    pub(super) async fn connect(&self, server: &str) -> Result<Wire, ClientError> {
        let key = self.read()?;
        Ok(Wire::connect(server, key.as_deref(), self.trust()).await?)
    }

    fn trust(&self) -> Trust<'_> {
        let identity = self.cert.as_deref().zip(self.cert_key.as_deref());
        Trust { ca: self.ca.as_deref(), identity }
    }

    /// The API key, if there is one. Warns of files that others may read.
    fn read(&self) -> Result<Option<String>, ClientError> {
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
        Ok(key.map(|key| key.trim().to_owned()))
    }
}

/// An order, as a token's reference.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ReferenceArgs {
    /// Number of the order, part of the reference
    #[arg(long, value_name = "TEXT")]
    pub(super) order_number: Option<String>,

    /// Creation time of the order (RFC 3339), part of the reference
    #[arg(long, value_name = "TIME")]
    pub(super) created_at: Option<String>,

    /// Amount of the order, part of the reference
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(super) amount: Option<String>,
}

impl ReferenceArgs {
    /// `None` without a field.
    pub(super) fn to_reference(&self) -> Option<Reference> {
        let mut reference = Reference::new();
        if let Some(number) = &self.order_number {
            reference = reference.order_number(number);
        }
        if let Some(time) = &self.created_at {
            reference = reference.created_at(time);
        }
        if let Some(amount) = &self.amount {
            reference = reference.amount(amount);
        }
        (reference != Reference::new()).then_some(reference)
    }
}

/// The tokens of a command.
#[derive(Args, Clone, Debug)]
pub(super) struct Tokens {
    #[command(flatten)]
    pub(super) server: ServerArg,

    /// Tokens; - reads them from standard input, one per line
    #[arg(value_name = "TOKEN")]
    tokens: Vec<String>,
}

/// The tokens of a command, and optionally one token by its order.
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
    /// The tokens and the reference. An error names a token by its number, and never shows it (P9).
    pub(super) fn targets(&self) -> Result<Vec<jeton_client::Target>, ClientError> {
        let reference = self.reference.to_reference();
        let texts = match self.tokens.read() {
            Err(ClientError::NoTarget) if reference.is_some() => Vec::new(),
            texts => texts?,
        };
        for (at, text) in texts.iter().enumerate() {
            let wrong = |error| ClientError::Token { number: at + 1, error };
            Token::parse(text.as_bytes()).map_err(wrong)?;
        }
        let tokens = texts.into_iter().map(jeton_client::Target::Token);
        Ok(tokens.chain(reference.map(jeton_client::Target::from)).collect())
    }
}

/// The arguments of the command line, with the prefix before each token that begins with a hyphen, as one
/// of 64 does. The value of a flag, such as an Idempotency-Key, may look like a token, and stays as it is.
pub(super) fn mark_tokens(
    args: impl Iterator<Item = OsString>,
    command: &clap::Command,
) -> Vec<OsString> {
    let mut flags = HashSet::new();
    add_flags_with_values(command, &mut flags);
    let mut is_value = false;
    let marked = args.map(|arg| {
        let marked = if is_value { arg.clone() } else { mark_token(arg.clone()) };
        is_value = !is_value && arg.to_str().is_some_and(|text| flags.contains(text));
        marked
    });
    marked.collect()
}

/// The flags of a command and those below it whose value is the next argument, as they are written.
fn add_flags_with_values(command: &clap::Command, flags: &mut HashSet<String>) {
    for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        flags.extend(arg.get_long().map(|long| format!("--{long}")));
        flags.extend(arg.get_short().map(|short| format!("-{short}")));
    }
    command.get_subcommands().for_each(|command| add_flags_with_values(command, flags));
}

fn mark_token(arg: OsString) -> OsString {
    let is_token = Token::parse(arg.as_encoded_bytes()).is_ok();
    if !is_token || !arg.as_encoded_bytes().starts_with(b"-") || is_flag(&arg) {
        return arg;
    }
    let mut marked = OsString::from(TOKEN_MARK);
    marked.push(arg);
    marked
}

/// Whether an argument is a flag of `jeton serve` that is as long as a token. No token is: there are
/// too many.
fn is_flag(arg: &OsStr) -> bool {
    let key = arg.to_str().and_then(|text| text.strip_prefix("--"));
    key.is_some_and(|key| flags().iter().any(|flag| flag.key == key))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_token_that_looks_like_a_flag_is_still_a_token() {
        for token in ["-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "--AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let [marked] = <[String; 1]>::try_from(marked(&[token])).unwrap();
            let server = ServerArg::default();
            let tokens = Tokens { server, tokens: vec![marked] };
            assert_eq!(tokens.read().unwrap(), [token]);
        }
        let long = "--cluster-accept-unverified-sync";
        assert_eq!(marked(&["--server", long, "-"]), ["--server", long, "-"]);
        assert_eq!(marked(&[long]), [long], "a flag with the length of a token");
    }

    #[test]
    fn p2_a_key_that_looks_like_a_token_stays_as_it_is() {
        let token = "-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let flag = "--idempotency-key";
        let found = marked(&["jeton", "consume", flag, token, token]);
        assert_eq!(found[..4], ["jeton", "consume", flag, token]);
        assert_ne!(found[4], token, "the next one is a token");
        assert_ne!(marked(&["--json", token])[1], token, "a flag without a value");
        assert_ne!(marked(&[flag, "--server", token])[2], token, "the value is --server");
    }

    fn marked(args: &[&str]) -> Vec<String> {
        let args = args.iter().map(OsString::from);
        let marked = mark_tokens(args, &crate::cli::Cli::command());
        marked.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }
}
