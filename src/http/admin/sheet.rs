//! Writes metrics one after the other.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The exposition that metrics are written to.
pub(super) struct Sheet<'a, 'e>(pub(super) &'a mut DescriptorEncoder<'e>);

impl Sheet<'_, '_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = ConstGauge::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    /// A gauge, where its value is known.
    pub(super) fn known(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(name, help, value))
    }

    /// A counter with fractions, such as seconds.
    pub(super) fn fractional_counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = ConstCounter::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    /// A gauge with fractions, such as seconds.
    pub(super) fn fraction(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = ConstGauge::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = ConstCounter::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    /// A gauge for each value of a label, so that alerts can be defined in advance.
    pub(super) fn gauges<'v>(
        &mut self,
        (name, help, label): (&str, &str, &str),
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labelled, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, labelled)])?)?;
        }
        Ok(())
    }
}
