//! SIGHUP reads the configuration file again: what can change while the server runs takes effect,
//! and what cannot is named.

use std::fmt;

use tracing_subscriber::EnvFilter;

use crate::config::ServeConfig;
use crate::config::merge::{Given, Setting, Settings};

/// Exchanges what is logged. Says why where that fails.
pub(super) type SetLogFilter = Box<dyn Fn(EnvFilter) -> Result<(), String>>;

/// Keys whose values change while the server runs.
const AT_RUN_TIME: [&str; 1] = ["log-level"];

/// The configuration of a running server.
pub(super) struct Reload {
    given: Given,
    /// With the values that are in force.
    in_force: Settings,
    set_log_filter: SetLogFilter,
}

impl Reload {
    /// Nothing where no file is named: flags and environment do not change.
    pub(super) fn new(
        given: &Given,
        in_force: Settings,
        set_log_filter: SetLogFilter,
    ) -> Option<Reload> {
        given.config_file()?;
        Some(Reload { given: given.clone(), in_force, set_log_filter })
    }

    /// Reads the file again. Where it has mistakes nothing changes, and they are logged.
    pub(super) fn read(&mut self) {
        let read = Settings::read(&self.given).map_err(|mistake| vec![mistake]);
        let checked = read.and_then(|settings| Ok((settings.check()?, settings)));
        let (mut config, settings) = match checked {
            Ok(checked) => checked,
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!("the configuration stays as it was");
                return;
            }
        };
        let (mut changed, mut waiting) = (0, 0);
        for new in settings.iter() {
            let old = self.in_force.get(&new.flag.key);
            let Some(old) = old.filter(|old| old.value != new.value) else { continue };
            let change = Change { old, new }.to_string();
            if !AT_RUN_TIME.contains(&new.flag.key.as_str()) {
                tracing::warn!("{change} needs a restart");
                waiting += 1;
            } else if let Err(error) = self.apply(&new.flag.key, &mut config) {
                tracing::error!(error, "{change} failed");
            } else {
                tracing::info!("{change}");
                self.in_force.take(new);
                changed += 1;
            }
        }
        tracing::info!(changed, waiting, "the configuration was read");
    }

    fn apply(&self, key: &str, config: &mut ServeConfig) -> Result<(), String> {
        match key {
            "log-level" => (self.set_log_filter)(std::mem::take(&mut config.log_filter)),
            _ => Err("it has no way to change".to_owned()),
        }
    }
}

/// `listen: 127.0.0.1:7450 -> 0.0.0.0:7450`
struct Change<'a> {
    old: &'a Setting,
    new: &'a Setting,
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.new.flag.key, self.old.shown(), self.new.shown())
    }
}
