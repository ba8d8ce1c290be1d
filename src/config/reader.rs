//! The values of flags: text read as addresses, sizes, durations and so on, all mistakes kept.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

use super::LogFormat;
use crate::engine::SyncMode;
use crate::http::access::Anonymous;
use crate::http::json::{Written, duration};
use crate::scope::{Scope, Scopes};

/// Libraries that log what clients sent.
const SILENCED: [&str; 1] = ["h2"];

/// Reads values and remembers what could not be read. The values that it returns then are never
/// used.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<String>,
}

impl Reader {
    fn read<T>(&mut self, flag: &str, text: &str, form: &str, value: Option<T>, or: T) -> T {
        value.unwrap_or_else(|| {
            self.mistakes.push(format!("{flag} must be {form}, not {text:?}"));
            or
        })
    }

    fn parsed<T: FromStr>(&mut self, flag: &str, text: &str, form: &str, or: T) -> T
    where
        T::Err: Display,
    {
        let value = text.trim().parse().ok();
        self.read(flag, text, form, value, or)
    }

    pub(super) fn address(&mut self, flag: &str, text: &str) -> SocketAddr {
        let form = "an address with a port, such as 127.0.0.1:7450";
        self.parsed(flag, text, form, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(super) fn count(&mut self, flag: &str, text: &str) -> usize {
        self.parsed(flag, text, "a whole number", 1)
    }

    pub(super) fn size(&mut self, flag: &str, text: &str) -> u64 {
        let form = "a size such as 64KiB or 1GiB";
        self.parsed(flag, text, form, ByteSize(0)).as_u64()
    }

    pub(super) fn bytes(&mut self, flag: &str, text: &str) -> usize {
        usize::try_from(self.size(flag, text)).unwrap_or(usize::MAX)
    }

    pub(super) fn duration(&mut self, flag: &str, text: &str) -> Duration {
        let value = match duration(text) {
            Written::Duration(value) => Some(value),
            Written::OutOfRange | Written::Form => None,
        };
        let form = "a duration such as 250ms, 15m, 1h 30m or 7d";
        self.read(flag, text, form, value, Duration::ZERO)
    }

    pub(super) fn sync(&mut self, flag: &str, text: &str) -> SyncMode {
        let mode = match (text, duration(text)) {
            ("always", _) => Some(SyncMode::Always),
            ("never", _) => Some(SyncMode::Never),
            (_, Written::Duration(period)) => Some(SyncMode::Every(period)),
            (_, Written::OutOfRange | Written::Form) => None,
        };
        let form = "always, never or a duration such as 100ms";
        self.read(flag, text, form, mode, SyncMode::Always)
    }

    pub(super) fn anonymous(&mut self, text: &str) -> Option<Anonymous> {
        let value = text.split_once(':').and_then(|(namespace, scopes)| {
            let (namespace, scopes) = (namespace.trim().parse().ok()?, scopes.parse().ok()?);
            let allowed = Scopes::default().with(Scope::Resolve).with(Scope::Consume);
            Scopes::is_within(scopes, allowed).then_some(Anonymous { namespace, scopes })
        });
        let form = "a namespace and resolve, consume or both, such as shop-a:resolve,consume";
        self.read("--anonymous", text, form, value.map(Some), None)
    }

    pub(super) fn log_filter(&mut self, text: &str) -> EnvFilter {
        let form = "a level such as info, or a filter such as jeton=debug,warn";
        let filter = self.parsed("--log-level", text, form, EnvFilter::default());
        // What it logs of frames holds paths and payloads: promise P9, whatever the level.
        SILENCED.iter().fold(filter, |filter, target| {
            let off = Directive::from(LevelFilter::OFF);
            match format!("{target}=off").parse() {
                Ok(directive) => filter.add_directive(directive),
                Err(_) => filter.add_directive(off),
            }
        })
    }

    pub(super) fn log_format(&mut self, text: &str) -> LogFormat {
        let format = match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        self.read("--log-format", text, "text or json", format, LogFormat::Text)
    }
}
