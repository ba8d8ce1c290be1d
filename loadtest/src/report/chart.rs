//! Charts as inline SVG: lines over two axes, drawn twice, for a wide page and for a phone.
//!
//! Colours are written into the SVG as they look on white; the style sheet of the page gives each
//! of them another value in the dark. Text stays text.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use super::units;

/// A line of a chart, and its colour by [`COLOURS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// Which of [`COLOURS`], modulo their number.
    pub colour: usize,
    /// In the units of the axes, in ascending order of x. One that is not finite ends a stroke.
    pub points: Vec<(f64, f64)>,
}

/// A point of its own, good or bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// In the units of the axes.
    pub at: (f64, f64),
    /// Whether it is drawn in the colour of errors.
    pub bad: bool,
}

/// An axis: what it spans, and where it has labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// In the units of the lines; the second above the first.
    pub span: (f64, f64),
    /// Ascending places and their labels.
    pub ticks: Vec<(f64, String)>,
}

/// Everything that a chart shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// For those who cannot see it.
    pub label: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Drawn in order, the last on top.
    pub lines: Vec<Line>,
    /// Drawn over the lines.
    pub dots: Vec<Dot>,
    /// Spans of x in which there were errors.
    pub bands: Vec<(f64, f64)>,
    /// Spans of x in which the harness was disturbed.
    pub disturbed: Vec<(f64, f64)>,
    /// A y that must not be exceeded.
    pub limit: Option<f64>,
}

/// Colours that those who do not see all colours can tell apart (Okabe and Ito). The style sheet
/// names each of them again.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xB8, 0x86, 0x0B),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x66, 0x66, 0x66),
];
const BAD: RGBColor = RGBColor(0xC6, 0x28, 0x28);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const AXIS: RGBColor = RGBColor(0x88, 0x88, 0x88);
const LABEL: RGBColor = RGBColor(0x55, 0x55, 0x55);

/// Pixels of the drawing for one of the page: places are whole numbers, and the lines should not
/// be seen to jump.
const SCALE: u32 = 4;

/// How a chart is drawn for one kind of screen.
struct Shape {
    class: &'static str,
    width: u32,
    height: u32,
    /// At most so many labels across.
    x_ticks: usize,
}

const SHAPES: [Shape; 2] = [
    Shape { class: "wide", width: 920, height: 300, x_ticks: 14 },
    Shape { class: "narrow", width: 380, height: 260, x_ticks: 6 },
];

impl Chart {
    /// Both drawings, of which the style sheet shows one.
    pub fn svg(&self) -> String {
        SHAPES.iter().map(|shape| self.draw(shape).unwrap_or_else(|error| failed(&error))).collect()
    }

    fn draw(&self, shape: &Shape) -> Result<String, String> {
        let mut drawn = String::new();
        let size = (shape.width * SCALE, shape.height * SCALE);
        {
            let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
            self.fill(&area, shape).map_err(|error| error.to_string())?;
            area.present().map_err(|error| error.to_string())?;
        }
        // Its own opening tag fixes the size in pixels; the page decides that.
        let (_, content) = drawn.split_once('>').ok_or("no drawing")?;
        Ok(format!(
            "<svg class=\"{}\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\" \
             xmlns=\"http://www.w3.org/2000/svg\">{content}",
            shape.class,
            escape(&self.label),
            size.0,
            size.1
        ))
    }

