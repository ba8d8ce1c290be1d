//! What the variables of OpenTelemetry say. They count with `--otlp` only, and a value that cannot be
//! used is logged and passed over, as their specification asks: none of them stops a server.

use std::fmt;
use std::io;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::sampler::Sampler;
use crate::tls::TlsError;

/// Name of the service where no variable says another.
const SERVICE: &str = "jeton";
/// Time for one request to the collector, as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Maximum attributes of the resource, and headers.
const PAIRS_MAX: usize = 64;

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The system refused a thread or its runtime.
    #[error("the thread that sends spans can't be started: {0}")]
    Thread(#[from] io::Error),
    /// The system's root certificates can't be read.
    #[error("--otlp: {0}")]
    Tls(#[from] TlsError),
}

/// What the variables say.
#[derive(Clone)]
pub struct Settings {
    pub(super) sampler: Sampler,
    /// Attributes of the resource, `service.name` among them.
    pub(super) resource: Vec<(String, String)>,
    /// Headers of each request; they may hold a secret.
    pub(super) headers: HeaderMap,
    /// Time for one request.
    pub(super) timeout: Duration,
}

impl Settings {
    /// Reads the variables; `variable` gives one by its name. An empty one counts as not set. Returns
    /// also a sentence about each value that is not used.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut unused = Vec::new();
        let settings = Self {
            sampler: sampler(&variable, &mut unused),
            resource: resource(&variable, &mut unused),
            headers: headers(&variable, &mut unused),
            timeout: timeout(&variable, &mut unused),
        };
        (settings, unused)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Settings").field("sampler", &self.sampler).field("headers", &names).finish()
    }
}

fn sampler(variable: &impl Fn(&str) -> Option<String>, unused: &mut Vec<String>) -> Sampler {
    let ratio = variable("OTEL_TRACES_SAMPLER_ARG").map_or(1.0, |text| {
        let ratio = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.unwrap_or_else(|| {
            let text = "OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, so it is not used: the \
                ratio is 1";
            unused.push(text.to_owned());
            1.0
        })
    });
    let Some(name) = variable("OTEL_TRACES_SAMPLER") else { return Sampler::DEFAULT };
    Sampler::named(name.trim(), ratio).unwrap_or_else(|| {
        let text = format!(
            "OTEL_TRACES_SAMPLER must be always_on, always_off, traceidratio or one of these behind \
             parentbased_, not {name:?}, so it is not used: the sampler is parentbased_always_on"
        );
        unused.push(text);
        Sampler::DEFAULT
    })
}

fn resource(
    variable: &impl Fn(&str) -> Option<String>,
    unused: &mut Vec<String>,
) -> Vec<(String, String)> {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource = variable(name).and_then(|text| pairs(&text)).unwrap_or_else(|| {
        if variable(name).is_some() {
            unused.push(not_pairs(name));
        }
        Vec::new()
    });
    let service = variable("OTEL_SERVICE_NAME");
    let is_named = resource.iter().any(|(name, _)| name == "service.name");
    if let Some(service) = service.or_else(|| (!is_named).then(|| SERVICE.to_owned())) {
        resource.retain(|(name, _)| name != "service.name");
        resource.push(("service.name".to_owned(), service));
    }
    resource
}

fn headers(variable: &impl Fn(&str) -> Option<String>, unused: &mut Vec<String>) -> HeaderMap {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let mut headers = HeaderMap::new();
    let Some(text) = variable(name) else { return headers };
    let Some(pairs) = pairs(&text) else {
        unused.push(not_pairs(name));
        return headers;
    };
    for (header, value) in pairs {
        let ours = [HOST, CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];
        let header = HeaderName::try_from(header).ok().filter(|header| !ours.contains(header));
        match header.zip(HeaderValue::try_from(value).ok()) {
            Some((header, mut value)) => {
                value.set_sensitive(true);
                headers.insert(header, value);
            }
            // The text may hold a secret.
            None => unused.push(format!("{name}: one of its headers can't be sent")),
        }
    }
    headers
}

fn timeout(variable: &impl Fn(&str) -> Option<String>, unused: &mut Vec<String>) -> Duration {
    let name = "OTEL_EXPORTER_OTLP_TIMEOUT";
    let Some(text) = variable(name) else { return TIMEOUT };
    let read = text.trim().parse().ok().map(Duration::from_millis);
    read.filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX).unwrap_or_else(|| {
        let (most, default) = (TIMEOUT_MAX.as_millis(), TIMEOUT.as_millis());
        let text = format!(
            "{name} must be 1 to {most} milliseconds, so it is not used: the timeout is {default}"
        );
        unused.push(text);
        TIMEOUT
    })
}

fn not_pairs(name: &str) -> String {
    format!(
        "{name} must be at most {PAIRS_MAX} pairs such as name=value,name=value with \
         percent-encoded values, so none of it is used"
    )
}

/// Reads `name=value,name=value`, where values are percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    });
    let pairs: Option<Vec<_>> = pairs.collect();
    pairs.filter(|pairs| pairs.len() <= PAIRS_MAX)
}
