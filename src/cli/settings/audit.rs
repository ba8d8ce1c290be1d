//! The flags of the audit log.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::values::Reader;
use crate::audit::{self, SIZE_MIN_BYTES};
use crate::model::setting::SettingError;
use crate::model::text::size_text;
use crate::permissions::Strictness;

/// The flags of the audit log.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Where to write who did what to which token, one JSON object a line; made where it is missing
    #[arg(long, env = "JETON_AUDIT", value_name = "FILE")]
    audit: Option<PathBuf>,

    /// Refuse with 503 what cannot be audited at the moment
    #[arg(long, env = "JETON_AUDIT_REQUIRED", value_parser = FalseyValueParser::new())]
    audit_required: bool,

    /// Size up to which the audit log grows before it is put aside under a name with the time
    #[arg(long, env = "JETON_AUDIT_MAX_SIZE", default_value = "256MiB", value_name = "SIZE")]
    audit_max_size: String,

    /// Files put aside that are kept; 0: all
    #[arg(long, env = "JETON_AUDIT_KEEP", default_value = "0", value_name = "N")]
    audit_keep: String,

    /// Size up to which the file for what was refused or missed grows, which is named as the audit log
    /// with .refused behind it
    #[arg(
        long,
        env = "JETON_AUDIT_REFUSED_MAX_SIZE",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    audit_refused_max_size: String,

    /// Such files put aside that are kept
    #[arg(long, env = "JETON_AUDIT_REFUSED_KEEP", default_value = "4", value_name = "N")]
    audit_refused_keep: String,

    /// Log a warning, at most once a second, where a consumed token is presented again
    #[arg(long, env = "JETON_WARN_ON_REPLAY", value_parser = FalseyValueParser::new())]
    warn_on_replay: bool,
}

impl AuditArgs {
    /// What the flags ask for; nothing where nothing is to be told.
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
        };
        (config.file.is_some() || config.is_required || config.warns_of_replays).then_some(config)
    }
}

/// All mistakes in it; none for a good one.
pub(super) fn mistakes(config: &audit::Config) -> Vec<SettingError> {
    let mut mistakes = Vec::new();
    if config.is_required && config.file.is_none() {
        let mistake = SettingError::new("audit-required", "needs ");
        mistakes.push(mistake.name("audit").text(": the file"));
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
