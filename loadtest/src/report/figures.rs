//! Which charts a page has, and what they show.

use super::build::micros;
use super::chart::{Axis, Chart, Dot, Line, Scale};
use super::model::{Kept, Latency, Report, Search, Slice};
use super::page::Figure;
use super::units;

const CURVE_CAPTION: &str = "Latency (logarithmic) that this share of the requests did not \
     exceed. Each further nine is as wide as the one before; the right end is the slowest request.";

/// Of one run: all requests together, and each operation where there are several.
pub fn operations_curve(report: &Report) -> Figure {
    let mut curves = vec![("all".to_owned(), &report.latency)];
    if report.operations.len() > 1 {
        let named = report.operations.iter();
        curves.extend(named.map(|one| (one.operation.name().to_owned(), &one.latency)));
    }
    percentile_figure(&curves, true)
}

/// Of several runs: all requests of each.
pub fn curves(reports: &[(String, &Report)]) -> Figure {
    let curves: Vec<_> =
        reports.iter().map(|(name, report)| (name.clone(), &report.latency)).collect();
    percentile_figure(&curves, false)
}

/// The first of them is all requests of the others where `has_all` says so.
fn percentile_figure(curves: &[(String, &Latency)], has_all: bool) -> Figure {
    let mut lines: Vec<Line> = curves
        .iter()
        .enumerate()
        .map(|(colour, (name, latency))| Line {
            name: name.clone(),
            colour,
            points: curve(latency),
            bold: has_all && colour == 0,
        })
        .collect();
    // The strongest on top.
    lines.sort_by_key(|line| line.bold);
    let most = curves.iter().map(|(_, latency)| latency.count).max().unwrap_or(0);
    let chart = Chart {
        label: "Latency by percentile".to_owned(),
        x: Axis::percentiles(most),
        y: latency_axis(&lines),
        lines,
        dots: Vec::new(),
        bands: Vec::new(),
        disturbed: Vec::new(),
        limit: None,
    };
    Figure::new(&chart, CURVE_CAPTION)
}

/// Points of the curve: places of percentiles, logarithms of latencies.
fn curve(latency: &Latency) -> Vec<(f64, f64)> {
    const POINTS_PER_NINE: f64 = 40.0;
    // A report is refused at reading where its histograms are damaged.
    let Ok(histogram) = latency.to_histogram() else { return Vec::new() };
    if histogram.is_empty() {
        return Vec::new();
    }
    let end = (histogram.len() as f64).log10();
    let steps = (end * POINTS_PER_NINE).ceil() as usize;
    // From the first step on: the very least says nothing and bends the scale.
    let places = (1..steps).map(|step| step as f64 / POINTS_PER_NINE).chain([end]);
    places
        .map(|place| (place, log(micros(&histogram, 1.0 - 10_f64.powf(-place)))))
        .chain([(end, log(latency.max_us))])
        .collect()
}

/// The logarithm of a latency; what is faster than the clock resolves is drawn at 10 ns.
fn log(us: f64) -> f64 {
    us.max(0.01).log10()
}

/// Spans what the lines show, and a little more.
fn latency_axis(lines: &[Line]) -> Axis {
    let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let finite = || values().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    if !low.is_finite() {
        return Axis::log_latency(1.0, 1_000.0);
    }
    Axis::log_latency(10_f64.powf(low - 0.05), 10_f64.powf(high + 0.05))
}

/// Latency, throughput, and CPU where it is known, over the time of the run.
pub fn over_time(report: &Report) -> Vec<Figure> {
    let slices = &report.slices;
    let mut figures = vec![latency_over_time(slices), throughput_over_time(slices)];
    if slices.iter().any(|slice| slice.server_cpu_s.is_some()) {
        figures.push(cpu_over_time(slices));
    }
    figures
}

fn latency_over_time(slices: &[Slice]) -> Figure {
    let of = |us: fn(&Slice) -> f64| {
        // A slice without answers has no latency: the line has a gap there.
        slice_points(slices, |slice| if us(slice) > 0.0 { log(us(slice)) } else { f64::NAN })
    };
    let line =
        |name: &str, colour, points| Line { name: name.to_owned(), colour, points, bold: false };
    let lines = vec![
        line("max", 6, of(|slice| slice.max_us)),
        line("p99", 1, of(|slice| slice.p99_us)),
        line("p50", 0, of(|slice| slice.p50_us)),
    ];
    let y = latency_axis(&lines);
    time_figure(slices, lines, y, "Latency (logarithmic) of the answers in each slice of time.")
}

fn throughput_over_time(slices: &[Slice]) -> Figure {
    let points = slice_points(slices, |slice| slice.requests as f64 / slice.length_s);
    let y = Axis::linear(highest(&points), units::short).titled("answers per second");
    let lines = vec![Line { name: "answers/s".to_owned(), colour: 2, points, bold: false }];
    time_figure(slices, lines, y, "Answers per second.")
}

fn cpu_over_time(slices: &[Slice]) -> Figure {
    let points = slice_points(slices, |slice| {
        slice.server_cpu_s.map_or(f64::NAN, |cpu_s| cpu_s / slice.length_s)
    });
    let y = Axis::linear(highest(&points), units::short).titled("busy cores");
    let lines = vec![Line { name: "busy cores".to_owned(), colour: 3, points, bold: false }];
    time_figure(slices, lines, y, "Cores that the server kept busy: 1 is one core all of the time.")
}

