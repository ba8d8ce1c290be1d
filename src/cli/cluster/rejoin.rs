//! `jeton cluster rejoin`: a node that has left its cluster starts again, as another node.

use std::path::Path;

use super::failure::ClusterFailure;
use crate::cli::out;
use crate::cluster::node::{Rejoined, rejoin};
use crate::permissions::Strictness;

pub(super) fn run(dir: &Path) -> Result<(), ClusterFailure> {
    let Rejoined { old, new } = rejoin(dir, Strictness::Warn)?;
    out::print_line(format!("{}: the next start is that of node {new}", dir.display()))?;
    if let Some(old) = old {
        out::print_line(format!(
            "if node {old} runs nowhere else, then run jeton cluster forget {old}: until then status \
             shows it as absent"
        ))?;
    }
    Ok(())
}
