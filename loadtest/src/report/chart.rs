//! Charts as inline SVG: lines over two axes, drawn twice, for a wide page and for a phone.
//!
//! Colours are written into the SVG as they look on white; the style sheet of the page gives each
//! of them another value in the dark. Text stays text. A page has no script, so what a chart shows
//! under the pointer is in it already and is hidden until the style sheet shows it.

mod axis;
mod marks;

use std::ops::Range;

use plotters::prelude::*;

use super::svg::{cut, escape};

pub use axis::{Axis, Scale};

/// A line of a chart, and its colour by [`COLOURS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// Which of [`COLOURS`], modulo their number.
    pub colour: usize,
    /// In the units of the axes, in ascending order of x. One that is not finite ends a stroke.
    pub points: Vec<(f64, f64)>,
    /// Drawn stronger than the others.
    pub bold: bool,
}

/// A point of its own, good or bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// In the units of the axes.
    pub at: (f64, f64),
    /// Whether it is drawn in the colour of errors.
    pub bad: bool,
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

/// Colours that colour-blind readers can distinguish (Okabe and Ito). The style sheet
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
    /// Labels across, at most.
    x_ticks: usize,
    /// Letters of a line's name beside it, at most.
    name_len: usize,
    /// Places at which values are shown, at most.
    places: usize,
}

const SHAPES: [Shape; 2] = [
    Shape { class: "wide", width: 920, height: 330, x_ticks: 12, name_len: 18, places: 90 },
    Shape { class: "narrow", width: 380, height: 290, x_ticks: 5, name_len: 9, places: 40 },
];

/// Of all text, in pixels of the page.
const FONT: f64 = 14.5;
/// How wide a letter is at most, on average.
const LETTER: f64 = 8.2;

/// Where the drawing has its plot, in its own pixels.
struct Plot<'a> {
    across: Range<i32>,
    down: Range<i32>,
    /// Where a point of the axes is.
    place: &'a dyn Fn(f64, f64) -> (i32, i32),
}

impl Chart {
    /// Both drawings, of which the style sheet shows one.
    pub fn svg(&self) -> String {
        SHAPES.iter().map(|shape| self.draw(shape).unwrap_or_else(|error| failed(&error))).collect()
    }

    fn draw(&self, shape: &Shape) -> Result<String, String> {
        let mut drawn = String::new();
        let size = (shape.width * SCALE, shape.height * SCALE);
        let marks = {
            let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
            let marks = self.fill(&area, shape).map_err(|error| error.to_string())?;
            area.present().map_err(|error| error.to_string())?;
            marks
        };
        // Its own opening tag fixes the size in pixels; the page decides that.
        let (_, content) = drawn.split_once('>').ok_or("no drawing")?;
        let content = content.trim_end().strip_suffix("</svg>").ok_or("no end of the drawing")?;
        Ok(format!(
            "<svg class=\"{}\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\" \
             xmlns=\"http://www.w3.org/2000/svg\">{content}{marks}</svg>",
            shape.class,
            escape(&self.label),
            size.0,
            size.1
        ))
    }

    /// Draws it, and gives what is laid over the drawing.
    fn fill(&self, area: &Area<'_>, shape: &Shape) -> Result<String, DrawError> {
        let (x, y) = (self.x.thinned(shape.x_ticks), self.y.thinned(8));
        let mut chart = ChartBuilder::on(area)
            .margin_top(26 * SCALE)
            .margin_bottom(20 * SCALE)
            .margin_right(self.names_width(shape) * SCALE)
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
        let font = ("sans-serif", FONT * f64::from(SCALE)).into_font().color(&LABEL);
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
            let style = stroke(colour, if line.bold { 4 } else { 2 });
            for points in line.strokes() {
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            }
        }
        let dots = self.dots.iter().map(|dot| {
            let colour = if dot.bad { BAD } else { COLOURS[2] };
            Circle::new(dot.at, 5 * SCALE, colour.filled())
        });
        chart.draw_series(dots)?;
        let (across, down) = chart.plotting_area().get_pixel_range();
        let place = |x: f64, y: f64| chart.backend_coord(&(x, y));
        let plot = Plot { across, down, place: &place };
        Ok(self.marks(shape, &plot))
    }

    /// Pixels for the names of the lines, behind their right ends.
    fn names_width(&self, shape: &Shape) -> u32 {
        let lens = self.named().map(|line| cut(&line.name, shape.name_len).chars().count());
        let longest = lens.max().unwrap_or(0);
        if longest == 0 { 28 } else { (longest as f64 * LETTER) as u32 + 14 }
    }

    /// The lines that have a name beside them; a single one needs none.
    fn named(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|_| self.lines.len() > 1)
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

impl Line {
    /// The parts between the points that are not there.
    fn strokes(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        let broken = |(x, y): &(f64, f64)| !x.is_finite() || !y.is_finite();
        self.points.split(broken).filter(|points| !points.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_chart_is_drawn_for_both_screens_and_escapes_its_label() {
        let line = Line {
            name: "p50".to_owned(),
            colour: 0,
            points: vec![(0.0, 2.0), (9.0, 2.5)],
            bold: true,
        };
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
        let line = Line { name: String::new(), colour: 1, points, bold: false };
        let svg = chart(vec![line]).svg();
        assert_eq!(svg.matches("stroke=\"#D55E00\"").count(), 4, "two strokes on two screens");
    }
}
