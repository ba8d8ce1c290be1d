//! The command line: `jeton serve`, the client commands, `jeton verify`.
//!
//! Exit codes: 0 success; 1 not found, refused, or damaged; 2 a mistake in the call or the
//! configuration; 3 no answer from a server, or an output that cannot be written; 4 a restart of
//! `jeton serve` would do harm. A command ends by `SIGPIPE` when the reader of its output has exited.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::build_info::VERSION_AND_COMMIT;

mod audit;
mod audited;
mod backup;
mod certificates;
mod cgroup;
mod client;
mod cluster;
mod config;
mod cpu;
mod descriptors;
mod environment;
mod exit;
mod explain;
mod export;
mod failure;
mod file_watch;
mod fresh;
mod hardening;
mod health;
mod import;
mod keys;
mod log_id;
mod logging;
mod node;
mod out;
mod process;
mod progress;
mod reading;
mod recovering;
mod reload;
mod remote;
mod secret_command;
mod serve;
mod serve_error;
mod servers;
mod service_manager;
pub mod settings;
mod shell_files;
mod stop;
mod target;
mod verify;
mod wire;

pub use process::Process;

use client::{ConsumeArgs, ExtendArgs, IssueArgs, RevokeArgs};
use exit::MISTAKEN;
use failure::finish;
use reading::ReadArgs;
use settings::Given;

/// A high-throughput in-memory token resolution engine: durable before it answers, consumed at most
/// once, exact expiry.
#[derive(Debug, Parser)]
#[command(name = "jeton", version = VERSION_AND_COMMIT, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Given),
    /// Issue a token for a payload and print it
    Issue(IssueArgs),
    /// Print the payload of each token, without consuming a use
    Resolve(ReadArgs),
    /// Consume one use of each token and print its payload
    Consume(ConsumeArgs),
    /// Revoke each token; an unknown token is no error
    Revoke(RevokeArgs),
    /// Print deadline, uses left and payload size of each token
    Status(ReadArgs),
    /// Move the deadline of each token to --ttl from now, and print it
    Extend(ExtendArgs),
    /// Ask a server whether it is alive, or ready; exit 0 if so, 1 if not, 3 without an answer
    Health(health::HealthArgs),
    /// Print the payload, deadline and uses left of the tokens that a file lists, as JSON lines
    Export(export::ExportArgs),
    /// Copy the living string keys of a Redis or Valkey to jeton, where they become names
    Import(Box<import::ImportArgs>),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check a configuration file, and show which values are in force
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Take a backup of a running server, without stopping its writes
    Backup(Box<backup::BackupArgs>),
    /// Make a data directory from a backup and its secret
    Restore(backup::RestoreArgs),
    /// Shift the times of a stopped server's log that lie ahead of the clock: makes a new data
    /// directory with all live tokens, their deadlines shifted by the same amount
    ShiftTime(backup::ShiftTimeArgs),
    /// Make, check and observe a cluster of several servers
    #[command(subcommand)]
    Cluster(Box<cluster::ClusterCommand>),
    /// Make a secret, or export that of a data directory, which no backup includes
    #[command(subcommand)]
    Secret(backup::SecretCommand),
    /// Verify the audit log, and read its lines
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Read the log of a stopped server and report its content; exit 1 on damage
    Verify(verify::VerifyArgs),
    /// Print the completions of these commands for a shell
    Completions(shell_files::CompletionsArgs),
    /// Write the manual pages of all commands to a directory
    Man(shell_files::ManArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main(process: Process) -> ExitCode {
    if let Some(mistake) = cpu::mistake() {
        out::tell!("error: {mistake}");
        return ExitCode::from(MISTAKEN);
    }
    let args = target::mark_tokens(std::env::args_os(), &Cli::command());
    let (matches, command) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(error) => return out::clap(&error),
    };
    let mut mistakes = environment::mistakes(&command, &matches);
    mistakes.extend(settings::SecretArgs::swallowed_flag(&command, &matches));
    if !mistakes.is_empty() {
        mistakes.iter().for_each(|mistake| out::tell!("error: {mistake}"));
        return ExitCode::from(MISTAKEN);
    }
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return out::clap(&error),
    };
    match cli.command {
        Command::Serve(given) => serve::run(&given, process, &Cli::command()),
        Command::Issue(args) => finish(client::issue(&args)),
        Command::Resolve(args) => finish(client::resolve(&args)),
        Command::Consume(args) => finish(client::consume(&args)),
        Command::Revoke(args) => finish(client::revoke(&args)),
        Command::Status(args) => finish(client::status(&args)),
        Command::Extend(args) => finish(client::extend(&args)),
        Command::Health(args) => health::run(&args),
        Command::Export(args) => finish(export::export(&args)),
        Command::Import(args) => import::run(&args),
        Command::Keys(command) => keys::run(&command),
        Command::Config(command) => config::run(&command),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => backup::run_restore(&args),
        Command::ShiftTime(args) => backup::run_shift(&args),
        Command::Cluster(command) => cluster::run(&command),
        Command::Secret(command) => backup::run_secret(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Verify(args) => verify::run(&args),
        Command::Completions(args) => shell_files::run_completions(&args, Cli::command()),
        Command::Man(args) => shell_files::run_man(&args, Cli::command()),
    }
}

/// Parses the flags, and again without the variables that they overrule. Returns the command without
/// those variables too.
fn parse(args: &[OsString]) -> Result<(ArgMatches, clap::Command), clap::Error> {
    let parse = |command| environment::without_empty(command).try_get_matches_from(args);
    let matches = parse(Cli::command())?;
    match settings::SecretArgs::without_overruled(Cli::command(), &matches) {
        Some(command) => Ok((parse(command.clone())?, command)),
        None => Ok((matches, Cli::command())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_serve_is_also_an_environment_variable() {
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        let mut count = 0;
        for flag in serve.get_opts() {
            let long = flag.get_long().unwrap();
            let name = format!("JETON_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env(), Some(name.as_ref()), "--{long}");
            count += 1;
        }
        assert!(count >= 20, "{count} flags");
    }
}
