//! Parses the values of flags as addresses, sizes, durations and so on, and collects all mistakes.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

use super::log_format::LogFormat;
use crate::engine::SyncMode;
use crate::model::rate_limit::RATE_MAX;
use crate::model::scope::{Scope, Scopes};
use crate::model::setting::SettingError;
use crate::model::text::{DURATION_FORM, SIZE_FORM, duration_text, parse_duration, parse_size};
use crate::net::listen::ListenAddress;
use crate::permissions::Strictness;
use crate::resp::ReadLevel;
use crate::service::authentication::Anonymous;
use crate::service::quotas::NamespaceLimits;
use crate::tls::TlsFiles;

/// Libraries that log what clients send, or a line for each message that waits too long.
const SILENCED: [&str; 2] = ["h2", "async_nats"];

/// Parses values and collects the mistakes. For a value that it cannot parse it returns a
/// placeholder, which is never used.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<SettingError>,
}

impl Reader {
    pub(super) fn read<T>(
        &mut self,
        setting: &'static str,
        text: &str,
        form: &str,
        value: Option<T>,
        or: T,
    ) -> T {
        value.unwrap_or_else(|| {
            self.mistakes.push(wrong(setting, form, text));
            or
        })
    }

    fn parsed<T: FromStr>(&mut self, setting: &'static str, text: &str, form: &str, or: T) -> T
    where
        T::Err: Display,
    {
        let value = text.trim().parse().ok();
        self.read(setting, text, form, value, or)
    }

    /// Parses each of several values; their parser describes the expected form.
    pub(super) fn all<T>(&mut self, setting: &'static str, texts: &[String]) -> Vec<T>
    where
        T: FromStr<Err = &'static str>,
    {
        let read = |text: &String| {
            let value = text.parse();
            value.map_err(|form| self.mistakes.push(wrong(setting, form, text))).ok()
        };
        texts.iter().filter_map(read).collect()
    }

    pub(super) fn address(&mut self, setting: &'static str, text: &str) -> ListenAddress {
        let (form, read) = match text.trim().parse() {
            Ok(address) => ("", Some(address)),
            Err(form) => (form, None),
        };
        self.read(setting, text, form, read, ListenAddress::Localhost(0))
    }

    pub(super) fn count(&mut self, setting: &'static str, text: &str) -> usize {
        self.parsed(setting, text, "a whole number", 1)
    }

    pub(super) fn size(&mut self, setting: &'static str, text: &str) -> u64 {
        self.read(setting, text, SIZE_FORM, parse_size(text).ok(), 0)
    }

    /// Parses a memory limit; `None` for no limit.
    pub(super) fn memory(&mut self, text: &str) -> Option<u64> {
        let form = format!("none or {SIZE_FORM}");
        let size = || parse_size(text).map(Some).ok();
        let value = if text.trim() == "none" { Some(None) } else { size() };
        self.read("max-memory", text, &form, value, None)
    }

    pub(super) fn bytes(&mut self, setting: &'static str, text: &str) -> usize {
        usize::try_from(self.size(setting, text)).unwrap_or(usize::MAX)
    }

    pub(super) fn duration(&mut self, setting: &'static str, text: &str) -> Duration {
        self.read(setting, text, DURATION_FORM, parse_duration(text).ok(), Duration::ZERO)
    }

    pub(super) fn sync(&mut self, setting: &'static str, text: &str) -> SyncMode {
        let mode = match text {
            "always" => Some(SyncMode::Always),
            "never" => Some(SyncMode::Never),
            period => parse_duration(period).ok().map(SyncMode::Every),
        };
        let form = "always, never or a duration such as 100ms";
        self.read(setting, text, form, mode, SyncMode::Always)
    }

    pub(super) fn anonymous(&mut self, text: &str) -> Option<Anonymous> {
        let value = text.split_once(':').and_then(|(namespace, scopes)| {
            let (namespace, scopes) = (namespace.trim().parse().ok()?, scopes.parse().ok()?);
            let allowed = Scopes::default().with(Scope::Resolve).with(Scope::Consume);
            Scopes::is_within(scopes, allowed).then_some(Anonymous { namespace, scopes })
        });
        let form = "a namespace and resolve, consume or both, such as shop-a:resolve,consume";
        self.read("anonymous", text, form, value.map(Some), None)
    }

    /// Parses a rate per second; `None` for 0, which means no limit.
    pub(super) fn rate(&mut self, setting: &'static str, text: &str) -> Option<u32> {
        let form = format!("a whole number, 0 (no limit) to {RATE_MAX}");
        let value = text.trim().parse().ok().filter(|rate| *rate <= RATE_MAX);
        let rate = self.read(setting, text, &form, value, 0);
        (rate > 0).then_some(rate)
    }

    pub(super) fn quotas(
        &mut self,
        setting: &'static str,
        texts: &[String],
    ) -> Vec<NamespaceLimits> {
        let mut quotas: Vec<NamespaceLimits> = Vec::new();
        for text in texts {
            match quota(text) {
                Ok(quota) if quotas.iter().any(|other| other.namespace == quota.namespace) => {
                    let namespace = &quota.namespace;
                    let text = format!("is repeated for namespace {namespace}");
                    self.mistakes.push(SettingError::new(setting, text));
                }
                Ok(quota) => quotas.push(quota),
                Err(why) => {
                    let mistake = SettingError::new(setting, format!("{why}, in {text:?}"));
                    self.mistakes.push(mistake.of_value(text.clone()));
                }
            }
        }
        quotas
    }

    pub(super) fn tls(
        &mut self,
        cert: Option<&Path>,
        key: Option<&Path>,
        client_ca: Option<&Path>,
        permissions: Strictness,
    ) -> Option<TlsFiles> {
        let missing = match (cert, key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (cert.to_owned(), key.to_owned());
                let client_ca = client_ca.map(Path::to_owned);
                return Some(TlsFiles { cert, key, client_ca, permissions });
            }
            (Some(_), None) => {
                let mistake = SettingError::new("tls-cert", "needs ").name("tls-key");
                mistake.text(": the certificate's private key")
            }
            (None, Some(_)) => {
                let mistake = SettingError::new("tls-key", "needs ").name("tls-cert");
                mistake.text(": the key's certificate")
            }
            (None, None) if client_ca.is_some() => {
                let mistake = SettingError::new("tls-client-ca", "needs ").name("tls-cert");
                let mistake = mistake.text(" and ").name("tls-key");
                mistake.text(": clients show certificates over TLS")
            }
            (None, None) => return None,
        };
        self.mistakes.push(missing);
        None
    }

    pub(super) fn log_filter(&mut self, text: &str) -> EnvFilter {
        let form = "a level such as info, or a filter such as jeton=debug,warn";
        let filter = self.parsed("log-level", text, form, EnvFilter::default());
        // The first logs frames with paths and payloads, which P9 (no token, no payload in a log
        // line) forbids at every level. What matters of the second is logged by `cluster::nats`.
        SILENCED.iter().fold(filter, |filter, target| {
            let off = Directive::from(LevelFilter::OFF);
            match format!("{target}=off").parse() {
                Ok(directive) => filter.add_directive(directive),
                Err(_) => filter.add_directive(off),
            }
        })
    }

    pub(super) fn read_level(&mut self, setting: &'static str, text: &str) -> ReadLevel {
        let level = match text {
            "local" => Some(ReadLevel::Local),
            "linear" => Some(ReadLevel::Linear),
            _ => None,
        };
        self.read(setting, text, "local or linear", level, ReadLevel::Local)
    }

    pub(super) fn log_format(&mut self, text: &str) -> LogFormat {
        let format = match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        self.read("log-format", text, "text or json", format, LogFormat::Text)
    }
}

/// The mistake for a value of the wrong form.
fn wrong(setting: &'static str, form: &str, text: &str) -> SettingError {
    SettingError::new(setting, format!("must be {form}, not {text:?}")).of_value(text)
}

/// A sync mode in the form of `--sync`.
pub(super) fn sync_text(mode: SyncMode) -> String {
    match mode {
        SyncMode::Always => "always".to_owned(),
        SyncMode::Never => "never".to_owned(),
        SyncMode::Every(period) => duration_text(period),
    }
}

/// Reads `NAMESPACE:LIMIT=VALUE,…`.
fn quota(text: &str) -> Result<NamespaceLimits, String> {
    const FORM: &str = "must be NAMESPACE:LIMIT=VALUE,… such as shop-a:tokens=1000000,ttl=1h";
    let (namespace, limits) = text.split_once(':').ok_or(FORM)?;
    let namespace = namespace.trim().parse().map_err(|error| format!("{error}"))?;
    let mut quota = NamespaceLimits {
        namespace,
        tokens_max: None,
        bytes_max: None,
        issues_per_second: None,
        ttl_max: None,
    };
    for limit in limits.split(',') {
        let (name, value) = limit.split_once('=').ok_or(FORM)?;
        let (name, value) = (name.trim(), value.trim());
        let is_twice = match name {
            "tokens" => quota.tokens_max.replace(whole(name, value, u64::MAX)?).is_some(),
            "bytes" => quota.bytes_max.replace(bytes(value)?).is_some(),
            "issues" => {
                let rate = whole(name, value, u64::from(RATE_MAX))?.max(1);
                quota.issues_per_second.replace(rate as u32).is_some()
            }
            "ttl" => quota.ttl_max.replace(life(value)?).is_some(),
            _ => {
                return Err("has an unknown limit; the limits are tokens, bytes, issues, \
                ttl"
                .into());
            }
        };
        if is_twice {
            return Err(format!("repeats {name}"));
        }
    }
    Ok(quota)
}

fn whole(name: &str, value: &str, max: u64) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("must have a whole number from 1 to {max} for {name}"))
}

