//! Values that clap rejects, with the flag and the reason.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::model::setting::SettingError;

/// The flag that clap rejects and why; only the kind of mistake if no flag is to blame.
pub(crate) fn refusal(error: &clap::Error) -> Result<SettingError, String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let Some(arg) = text(ContextKind::InvalidArg) else {
        return Err(error.kind().to_string());
    };
    let key = arg.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
    let said = match (error.kind(), text(ContextKind::InvalidValue)) {
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, Some(value)) => {
            // The value may have control characters.
            format!("has an invalid value '{}'{}", value.escape_debug(), reason(error))
        }
        (kind, _) => format!("is rejected: {kind}"),
    };
    Ok(SettingError::new(key.to_owned(), said))
}

/// Why clap rejects a value: the error of the flag's parser, or the possible values.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return format!(": {}", source.to_string().escape_debug());
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) => format!(": must be one of {}", valid.join(", ")),
        _ => String::new(),
    }
}
