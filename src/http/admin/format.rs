//! The formats of `/metrics`: the text of Prometheus, and OpenMetrics for clients that ask for it.
//!
//! The metrics are written as OpenMetrics. The text differs in three points: the family of a counter
//! has the name of its samples, there are no units, and there is no end mark. All samples are the
//! same in both, so series and their labels are too.

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Text,
    OpenMetrics,
}

/// A weight of `Accept`, in thousandths.
type Weight = u32;

impl Format {
    /// The format that a request prefers; text where it says nothing (RFC 9110, 12.5.1).
    pub(super) fn asked(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut text, mut open): (Weight, Weight) = (0, 0);
        for (media, weight) in values.flat_map(|value| value.split(',')).filter_map(range) {
            match &*media {
                "application/openmetrics-text" => open = open.max(weight),
                "text/plain" => text = text.max(weight),
                _ => {}
            }
        }
        if open > 0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What is written as OpenMetrics, in this format.
    pub(super) fn of(self, open: String) -> String {
        match self {
            Self::Text => text(&open),
            Self::OpenMetrics => open,
        }
    }
}

/// A media range in lower case, and its weight. A version that is not known counts as none.
fn range(range: &str) -> Option<(String, Weight)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut weight = 1_000;
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim_matches('"');
        match &*name.to_ascii_lowercase() {
            "q" => {
                let q: f64 = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
                weight = (q * 1_000.0) as Weight;
            }
            "version" if !matches!(value, "0.0.1" | "0.0.4" | "1.0.0") => return None,
            _ => {}
        }
    }
    Some((media, weight))
}

fn text(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ').map(|(_, said)| said);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' '))
        {
            let end = if kind == "counter" { "_total" } else { "" };
            if let Some(help) = help.take() {
                text.push_str(&format!("# HELP {name}{end} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{end} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&'static str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, http::HeaderValue::from_static(value));
        }
        Format::asked(&headers)
    }

    #[test]
    fn text_is_sent_unless_openmetrics_is_asked_for() {
        for text in [
            &[][..],
            &["*/*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/json"],
            &["application/openmetrics-text;q=0, */*"],
            &["application/openmetrics-text;version=2.0.0,text/plain;q=0.1"],
            &["application/openmetrics-text;q=2"],
            // Prometheus where only the text is configured.
            &["text/plain;version=0.0.4;q=0.6,*/*;q=0.5"],
            &["text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.5"],
        ] {
            assert_eq!(asked(text), Format::Text, "{text:?}");
        }
        for open in [
            &["application/openmetrics-text"][..],
            &["Application/OpenMetrics-Text; Version=1.0.0"],
            &["text/plain;q=0.5", "application/openmetrics-text;q=0.5"],
            // Prometheus 2.30, 2.49, 3.0, with protocol buffers, and its agent.
            &[
                "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            &["application/openmetrics-text;version=1.0.0;q=0.5,\
               application/openmetrics-text;version=0.0.1;q=0.4,\
               text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
            &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
               application/openmetrics-text;version=0.0.1;q=0.4,\
               text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
               text/plain;version=0.0.4;q=0.2,*/*;q=0.1"],
            &["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
               encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,\
               text/plain;version=0.0.4;q=0.2,*/*;q=0.1"],
        ] {
            assert_eq!(asked(open), Format::OpenMetrics, "{open:?}");
        }
    }

    #[test]
    fn the_text_has_the_same_samples() {
        let open = "# HELP a A count.\n# TYPE a counter\na_total{b=\"# TYPE x y\"} 1\n\
                    # HELP c_seconds A time.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\n\
                    c_seconds 0.5\n# EOF\n";
        let text = "# HELP a_total A count.\n# TYPE a_total counter\na_total{b=\"# TYPE x y\"} 1\n\
                    # HELP c_seconds A time.\n# TYPE c_seconds gauge\nc_seconds 0.5\n";
        assert_eq!(Format::Text.of(open.to_owned()), text);
        assert_eq!(Format::OpenMetrics.of(open.to_owned()), open);
    }
}