fn bytes(value: &str) -> Result<u64, String> {
    let size = parse_size(value).ok().filter(|size| *size > 0);
    size.ok_or_else(|| "must have a size such as 1GiB for bytes".into())
}

fn life(value: &str) -> Result<Duration, String> {
    let life = parse_duration(value).ok().filter(|life| *life >= Duration::from_millis(1));
    life.ok_or_else(|| "must have a duration such as 1h for ttl".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_and_key_are_given_together() {
        const WARN: Strictness = Strictness::Warn;
        let [cert, key, ca] = ["c", "k", "a"].map(Path::new);
        for (given, missing) in [
            ((Some(cert), None, None), "tls-key"),
            ((Some(cert), None, Some(ca)), "tls-key"),
            ((None, Some(key), Some(ca)), "tls-cert"),
            ((None, None, Some(ca)), "tls-cert"),
        ] {
            let mut reader = Reader::default();
            assert_eq!(reader.tls(given.0, given.1, given.2, WARN), None);
            let [mistake] = &reader.mistakes[..] else { panic!("{:?}", reader.mistakes) };
            assert!(mistake.settings().any(|named| named == missing), "{mistake}");
        }
        let mut reader = Reader::default();
        let files = reader.tls(Some(cert), Some(key), Some(ca), WARN).unwrap();
        assert_eq!((files.cert, files.key), ("c".into(), "k".into()));
        assert_eq!(files.client_ca, Some("a".into()));
        assert_eq!(reader.tls(None, None, None, WARN), None);
        assert!(reader.mistakes.is_empty());
    }
}
