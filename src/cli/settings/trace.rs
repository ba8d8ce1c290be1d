//! The flags of the traces.

use clap::Args;

use super::values::Reader;
use crate::model::setting::SettingError;
use crate::trace::{self, Endpoint, RATE_LIMITS, Trust};

/// The flags of the traces.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Send sampled requests as spans to this collector, by OTLP over HTTP: its base URL, such as
    /// http://127.0.0.1:4318 [default: not]
    #[arg(long, env = "JETON_OTLP", value_name = "URL")]
    otlp: Option<String>,

    /// Whose traceparent is believed: keys (of requests with a valid key) or all (for a server behind a
    /// proxy that sets it)
    #[arg(long, env = "JETON_OTLP_TRUST", default_value = "keys", value_name = "WHOSE")]
    otlp_trust: String,

    /// Maximum spans a second; those beyond it are dropped and counted
    #[arg(long, env = "JETON_OTLP_MAX", default_value = "200", value_name = "NUMBER")]
    otlp_max: String,
}

impl TraceArgs {
    pub(super) fn read(&self, reader: &mut Reader) -> Option<trace::Config> {
        let trust = reader.trust("otlp-trust", &self.otlp_trust);
        let spans_a_second = reader.count("otlp-max", &self.otlp_max);
        let endpoint: Endpoint = reader.all("otlp", self.otlp.as_slice()).pop()?;
        let spans_a_second = u32::try_from(spans_a_second).unwrap_or(u32::MAX);
        Some(trace::Config { endpoint, trust, spans_a_second })
    }

    /// Flags that mean nothing without `--otlp`.
    pub(super) fn lonely(&self) -> Option<SettingError> {
        let is_lonely = self.otlp.is_none() && self.otlp_trust == "all";
        is_lonely.then(|| SettingError::new("otlp-trust", "all needs ").name("otlp"))
    }
}

/// All mistakes in them.
pub(super) fn mistakes(config: Option<&trace::Config>) -> Option<SettingError> {
    let (least, most) = RATE_LIMITS;
    let count = config?.spans_a_second;
    let mistake = SettingError::new("otlp-max", format!("must be {least} to {most}, not {count}"));
    (!(least..=most).contains(&count)).then_some(mistake)
}

impl Reader {
    fn trust(&mut self, setting: &'static str, text: &str) -> Trust {
        let trust = match text {
            "keys" => Some(Trust::Keys),
            "all" => Some(Trust::All),
            _ => None,
        };
        self.read(setting, text, "keys or all", trust, Trust::Keys)
    }
}