    fn fill(&self, area: &Area<'_>, shape: &Shape) -> Result<(), DrawError> {
        let (x, y) = (self.x.thinned(shape.x_ticks), self.y.thinned(8));
        let mut chart = ChartBuilder::on(area)
            .margin_top(10 * SCALE)
            .margin_right(28 * SCALE)
            .set_label_area_size(LabelAreaPosition::Left, 64 * SCALE)
            .set_label_area_size(LabelAreaPosition::Bottom, 32 * SCALE)
            .build_cartesian_2d(x.clone(), y.clone())?;
        let (below, above) = self.y.span;
        for (spans, colour) in [(&self.disturbed, LABEL), (&self.bands, BAD)] {
            let bands = spans.iter().map(|(from, to)| {
                Rectangle::new([(*from, below), (*to, above)], colour.mix(0.2).filled())
            });
            chart.draw_series(bands)?;
        }
        let font = ("sans-serif", 14.5 * f64::from(SCALE)).into_font().color(&LABEL);
        chart
            .configure_mesh()
            .x_labels(x.ticks.len())
            .y_labels(y.ticks.len())
            .x_label_formatter(&|place| x.label(*place))
            .y_label_formatter(&|place| y.label(*place))
            .label_style(font)
            .bold_line_style(GRID.stroke_width(SCALE))
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(5 * SCALE)
            .axis_style(AXIS.stroke_width(SCALE))
            .draw()?;
        if let Some(limit) = self.limit {
            let (from, to) = self.x.span;
            chart.draw_series(LineSeries::new([(from, limit), (to, limit)], stroke(BAD, 1)))?;
        }
        for line in &self.lines {
            let colour = COLOURS[line.colour % COLOURS.len()];
            for points in line.strokes() {
                chart.draw_series(LineSeries::new(points.iter().copied(), stroke(colour, 2)))?;
            }
        }
        let dots = self.dots.iter().map(|dot| {
            let colour = if dot.bad { BAD } else { COLOURS[2] };
            Circle::new(dot.at, 5 * SCALE, colour.filled())
        });
        chart.draw_series(dots).map(drop)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn stroke(colour: RGBColor, width: u32) -> ShapeStyle {
    colour.stroke_width(width * SCALE)
}

/// A drawing in memory does not fail; if it did, the rest of the page is still worth reading.
fn failed(error: &str) -> String {
    format!("<p>This chart could not be drawn: {}</p>", escape(error))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Line {
    /// The parts between the points that are not there.
    fn strokes(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        let broken = |(x, y): &(f64, f64)| !x.is_finite() || !y.is_finite();
        self.points.split(broken).filter(|points| !points.is_empty())
    }
}

impl Axis {
    /// From 0 to at least `to`, labelled in round steps.
    pub fn linear(to: f64, label: impl Fn(f64) -> String) -> Axis {
        let to = if to.is_finite() && to > 0.0 { to } else { 1.0 };
        let step = round_step(to / 7.0);
        let steps = (to / step).ceil().max(1.0) as usize;
        let ticks = (0..=steps).map(|at| at as f64 * step).map(|at| (at, label(at))).collect();
        Axis { span: (0.0, steps as f64 * step), ticks }
    }

    /// Seconds from 0 to `to`, which ends it whether that is round or not.
    pub fn time(to: f64) -> Axis {
        let mut axis = if to > 600.0 {
            let minutes =
                Axis::linear(to / 60.0, |minutes| format!("{} min", units::short(minutes)));
            let ticks = minutes.ticks.into_iter().map(|(at, label)| (at * 60.0, label)).collect();
            Axis { span: (0.0, minutes.span.1 * 60.0), ticks }
        } else {
            Axis::linear(to, |seconds| format!("{} s", units::short(seconds)))
        };
        axis.span.1 = if to > 0.0 { to } else { 1.0 };
        axis.ticks.retain(|(at, _)| *at <= axis.span.1);
        axis
    }

    /// Decimal logarithms of latencies from `low_us` to `high_us`, labelled at 1, 2 and 5, or at 1
    /// alone where there are many decades.
    pub fn log_latency(low_us: f64, high_us: f64) -> Axis {
        let low = low_us.max(0.01).log10();
        let high = high_us.max(0.01).log10().max(low + 0.3);
        let leading: &[f64] = if high - low > 2.7 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = (low.floor() as i32..=high.ceil() as i32)
            .flat_map(|decade| leading.iter().map(move |lead| lead * 10_f64.powi(decade)))
            .map(|us| (us.log10(), plain_latency(us)))
            .filter(|(at, _)| (low - 1e-9..=high + 1e-9).contains(at))
            .collect();
        Axis { span: (low, high), ticks }
    }

    /// The place of a percentile: each further nine is as wide as the one before.
    pub fn percentile_place(share: f64) -> f64 {
        -(1.0 - share).log10()
    }

    /// Percentiles from 0 to the last that `count` answers have.
    pub fn percentiles(count: u64) -> Axis {
        let end = (count.max(10) as f64).log10();
        let labelled = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999];
        let ticks = labelled
            .iter()
            .map(|percent| (Self::percentile_place(percent / 100.0), format!("{percent}%")))
            .filter(|(at, _)| *at <= end + 1e-9)
            .collect();
        Axis { span: (0.0, end), ticks }
    }

    fn label(&self, place: f64) -> String {
        let found = self.ticks.iter().find(|(at, _)| (at - place).abs() < 1e-9);
        found.map(|(_, label)| label.clone()).unwrap_or_default()
    }

    /// Every second, third, … label, so that at most `most` are left.
    fn thinned(&self, most: usize) -> Axis {
        let every = self.ticks.len().div_ceil(most.max(1)).max(1);
        Axis { span: self.span, ticks: self.ticks.iter().step_by(every).cloned().collect() }
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

    fn chart(lines: Vec<Line>) -> Chart {
        Chart {
            label: "a \"chart\" <of> it".to_owned(),
            x: Axis::time(10.0),
            y: Axis::log_latency(50.0, 800.0),
            lines,
            dots: vec![Dot { at: (5.0, 2.5), bad: true }],
            bands: vec![(1.0, 2.0)],
            disturbed: vec![(2.0, 2.5)],
            limit: Some(2.0),
        }
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
    fn a_chart_is_drawn_for_both_screens_and_escapes_its_label() {
        let line = Line { name: "p50".to_owned(), colour: 0, points: vec![(0.0, 2.0), (9.0, 2.5)] };
        let svg = chart(vec![line]).svg();
        assert_eq!(svg.matches("<svg ").count(), 2);
        assert_eq!(svg.matches("</svg>").count(), 2);
        assert!(svg.contains("aria-label=\"a &quot;chart&quot; &lt;of&gt; it\""));
        assert!(svg.contains("#0072B2") && svg.contains("#C62828") && svg.contains("<text"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_line_breaks_where_a_point_is_missing() {
        let points = vec![(0.0, 2.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 2.0), (4.0, 2.0)];
        let line = Line { name: String::new(), colour: 1, points };
        let svg = chart(vec![line]).svg();
        assert_eq!(svg.matches("stroke=\"#D55E00\"").count(), 4, "two strokes on two screens");
    }
}
