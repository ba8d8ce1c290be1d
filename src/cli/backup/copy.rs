//! The log of a running server, as the data directory of another one: a backup and its restore in one
//! step, for a node that joins a cluster. The copy continues in the cluster, so nothing is forgotten
//! and nothing counts twice.

use std::path::Path;

use super::failure::BackupFailure;
use super::place::{Place, check_free};
use super::receive::ask_for_join;
use super::restore::check_secret;
use crate::cli::wire::Wire;
use crate::engine::BackupHead;
use crate::model::token::Secret;

/// What was copied.
pub(in crate::cli) struct Copied {
    /// Tokens that had a use left.
    pub(in crate::cli) tokens: u64,
    /// The moment of the copy, RFC 3339.
    pub(in crate::cli) time: String,
}

/// Copies the log of the server to `dir`, which must be missing or empty. The secret, which messages
/// name so, must be that of the log; the directory does not get it.
pub(in crate::cli) async fn copy_log(
    wire: &mut Wire,
    dir: &Path,
    secret: (&Secret, &str),
) -> Result<Copied, BackupFailure> {
    // Checked before the server does any work.
    check_free(dir)?;
    let mut source = ask_for_join(wire).await?;
    let head: BackupHead = source.head().await?;
    check_secret(&head.log_id, secret.0, secret.1)?;
    let place = Place::new(dir)?;
    let (content, _) = source.fill(&head, &place, Some(secret.0)).await?;
    place.finish()?;
    Ok(Copied { tokens: content.tokens.unwrap_or(head.tokens), time: content.time })
}
