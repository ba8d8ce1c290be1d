//! `jeton cluster rejoin`: a node that has left its cluster starts again, as another node.

use std::path::Path;

use super::failure::ClusterFailure;
use crate::cli::out;
use crate::cluster::node::rejoin;
use crate::permissions::Strictness;

pub(super) fn run(dir: &Path) -> Result<(), ClusterFailure> {
    let node = rejoin(dir, Strictness::Warn)?;
    out::print_line(format!("{}: the next start is that of node {node}", dir.display()))?;
    Ok(())
}
