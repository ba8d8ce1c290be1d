//! The flags of the audit log.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::values::Reader;
use crate::audit::{self, Destination, SIZE_MIN_BYTES};
use crate::model::setting::SettingError;
use crate::model::text::size_text;
use crate::permissions::Strictness;

/// The flags of the audit log.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// File of the audit log, which records who did what to which token, one JSON object per line;
    /// created if missing
    #[arg(long, env = "JETON_AUDIT", value_name = "FILE")]
    audit: Option<PathBuf>,

    /// Refuse requests with 503 while they cannot be audited
    #[arg(long, env = "JETON_AUDIT_REQUIRED", value_parser = FalseyValueParser::new())]
    audit_required: bool,

    /// Size at which the audit log is rotated: renamed to a name with the time
    #[arg(long, env = "JETON_AUDIT_MAX_SIZE", default_value = "256MiB", value_name = "SIZE")]
    audit_max_size: String,

    /// Number of rotated files to keep; 0: all
    #[arg(long, env = "JETON_AUDIT_KEEP", default_value = "0", value_name = "N")]
    audit_keep: String,

    /// Size at which the file of refused and missed requests is rotated; its name is that of the
    /// audit log plus .refused
    #[arg(
        long,
        env = "JETON_AUDIT_REFUSED_MAX_SIZE",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    audit_refused_max_size: String,

    /// Number of rotated .refused files to keep
    #[arg(long, env = "JETON_AUDIT_REFUSED_KEEP", default_value = "4", value_name = "N")]
    audit_refused_keep: String,

    /// File to which checkpoints of the audit log are appended too, or - for standard output: what is
    /// kept on another machine shows whether the log was replaced
    #[arg(long, env = "JETON_AUDIT_CHECKPOINTS", value_name = "FILE")]
    audit_checkpoints: Option<PathBuf>,

    /// Log a warning, at most once a second, when a consumed token is presented again
    #[arg(long, env = "JETON_WARN_ON_REPLAY", value_parser = FalseyValueParser::new())]
    warn_on_replay: bool,
}

impl AuditArgs {
    /// The audit configuration that the flags make; `None` without an audit log.
    pub(super) fn read(
        &self,
        reader: &mut Reader,
        permissions: Strictness,
    ) -> Option<audit::Config> {
        let config = audit::Config {
            file: self.audit.clone(),
            is_required: self.audit_required,
            size_max_bytes: reader.size("audit-max-size", &self.audit_max_size),
            files_kept: reader.count("audit-keep", &self.audit_keep),
            permissions,
            refused_size_max_bytes: reader
                .size("audit-refused-max-size", &self.audit_refused_max_size),
            refused_files_kept: reader.count("audit-refused-keep", &self.audit_refused_keep),
            warns_of_replays: self.warn_on_replay,
            checkpoints: self.audit_checkpoints.as_ref().map(|file| match file.to_str() {
                Some("-") => Destination::Stdout,
                _ => Destination::File(file.clone()),
            }),
        };
        let is_wanted = config.file.is_some() || config.is_required || config.warns_of_replays;
        (is_wanted || config.checkpoints.is_some()).then_some(config)
    }
}

/// All mistakes in the audit configuration.
pub(super) fn mistakes(config: &audit::Config) -> Vec<SettingError> {
    let mut mistakes = Vec::new();
    if config.is_required && config.file.is_none() {
        let mistake = SettingError::new("audit-required", "needs ");
        mistakes.push(mistake.name("audit").text(": the file"));
    }
    if config.checkpoints.is_some() && config.file.is_none() {
        let mistake = SettingError::new("audit-checkpoints", "needs ");
        mistakes.push(mistake.name("audit").text(": the file"));
    }
    let own = config.file.iter().flat_map(|log| audit::files_of(log));
    if let Some(Destination::File(file)) = &config.checkpoints
        && own.into_iter().any(|own| own == *file)
    {
        let mistake = SettingError::new("audit-checkpoints", "must not be a file of ");
        mistakes.push(mistake.name("audit"));
    }
    for (setting, size_max_bytes) in [
        ("audit-max-size", config.size_max_bytes),
        ("audit-refused-max-size", config.refused_size_max_bytes),
    ] {
        if size_max_bytes < SIZE_MIN_BYTES {
            let min = size_text(SIZE_MIN_BYTES);
            mistakes.push(SettingError::new(setting, format!("must be at least {min}")));
        }
    }
    if !(1..=1000).contains(&config.refused_files_kept) {
        let text = format!("must be 1 to 1000, not {}", config.refused_files_kept);
        mistakes.push(SettingError::new("audit-refused-keep", text));
    }
    mistakes
}