fn time_figure(slices: &[Slice], lines: Vec<Line>, y: Axis, caption: &str) -> Figure {
    let end = slices.last().map_or(1.0, |slice| slice.at_s + slice.length_s);
    let chart = Chart {
        label: format!("Over time: {caption}"),
        x: Axis::time(end),
        y,
        lines,
        dots: Vec::new(),
        bands: bands(slices, |slice| slice.errors > 0),
        disturbed: bands(slices, |slice| slice.disturbed_s > 0.0),
        limit: None,
    };
    Figure::new(&chart, caption)
}

/// A value for the middle of each slice; none for a last one too short to stand for itself.
fn slice_points(slices: &[Slice], value: impl Fn(&Slice) -> f64) -> Vec<(f64, f64)> {
    let whole = slices.first().map_or(0.0, |slice| slice.length_s);
    slices
        .iter()
        .filter(|slice| slice.length_s > 0.0 && slice.length_s > whole * 0.2)
        .map(|slice| (slice.at_s + slice.length_s / 2.0, value(slice)))
        .collect()
}

fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// Spans of the slices of which this is true; neighbours become one.
fn bands(slices: &[Slice], is_one: impl Fn(&Slice) -> bool) -> Vec<(f64, f64)> {
    let mut bands: Vec<(f64, f64)> = Vec::new();
    let mut before = false;
    for slice in slices {
        let end = slice.at_s + slice.length_s;
        match bands.last_mut() {
            Some(band) if before && is_one(slice) => band.1 = end,
            _ if is_one(slice) => bands.push((slice.at_s, end)),
            _ => {}
        }
        before = is_one(slice);
    }
    bands
}

/// Every rate that was tried, against how much of its limit the worst objective took.
pub fn search(search: &Search) -> Figure {
    // Beyond these a step is merely very good or very bad.
    let place = |worst: f64| worst.clamp(0.01, 100.0).log10();
    let mut steps: Vec<_> = search.steps.iter().collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let at: Vec<_> = steps.iter().map(|step| (step.rate, place(step.worst))).collect();
    let dots = steps
        .iter()
        .zip(&at)
        .map(|(step, at)| Dot { at: *at, bad: step.kept == Kept::No })
        .collect();
    let ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    let (low, high) =
        at.iter().fold((0.0_f64, 0.0_f64), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    let span = (low - 0.15, high + 0.15);
    let ticks = ticks
        .into_iter()
        .map(|share: f64| (share.log10(), format!("{} %", share * 100.0)))
        .filter(|(at, _)| (span.0..=span.1).contains(at))
        .collect();
    let chart = Chart {
        label: "Rates that were tried".to_owned(),
        x: Axis::linear(highest_rate(search) * 1.05, units::short)
            .titled("requests offered per second"),
        y: Axis { title: "share of the limit".to_owned(), scale: Scale::LogShare, span, ticks },
        lines: vec![Line { name: "of the limit".to_owned(), colour: 6, points: at, bold: false }],
        dots,
        bands: Vec::new(),
        disturbed: Vec::new(),
        limit: Some(0.0),
    };
    Figure::new(
        &chart,
        "Requests per second that were offered, and how much of its limit the worst objective \
         took: on or below the red line all were kept. Red: the step was not kept.",
    )
}

fn highest_rate(search: &Search) -> f64 {
    search.steps.iter().map(|step| step.rate).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn a_curve_rises_from_the_least_to_the_greatest() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=20_000_u64).for_each(|at| histogram.record(at * at).unwrap());
        let latency = Latency::from_histogram(&histogram);
        let points = curve(&latency);
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{points:?}");
        let (end, highest) = points[points.len() - 1];
        assert!((end - 20_000_f64.log10()).abs() < 1e-9);
        assert!((highest - latency.max_us.log10()).abs() < 1e-9);
        let half = points.iter().find(|(place, _)| *place >= 0.3).unwrap();
        assert!((half.1 - latency.p50_us.log10()).abs() < 0.01);
        assert!(curve(&Latency::default()).is_empty());
    }

    #[test]
    fn neighbouring_slices_with_errors_are_one_band() {
        let errors = [0, 1, 2, 0, 0, 5, 0, 1];
        let slices: Vec<_> = errors
            .iter()
            .enumerate()
            .map(|(at, errors)| Slice {
                at_s: at as f64,
                length_s: 1.0,
                errors: *errors,
                ..Slice::default()
            })
            .collect();
        assert_eq!(bands(&slices, |slice| slice.errors > 0), [(1.0, 3.0), (5.0, 6.0), (7.0, 8.0)]);
    }

    #[test]
    fn a_slice_without_answers_is_a_gap_and_a_stump_is_left_out() {
        let slice = |at_s, length_s, requests| Slice {
            at_s,
            length_s,
            requests,
            p50_us: 5.0,
            ..Slice::default()
        };
        let slices = [slice(0.0, 1.0, 10), slice(1.0, 1.0, 0), slice(2.0, 0.01, 1)];
        let points = slice_points(&slices, |slice| slice.requests as f64);
        assert_eq!(points, [(0.5, 10.0), (1.5, 0.0)]);
    }
}
