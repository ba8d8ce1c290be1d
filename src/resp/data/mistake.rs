//! Why a command is not performed: a mistake in it, in the words of Redis, or a refusal of the
//! service.

use std::borrow::Cow;

use crate::audit::EventOutcome;
use crate::service::refusal::Refusal;

/// Length of the longest option that an error repeats.
const REPEATED_LEN_MAX: usize = 128;

/// Why a command is not performed. No text contains a key or a value (promise P9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::resp) enum Mistake {
    /// An option is unknown, contradicts another one, or lacks its value.
    Syntax,
    /// A number is not one.
    NotInteger,
    /// The expire time is not positive, overflows, or is beyond `--max-ttl`, in this command.
    ExpireTime(&'static str),
    /// The command has a wrong number of words.
    Arity(&'static str),
    /// Anything else.
    Text(Cow<'static, str>),
    /// The service refuses it.
    Refused(Refusal),
}

impl Mistake {
    /// The mistake with this text.
    pub(super) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// An unknown option of `EXPIRE`, which Redis repeats.
    pub(super) fn unsupported(option: &[u8]) -> Self {
        let shown = &option[..option.len().min(REPEATED_LEN_MAX)];
        let shown = String::from_utf8_lossy(shown).replace(['\r', '\n'], " ");
        Self::text(format!("Unsupported option {shown}"))
    }

    /// The outcome in the audit log.
    pub(in crate::resp) fn meaning(&self) -> EventOutcome {
        match self {
            Self::Refused(_) => EventOutcome::Unavailable,
            Self::ExpireTime(_) => EventOutcome::OutOfLimits,
            Self::Syntax | Self::NotInteger | Self::Arity(_) | Self::Text(_) => {
                EventOutcome::Malformed
            }
        }
    }

    /// The text of the error, without the code `ERR`; `None` for a refusal.
    pub(in crate::resp) fn detail(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Syntax => "syntax error".into(),
            Self::NotInteger => "value is not an integer or out of range".into(),
            Self::ExpireTime(name) => {
                format!("invalid expire time in '{}' command", name.to_ascii_lowercase()).into()
            }
            Self::Arity(name) => {
                let name = name.to_ascii_lowercase();
                format!("wrong number of arguments for '{name}' command").into()
            }
            Self::Text(text) => text.clone(),
            Self::Refused(_) => return None,
        })
    }
}

impl From<Refusal> for Mistake {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_an_option_is_repeated_on_one_line_and_not_at_any_length() {
        let long = [b'x'; 1_000];
        let detail = Mistake::unsupported(&long).detail().unwrap();
        assert_eq!(detail.len(), "Unsupported option ".len() + REPEATED_LEN_MAX);
        let detail = Mistake::unsupported(b"a\r\n+OK\r\n").detail().unwrap();
        assert_eq!(detail, "Unsupported option a  +OK  ");
    }
}
