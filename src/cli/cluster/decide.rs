//! `jeton cluster leave`, `forget` and `upgrade`: what a person decides on a running node.

use clap::Args;
use http::Method;
use tokio::time::timeout;

use super::failure::ClusterFailure;
use crate::cli::exit::MISTAKEN;
use crate::cli::failure::{ClientError, code_of};
use crate::cli::out;
use crate::cli::target::AdminArgs;
use crate::cli::wire::reason;
use crate::model::cluster::NodeId;

/// Time for an answer: a decision waits until it has landed, and elections take seconds.
const ANSWER_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// `jeton cluster forget`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ForgetArgs {
    /// The node, by its id as `jeton cluster status` shows it
    node: NodeId,

    #[command(flatten)]
    asked: AdminArgs,
}

/// `jeton cluster upgrade`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct UpgradeArgs {
    /// Allow the new format; every node must run a version that reads it
    #[arg(long, required = true)]
    finish: bool,

    #[command(flatten)]
    asked: AdminArgs,
}

pub(super) fn leave(asked: &AdminArgs) -> Result<(), ClusterFailure> {
    post(asked, "/cluster/leave")
}

pub(super) fn forget(args: &ForgetArgs) -> Result<(), ClusterFailure> {
    post(&args.asked, &format!("/cluster/forget?node={}", args.node))
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Result<(), ClusterFailure> {
    debug_assert!(args.finish, "it is required");
    post(&args.asked, "/cluster/finish-upgrade")
}

/// Sends the decision, and prints what became of it.
fn post(asked: &AdminArgs, path: &str) -> Result<(), ClusterFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ClusterFailure::Unreachable(error.to_string()))?;
    let sent = runtime.block_on(async {
        let sending = async {
            let mut wire = asked.connect().await?;
            let answer = wire.send(Method::POST, path, None, None).await?;
            Ok::<_, ClientError>(answer)
        };
        timeout(ANSWER_LIMIT, sending).await
    });
    let answer = match sent {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.code() == MISTAKEN => {
            return Err(ClusterFailure::Mistake(error.to_string()));
        }
        Ok(Err(error)) => return Err(ClusterFailure::Unreachable(error.to_string())),
        Err(_) => {
            let why = "the node did not answer in time; see jeton cluster status";
            return Err(ClusterFailure::Unreachable(why.to_owned()));
        }
    };
    let said = reason(&answer.body);
    if answer.status.is_success() {
        out::print_line(said)?;
        return Ok(());
    }
    let status = answer.status.as_u16();
    Err(ClusterFailure::Answered { code: code_of(status), said: format!("{status}: {said}") })
}
