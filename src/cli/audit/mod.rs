//! `jeton audit`: prints the public key of the audit log, verifies its files, and computes the digest
//! that its lines show for a token.

mod digest;
mod given;
mod public_key;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use given::{Failure, public_key_of, read_public_key, read_since};

use given::KeptArgs;

/// The subcommands of `jeton audit`.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Print the public key that verifies the audit log (PEM), made from the secret
    PublicKey {
        #[command(flatten)]
        secret: KeptArgs,
    },
    /// Verify files of audit logs: name changed, removed, added and moved lines; exit 1 if there is
    /// anything to report
    Verify(verify::VerifyArgs),
    /// Read tokens, names or references from standard input, one a line, and print the digest that
    /// lines of the audit log show for each
    Digest(digest::DigestArgs),
}

pub(super) fn run(command: &AuditCommand) -> ExitCode {
    let done = match command {
        AuditCommand::PublicKey { secret } => public_key::print(secret),
        AuditCommand::Verify(args) => return verify::run(args),
        AuditCommand::Digest(args) => digest::print(args),
    };
    done.map_or_else(|failure| failure.end(), |()| ExitCode::SUCCESS)
}
