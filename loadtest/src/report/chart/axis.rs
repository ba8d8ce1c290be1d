//! An axis: what it spans, where it has labels, and how a place on it is read.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::Ranged;

use crate::report::units;

/// An axis: what it is, what it spans, and where it has labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it shows, with its unit where the labels have none.
    pub title: String,
    /// How a place on it is read.
    pub scale: Scale,
    /// In the units of the lines; the second above the first.
    pub span: (f64, f64),
    /// Ascending places and their labels.
    pub ticks: Vec<(f64, String)>,
}

/// What a place on an axis stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// The place itself.
    Number,
    /// Seconds.
    Seconds,
    /// The decimal logarithm of microseconds.
    LogLatency,
    /// See [`Axis::percentile_place`].
    Percentile,
    /// The decimal logarithm of a share.
    LogShare,
    /// The name with this number.
    Names(Vec<String>),
}

impl Scale {
    /// A place as a person reads it.
    pub fn read(&self, place: f64) -> String {
        match self {
            Self::Number => units::rate(place),
            Self::Seconds => units::seconds(place),
            Self::LogLatency => units::latency(10_f64.powf(place)),
            Self::Percentile => {
                let digits = place.ceil().clamp(1.0, 7.0) as usize;
                format!("{:.digits$} %", (1.0 - 10_f64.powf(-place)) * 100.0)
            }
            Self::LogShare => units::percent(10_f64.powf(place)),
            Self::Names(names) => names.get(place.round() as usize).cloned().unwrap_or_default(),
        }
    }
}

impl Axis {
    /// From 0 to at least `to`, labelled in round steps.
    pub fn linear(to: f64, label: impl Fn(f64) -> String) -> Self {
        let to = if to.is_finite() && to > 0.0 { to } else { 1.0 };
        let step = round_step(to / 7.0);
        let steps = (to / step).ceil().max(1.0) as usize;
        let ticks = (0..=steps).map(|at| at as f64 * step).map(|at| (at, label(at))).collect();
        Self { title: String::new(), scale: Scale::Number, span: (0.0, steps as f64 * step), ticks }
    }

    /// The same axis with this title.
    #[must_use]
    pub fn titled(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// Seconds from 0 to `to`, which ends it whether that is round or not.
    pub fn time(to: f64) -> Self {
        let mut axis = if to > 600.0 {
            let minutes =
                Self::linear(to / 60.0, |minutes| format!("{} min", units::short(minutes)));
            let ticks = minutes.ticks.iter().map(|(at, label)| (at * 60.0, label.clone()));
            let ticks = ticks.collect();
            Self { ticks, span: (0.0, minutes.span.1 * 60.0), ..minutes }
        } else {
            Self::linear(to, |seconds| format!("{} s", units::short(seconds)))
        };
        (axis.title, axis.scale) = ("time since the measurement began".to_owned(), Scale::Seconds);
        axis.span.1 = if to > 0.0 { to } else { 1.0 };
        axis.ticks.retain(|(at, _)| *at <= axis.span.1);
        axis
    }

    /// Decimal logarithms of latencies from `low_us` to `high_us`, labelled at 1, 2 and 5, or at 1
    /// alone where there are many decades.
    pub fn log_latency(low_us: f64, high_us: f64) -> Self {
        let low = low_us.max(0.01).log10();
        let high = high_us.max(0.01).log10().max(low + 0.3);
        let leading: &[f64] = if high - low > 2.7 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = (low.floor() as i32..=high.ceil() as i32)
            .flat_map(|decade| leading.iter().map(move |lead| lead * 10_f64.powi(decade)))
            .map(|us| (us.log10(), plain_latency(us)))
            .filter(|(at, _)| (low - 1e-9..=high + 1e-9).contains(at))
            .collect();
        let title = "latency, logarithmic".to_owned();
        Self { title, scale: Scale::LogLatency, span: (low, high), ticks }
    }

    /// The place of a percentile: each further nine is as wide as the one before.
    pub fn percentile_place(share: f64) -> f64 {
        -(1.0 - share).log10()
    }

    /// Percentiles from 0 to the last that `count` answers have.
    pub fn percentiles(count: u64) -> Self {
        let end = (count.max(10) as f64).log10();
        let labelled = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999];
        let ticks = labelled
            .iter()
            .map(|percent| (Self::percentile_place(percent / 100.0), format!("{percent}%")))
            .filter(|(at, _)| *at <= end + 1e-9)
            .collect();
        let title = "share of the requests".to_owned();
        Self { title, scale: Scale::Percentile, span: (0.0, end), ticks }
    }

    pub(super) fn label(&self, place: f64) -> String {
        let found = self.ticks.iter().find(|(at, _)| (at - place).abs() < 1e-9);
        found.map(|(_, label)| label.clone()).unwrap_or_default()
    }

    /// Every second, third, … label, so that at most `most` are left.
    pub(super) fn thinned(&self, most: usize) -> Self {
        let every = self.ticks.len().div_ceil(most.max(1)).max(1);
        Self { ticks: self.ticks.iter().step_by(every).cloned().collect(), ..self.clone() }
    }
}

/// What plotters asks of an axis.
impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn range(&self) -> Range<f64> {
        self.span.0..self.span.1
    }

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.span.0) / (self.span.1 - self.span.0);
        (f64::from(from) + share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(at, _)| *at).collect()
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    let lead = [1.0, 2.0, 5.0].into_iter().find(|lead| lead * decade >= least * (1.0 - 1e-9));
    lead.unwrap_or(10.0) * decade
}

/// Round latencies: `50 µs`, `2 ms`.
fn plain_latency(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 0.999 => (us * 1e3, "ns"),
        us if us < 999.0 => (us, "µs"),
        us if us < 999_000.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", value.round())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn axes_are_labelled_at_round_places() {
        assert_eq!(
            labels(&Axis::linear(27.0, units::short)),
            ["0", "5", "10", "15", "20", "25", "30"]
        );
        assert_eq!(Axis::linear(27.0, units::short).span, (0.0, 30.0));
        assert_eq!(labels(&Axis::time(10.0)), ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]);
        assert_eq!(labels(&Axis::time(1_300.0))[1], "5 min");
        assert_eq!(labels(&Axis::log_latency(40.0, 300.0)), ["50 µs", "100 µs", "200 µs"]);
        assert_eq!(labels(&Axis::log_latency(5.0, 2e6))[..2], ["10 µs", "100 µs"]);
        assert_eq!(labels(&Axis::percentiles(20_000)), ["50%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn axes_of_nothing_still_span_something() {
        for axis in [
            Axis::linear(0.0, units::short),
            Axis::linear(f64::NAN, units::short),
            Axis::time(0.0),
            Axis::log_latency(0.0, 0.0),
            Axis::percentiles(0),
        ] {
            assert!(axis.span.1 > axis.span.0 && axis.span.1.is_finite(), "{axis:?}");
        }
    }

    #[test]
    fn a_place_is_read_as_what_it_stands_for() {
        for (scale, place, read) in [
            (Scale::Number, 12_345.0, "12,345"),
            (Scale::Seconds, 2.5, "2.50 s"),
            (Scale::LogLatency, 3.0, "1.00 ms"),
            (Scale::Percentile, 3.0, "99.900 %"),
            (Scale::Names(vec!["a".into(), "b".into()]), 1.0, "b"),
            (Scale::Names(Vec::new()), 1.0, ""),
        ] {
            assert_eq!(scale.read(place), read, "{scale:?}");
        }
    }
}
