//! From histograms to the figures of a report, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::model::{Latency, Slice};

/// Significant digits of the histograms of slices: a slice is compared, not quoted, and there may
/// be thousands of them.
pub const SLICE_DIGITS: u8 = 2;

const NS_PER_US: f64 = 1e3;

impl Latency {
    /// The figures of a histogram of nanoseconds; all 0 where nothing was recorded.
    pub fn from_histogram(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self { histogram: encode(histogram), ..Self::default() };
        }
        let us = |quantile| micros(histogram, quantile);
        Self {
            count: histogram.len(),
            min_us: histogram.min() as f64 / NS_PER_US,
            mean_us: histogram.mean() / NS_PER_US,
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            p9999_us: us(0.9999),
            max_us: histogram.max() as f64 / NS_PER_US,
            histogram: encode(histogram),
        }
    }

    /// The histogram of nanoseconds the figures came from.
    ///
    /// # Errors
    /// What is wrong with the text, where it is not one.
    pub fn to_histogram(&self) -> Result<Histogram<u64>, String> {
        decode(&self.histogram)
    }

    /// Named percentiles from the median up, in the order of every table: name, share of answers
    /// that were at most so slow, microseconds.
    pub fn percentiles(&self) -> [(&'static str, f64, f64); 6] {
        [
            ("p50", 0.5, self.p50_us),
            ("p90", 0.9, self.p90_us),
            ("p99", 0.99, self.p99_us),
            ("p99.9", 0.999, self.p999_us),
            ("p99.99", 0.9999, self.p9999_us),
            ("max", 1.0, self.max_us),
        ]
    }

    /// Whether there are enough answers for this percentile to be more than the maximum under
    /// another name.
    pub fn supports(&self, share: f64) -> bool {
        supports(self.count, share)
    }
}

/// As [`Latency::supports`], of this number of answers.
pub fn supports(count: u64, share: f64) -> bool {
    // A little less than one, for the rounding of 1 - 0.999.
    count > 0 && (share >= 1.0 || count as f64 * (1.0 - share) > 0.999_999)
}

impl Slice {
    /// A slice from its histogram of nanoseconds, which is kept at [`SLICE_DIGITS`].
    pub fn from_histogram(
        at_s: f64,
        length_s: f64,
        errors: u64,
        histogram: &Histogram<u64>,
    ) -> Self {
        let us = |quantile| if histogram.is_empty() { 0.0 } else { micros(histogram, quantile) };
        Self {
            at_s,
            length_s,
            requests: histogram.len(),
            errors,
            p50_us: us(0.5),
            p99_us: us(0.99),
            max_us: histogram.max() as f64 / NS_PER_US,
            server_cpu_s: None,
            disturbed_s: 0.0,
            histogram: encode(&coarse(histogram)),
        }
    }

    /// Its histogram of nanoseconds; none where the report does not keep one.
    ///
    /// # Errors
    /// What is wrong with the text, where it is not one.
    pub fn to_histogram(&self) -> Result<Option<Histogram<u64>>, String> {
        if self.histogram.is_empty() { Ok(None) } else { decode(&self.histogram).map(Some) }
    }
}

/// The microseconds that this share of the answers did not exceed, at most the maximum.
pub fn micros(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile).min(histogram.max()) as f64 / NS_PER_US
}

/// HdrHistogram V2, deflated, base64: as the tools for its logs read it.
#[expect(clippy::expect_used, reason = "writing to memory; a counter cannot exceed its own type")]
fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a histogram in memory");
    STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("not an HdrHistogram V2: {error}"))
}

#[expect(clippy::expect_used, reason = "two digits are allowed, and it grows by itself")]
fn coarse(histogram: &Histogram<u64>) -> Histogram<u64> {
    let mut coarse = Histogram::new(SLICE_DIGITS.min(histogram.sigfig())).expect("allowed digits");
    for value in histogram.iter_recorded() {
        coarse
            .record_n(value.value_iterated_to(), value.count_at_value())
            .expect("a histogram that grows");
    }
    coarse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    #[test]
    fn a_histogram_comes_back_as_it_went() {
        for values in [vec![], vec![1], (1..10_000).map(|at| at * at).collect::<Vec<_>>()] {
            let before = histogram(values);
            let latency = Latency::from_histogram(&before);
            assert_eq!(latency.to_histogram().unwrap(), before);
            assert_eq!(latency.count, before.len());
            let text = serde_json::to_string(&latency).unwrap();
            assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
        }
    }

    #[test]
    fn figures_are_those_of_the_values() {
        let latency = Latency::from_histogram(&histogram((1..=100_000).map(|us| us * 1_000)));
        for (name, share, us) in latency.percentiles() {
            let truth = 100_000.0 * share;
            assert!((us / truth - 1.0).abs() < 2e-3, "{name} is {us}");
        }
        assert!((latency.mean_us / 50_000.5 - 1.0).abs() < 2e-3);
        assert!(latency.p9999_us <= latency.max_us);
    }

    #[test]
    fn few_answers_have_no_high_percentiles() {
        let latency = Latency::from_histogram(&histogram(1..=1_000));
        let supported = latency.percentiles().map(|(_, share, _)| latency.supports(share));
        assert_eq!(supported, [true, true, true, true, false, true]);
        let nothing = Latency::default();
        assert!(nothing.percentiles().iter().all(|(_, share, _)| !nothing.supports(*share)));
    }

    #[test]
    fn text_that_is_no_histogram_says_so() {
        let whole = histogram(1..=1_000);
        let good = Latency::from_histogram(&whole).histogram;
        let mut refused = 0;
        for end in 0..good.len() {
            let cut = Latency { histogram: good[..end].to_owned(), ..Latency::default() };
            // What lacks only the checksum at its end is still whole.
            match cut.to_histogram() {
                Ok(read) => assert_eq!(read, whole, "cut at {end}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > good.len() / 2);
        let garbage = Latency { histogram: "müll".to_owned(), ..Latency::default() };
        assert!(garbage.to_histogram().unwrap_err().starts_with("not base64"));
    }

    #[test]
    fn slices_keep_counts_and_percentiles_to_a_hundredth() {
        let fine = histogram((0..5_000).map(|at| 20_000 + at * 37));
        let slice = Slice::from_histogram(3.0, 1.0, 2, &fine);
        let kept = slice.to_histogram().unwrap().unwrap();
        assert_eq!((kept.len(), slice.requests, slice.errors), (5_000, 5_000, 2));
        for quantile in [0.1, 0.5, 0.99, 1.0] {
            let (fine, kept) = (micros(&fine, quantile), micros(&kept, quantile));
            assert!((kept / fine - 1.0).abs() < 0.011, "{quantile}: {fine} kept as {kept}");
        }
        assert_eq!(Slice::default().to_histogram().unwrap(), None);
    }
}
