//! The settings of the commands that look at what a node will use.

use crate::cli::settings::{Given, ServeConfig, Settings};
use crate::clock::SystemClock;
use crate::cluster;
use crate::config::file::Mistake;
use crate::model::token::Secret;

use super::failure::ClusterFailure;

/// The configuration of a node, by the flags, the environment and the file.
pub(super) fn settings_of(given: &Given) -> Result<(ServeConfig, cluster::Config), ClusterFailure> {
    let settings = Settings::read(given).map_err(|mistake| vec![mistake]);
    let config =
        settings.and_then(|settings| settings.check()).map_err(ClusterFailure::Settings)?;
    match config.cluster.clone() {
        Some(cluster) => Ok((config, cluster)),
        None => {
            let text = "--cluster is needed: the NATS servers".to_owned();
            let mistake = Mistake { file: None, place: None, text };
            Err(ClusterFailure::Settings(vec![mistake]))
        }
    }
}

/// The secret of the cluster, from its file or its program.
pub(super) fn secret_of(config: &ServeConfig) -> Result<Secret, ClusterFailure> {
    match config.secret_source() {
        Some(source) => Ok(source.read(&SystemClock::new())?),
        None => {
            let text = "--secret-file or --secret-command is needed".to_owned();
            Err(ClusterFailure::Mistake(text))
        }
    }
}
