//! `jeton cluster join`: the data directory of a new node, from the log of a running one. The new node
//! follows the stream from there.

use std::path::Path;

use clap::Args;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::failure::ClusterFailure;
use super::given::{secret_of, settings_of};
use crate::cli::backup::{BackupFailure, Copied, copy_log};
use crate::cli::failure::{ClientError, code_of};
use crate::cli::out::{self, tell};
use crate::cli::settings::Given;
use crate::cli::target::AdminArgs;
use crate::cli::wire::reason;
use crate::model::token::Secret;

/// `jeton cluster join`
#[derive(Args, Debug)]
pub(in crate::cli) struct JoinArgs {
    #[command(flatten)]
    asked: AdminArgs,

    #[command(flatten)]
    given: Given,
}

/// What the other node says of itself.
#[derive(Deserialize)]
struct Peer {
    name: String,
    state: String,
    reads: bool,
    position: Option<String>,
    stream: PeerStream,
}

#[derive(Deserialize)]
struct PeerStream {
    first: Option<u64>,
}

pub(super) fn run(args: &JoinArgs) -> Result<(), ClusterFailure> {
    let (config, cluster) = settings_of(&args.given)?;
    let Some(dir) = &config.engine.data_dir else {
        return Err(ClusterFailure::Mistake("--data-dir is needed".to_owned()));
    };
    let secret = secret_of(&config)?;
    let name = config.secret_source().map(|source| source.to_string()).unwrap_or_default();
    let secret = (&secret, &*name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| ClusterFailure::Unreachable(error.to_string()))?;
    let copied = runtime.block_on(copy(&args.asked, &cluster.name, dir, secret))?;
    let Copied { tokens, time } = copied;
    out::print_line(format!(
        "{} has the log of the node at {} with {tokens} tokens, as of {time}: start the new node \
         with jeton serve and the same flags, soon, while the stream has what came after that",
        dir.display(),
        args.asked.server,
    ))?;
    Ok(())
}

async fn copy(
    asked: &AdminArgs,
    name: &str,
    dir: &Path,
    secret: (&Secret, &str),
) -> Result<Copied, ClusterFailure> {
    let before = peer(asked, name).await?;
    let mut wire = asked.connect().await.map_err(BackupFailure::from)?;
    let copied = copy_log(&mut wire, dir, secret).await?;
    // The copy is complete: that the other node says nothing more is no failure.
    if let Ok(after) = peer(asked, name).await
        && has_gap(&before, &after)
    {
        tell!(
            "warning: the stream may have forgotten messages that the copy does not have; if the \
             new node says so, join again into another directory"
        );
    }
    Ok(copied)
}

/// Whether the stream begins behind what the log had before it was copied.
fn has_gap(before: &Peer, after: &Peer) -> bool {
    let seq = |position: &str| position.rsplit_once('.').and_then(|(_, seq)| seq.parse().ok());
    let had: Option<u64> = before.position.as_deref().and_then(seq);
    let (Some(had), Some(first)) = (had, after.stream.first) else { return false };
    first > had
}

/// The other node, which must be one of this cluster that knows everything.
async fn peer(asked: &AdminArgs, name: &str) -> Result<Peer, ClusterFailure> {
    let failed = |error: ClientError| ClusterFailure::Backup(error.into());
    let mut wire = asked.connect().await.map_err(failed)?;
    let answer = wire.send(Method::GET, "/cluster", None, None).await;
    let answer = answer.map_err(|error| failed(error.into()))?;
    if answer.status != StatusCode::OK {
        let (status, said) = (answer.status.as_u16(), reason(&answer.body));
        let hint = "--server must name the admin listener of a node";
        let said = format!("{status}: {said} ({hint})");
        return Err(ClusterFailure::Answered { code: code_of(status), said });
    }
    let peer: Peer =
        serde_json::from_slice(&answer.body).map_err(|_| failed(ClientError::Answer))?;
    if peer.name != name {
        let text = format!(
            "--server is a node of the cluster {}, and --cluster-name is {name}",
            peer.name
        );
        return Err(ClusterFailure::Mistake(text));
    }
    match peer.reads {
        true => Ok(peer),
        false => Err(ClusterFailure::Refused(format!(
            "the node at {} is {}: join from a node that is ready",
            asked.server, peer.state
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_begins_behind_the_copy_is_noticed() {
        let peer = |position: Option<&str>, first| Peer {
            name: "shop".to_owned(),
            state: "ready".to_owned(),
            reads: true,
            position: position.map(str::to_owned),
            stream: PeerStream { first },
        };
        let gap = |had: &str, first| has_gap(&peer(Some(had), Some(1)), &peer(None, first));
        assert!(!gap("1.900", Some(900)) && !gap("1.900", Some(1)) && !gap("1.900", None));
        assert!(gap("1.900", Some(901)));
        assert!(!has_gap(&peer(None, None), &peer(None, Some(7))));
    }
}
