//! `jeton cluster`: makes, checks and observes a cluster.
//!
//! `init` and `check` take the flags and the configuration file of `jeton serve`, so that they look
//! at exactly what a node will use.

mod check;
mod decide;
mod demo;
mod failure;
mod given;
mod init;
mod join;
mod nats_config;
mod rejoin;
mod reseed;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::config::mistaken;
use super::out;
use super::settings::Given;
use super::target::AdminArgs;

use decide::{ForgetArgs, UpgradeArgs};
use demo::{BoundArgs, DemoArgs};
use failure::ClusterFailure;
use init::InitArgs;
use join::JoinArgs;
use nats_config::NatsConfigArgs;
use reseed::ReseedArgs;
use status::StatusArgs;

/// The subcommands of `jeton cluster`.
#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Make the stream of a cluster on its NATS servers, and begin the cluster; to be run once
    Init(InitArgs),
    /// Check every setting of the stream and of the NATS servers; exit 1 if one is wrong
    Check(Given),
    /// Print the configuration of a NATS server for a cluster
    NatsConfig(NatsConfigArgs),
    /// Print what a node knows of its cluster; exit 0 if all is well, 1 if not, 3 without an answer
    Status(StatusArgs),
    /// Make a new stream for a cluster that has lost its own, from the log of a stopped node
    Reseed(ReseedArgs),
    /// Make the data directory of a new node from the log of a running one
    Join(JoinArgs),
    /// Take the node that is asked out of its cluster for good; it ends
    Leave(AdminArgs),
    /// Take another node out of the cluster for good, whether it runs or not
    Forget(ForgetArgs),
    /// Say that every node runs the new version
    Upgrade(UpgradeArgs),
    /// Let a stopped node that has left its cluster start again, as another node
    Rejoin {
        /// The data directory
        dir: PathBuf,
    },
    /// Show a cluster on this machine: three NATS servers and three nodes, some of them killed under
    /// load; exit 1 if anything acknowledged is lost or consumed twice
    Demo(DemoArgs),
    /// Become another program that ends with the demo
    #[command(hide = true)]
    Bound(BoundArgs),
}

pub(super) fn run(command: &ClusterCommand) -> ExitCode {
    let done = match command {
        ClusterCommand::Init(args) => init::run(args),
        ClusterCommand::Check(given) => check::run(given),
        ClusterCommand::NatsConfig(args) => nats_config::run(args),
        ClusterCommand::Status(args) => return status::run(args),
        ClusterCommand::Reseed(args) => reseed::run(args),
        ClusterCommand::Join(args) => join::run(args),
        ClusterCommand::Leave(asked) => decide::leave(asked),
        ClusterCommand::Forget(args) => decide::forget(args),
        ClusterCommand::Upgrade(args) => decide::upgrade(args),
        ClusterCommand::Rejoin { dir } => rejoin::run(dir),
        ClusterCommand::Demo(args) => return demo::run(args),
        ClusterCommand::Bound(args) => return demo::become_bound(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(ClusterFailure::Settings(mistakes)) => mistaken(&mistakes),
        Err(ClusterFailure::Output(error)) => out::unprinted(&error, ""),
        Err(failure) => out::failed(&failure, failure.code()),
    }
}
