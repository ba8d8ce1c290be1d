//! SIGHUP reloads the configuration file: values that can change at run time take effect, and the
//! log names those that need a restart.

use std::fmt;

use tracing_subscriber::EnvFilter;

use super::settings::{Given, ServeConfig, Settings};
use crate::config::merge::Setting;

/// Replaces the log filter, or returns why that failed.
pub(super) type SetLogFilter = Box<dyn Fn(EnvFilter) -> Result<(), String>>;

/// Keys whose values can change at run time.
pub(super) const AT_RUN_TIME: [&str; 1] = ["log-level"];

/// The configuration of a running server.
pub(super) struct Reload {
    given: Given,
    /// The values in force.
    in_force: Settings,
    set_log_filter: SetLogFilter,
}

impl Reload {
    /// `None` without a configuration file: flags and environment cannot change.
    pub(super) fn new(
        given: &Given,
        in_force: Settings,
        set_log_filter: SetLogFilter,
    ) -> Option<Self> {
        given.config_file()?;
        Some(Self { given: given.clone(), in_force, set_log_filter })
    }

    /// Reloads the file. If it has mistakes, they are logged and nothing changes. Returns whether it
    /// was loaded.
    pub(super) fn read(&mut self) -> bool {
        let read = Settings::read(&self.given).map_err(|mistake| vec![mistake]);
        let checked = read.and_then(|settings| Ok((settings.check()?, settings)));
        let (mut config, settings) = match checked {
            Ok(checked) => checked,
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!("can't load the configuration: the previous one stays in use");
                return false;
            }
        };
        let old = |new: &Setting| self.in_force.get(&new.flag.key).cloned();
        let changes = settings.iter().filter_map(|new| Some(Change { old: old(new)?, new }));
        let changes = changes.filter(|change| change.old.value != change.new.value);
        let (now, later): (Vec<_>, Vec<_>) = changes.partition(Change::is_at_run_time);
        // The changes that take effect come first, so that the rest is logged at the new log level.
        for change in &now {
            match self.apply(&change.new.flag.key, &mut config) {
                Ok(()) => {
                    tracing::info!("{change}");
                    self.in_force.take(change.new);
                }
                Err(error) => tracing::error!(error, "{change} failed"),
            }
        }
        for change in &later {
            tracing::warn!("{change} needs a restart");
        }
        tracing::info!(changed = now.len(), waiting = later.len(), "configuration loaded");
        true
    }

    fn apply(&self, key: &str, config: &mut ServeConfig) -> Result<(), String> {
        match key {
            "log-level" => (self.set_log_filter)(std::mem::take(&mut config.log_filter)),
            _ => Err("can't be changed at run time".to_owned()),
        }
    }
}

/// `listen: 127.0.0.1:7450 -> 0.0.0.0:7450`
struct Change<'a> {
    old: Setting,
    new: &'a Setting,
}

impl Change<'_> {
    fn is_at_run_time(&self) -> bool {
        AT_RUN_TIME.contains(&self.new.flag.key.as_str())
    }
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.new.flag.key, self.old.shown(), self.new.shown())
    }
}
