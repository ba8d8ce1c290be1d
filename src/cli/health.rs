//! `jeton health`: asks a server whether it is alive or ready, for probes without a shell.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use tokio::time::timeout;

use super::exit::{FAILED, MISTAKEN, UNANSWERED};
use super::failure::ClientError;
use super::out;
use super::target::AdminArgs;
use super::wire::Answer;
use super::wire::reason;

/// Time for the answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `jeton health`
#[derive(Args, Clone, Debug)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Ask whether the server is ready (/readyz), not only whether it is alive (/healthz)
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &HealthArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime
        .map_err(ClientError::Runtime)
        .map(|runtime| runtime.block_on(async { timeout(ANSWER_LIMIT, ask(args)).await }));
    match asked {
        Ok(Ok(Ok(answer))) => end(&answer),
        Ok(Ok(Err(error))) | Err(error) => error.end(),
        Ok(Err(_)) => {
            let within = ANSWER_LIMIT.as_secs();
            out::failed(&format_args!("the server did not answer within {within} s"), UNANSWERED)
        }
    }
}

async fn ask(args: &HealthArgs) -> Result<Answer, ClientError> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let mut wire = args.admin.connect().await?;
    Ok(wire.send(Method::GET, path, None, None).await?)
}

/// Prints what the server said.
fn end(answer: &Answer) -> ExitCode {
    let Answer { status, body, .. } = answer;
    match *status {
        StatusCode::OK => match out::print(body) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => out::unprinted(&error, ""),
        },
        // The admin listener asks for a key on neither path, so 401 is from another listener too.
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => {
            let why = format_args!(
                "{status}: --server must name the admin listener (--admin-listen), which has \
                this path and needs no key for it",
                status = answer.status
            );
            out::failed(&why, MISTAKEN)
        }
        status => out::failed(&format_args!("{status}: {}", reason(body)), FAILED),
    }
}
