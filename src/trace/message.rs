//! Messages of OTLP: a batch of spans, in protobuf.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as Message, Status, span::SpanKind, status::StatusCode,
};
use prost::Message as _;

use super::span::Span;
use crate::build_info::VERSION;

/// Flags of a span: sampled, and whether its parent is in another process is known.
const SAMPLED: u32 = 1;
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The message with these spans. A span is left out where the system has no random bytes for its ids.
pub(super) fn request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let resource = Resource {
        attributes: resource.iter().map(|(name, value)| text(name, value.clone())).collect(),
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "jeton".to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().filter_map(|span| message(span).ok()).collect(),
        ..ScopeSpans::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

/// How many spans the collector has refused, as its answer of status 200 says.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}

fn message(span: &Span) -> Result<Message, getrandom::Error> {
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    getrandom::fill(&mut span_id)?;
    match &span.parent {
        Some(parent) => trace_id = parent.trace_id,
        None => getrandom::fill(&mut trace_id)?,
    }
    let remote = if span.parent.is_some() { IS_REMOTE } else { 0 };
    let length = u64::try_from(span.length.as_nanos()).unwrap_or(u64::MAX);
    Ok(Message {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.span_id.to_vec()).unwrap_or_default(),
        flags: SAMPLED | KNOWS_REMOTE | remote,
        name: span.operation.to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: span.start_nanos,
        end_time_unix_nano: span.start_nanos.saturating_add(length),
        attributes: attributes(span),
        status: Some(Status {
            code: if span.is_error() { StatusCode::Error } else { StatusCode::Unset }.into(),
            ..Status::default()
        }),
        ..Message::default()
    })
}

fn attributes(span: &Span) -> Vec<KeyValue> {
    let outcome = serde_json::to_value(span.outcome).ok();
    let outcome = outcome.and_then(|outcome| Some(outcome.as_str()?.to_owned()));
    let mut attributes = vec![
        text("jeton.operation", span.operation.to_owned()),
        text("jeton.outcome", outcome.unwrap_or_default()),
        number("jeton.tokens", span.tokens as u64),
        text("network.protocol.name", span.protocol.to_owned()),
    ];
    if let Some(status) = span.status {
        attributes.push(number("http.response.status_code", status.into()));
    }
    if let Some(wait) = span.log_wait {
        let value = Value::DoubleValue(wait.as_secs_f64());
        attributes.push(attribute("jeton.log_wait_seconds", value));
    }
    attributes
}

fn text(name: &str, value: String) -> KeyValue {
    attribute(name, Value::StringValue(value))
}

fn number(name: &str, value: u64) -> KeyValue {
    attribute(name, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}
