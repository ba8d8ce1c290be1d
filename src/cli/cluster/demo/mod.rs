//! `jeton cluster demo`: a cluster on one machine, with everything that makes it one.
//!
//! Three NATS servers and three nodes run as child processes in a folder of their own, on free ports
//! of the loopback interface. The demo shows the three calls of a checkout, each on another node,
//! puts load on all nodes, kills the server that leads the stream and a node with SIGKILL, and judges
//! what its callers were answered. Nothing is left behind, whatever ends it: the folder is removed,
//! and the kernel ends the processes even if the demo itself is killed.
//!
//! Reading order: `story` (the steps), `callers` (the load), `verdict` (what was right), then
//! `stage` (processes and folder), `place`, `program` and `bound`.

mod bound;
mod callers;
mod failure;
mod place;
mod program;
mod show;
mod stage;
mod story;
mod verdict;
mod wires;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::cli::exit::FAILED;
use crate::cli::out::{self, tell};

pub(in crate::cli) use bound::{BoundArgs, become_bound};
use failure::DemoFailure;
use program::NatsServer;
use show::Show;
use stage::Stage;

/// `jeton cluster demo`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct DemoArgs {
    /// The program nats-server, if it is not on the PATH
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,

    /// Leave everything running at the end, and print how to stop it
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, perform(args)),
        Err(error) => Err(DemoFailure::io("start the async runtime")(error)),
    };
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(DemoFailure::Output(error)) => out::unprinted(&error, ""),
        Err(failure) => out::failed(&failure, failure.code()),
    }
}

/// True if everything that was acknowledged was kept.
async fn perform(args: &DemoArgs) -> Result<bool, DemoFailure> {
    // First, so that no signal can end the demo without its end.
    let interrupted = interruption().map_err(DemoFailure::io("watch for signals"))?;
    let nats_server = NatsServer::find(args.nats_server.as_deref())?;
    let mut stage = Stage::new(nats_server, args.keep)?;
    let show = Show::new();
    let told = tokio::select! {
        told = story::tell(&mut stage, &show) => told,
        () = interrupted => Err(DemoFailure::Interrupted),
    };
    match (&told, args.keep) {
        (Ok(_), true) => out::print(stage.leave())?,
        (Err(DemoFailure::Interrupted), _) | (Ok(_), false) => {}
        (Err(_), true) => tell!("the logs are in {}", stage.keep_folder().display()),
        (Err(_), false) => {}
    }
    told
}

/// Ends with the first signal that asks the demo to end.
fn interruption() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
