//! Ratios with their intervals, one below the other, on a logarithmic axis with a line at 1: what
//! does not touch the line differs.

use std::fmt::Write;

use super::chart::COLOURS;
use super::svg::{cut, escape};
use super::units;
use crate::stats::Interval;

/// Everything that is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ratios {
    /// For those who cannot see it.
    pub label: String,
    /// Of the axis.
    pub title: String,
    /// From above.
    pub rows: Vec<Ratio>,
}

/// One ratio.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Of what to what.
    pub name: String,
    /// Which of [`COLOURS`], modulo their number.
    pub colour: usize,
    /// Above 0.
    pub interval: Interval,
}

struct Shape {
    class: &'static str,
    width: f64,
    /// For the names; on a phone they stand above their row.
    names: f64,
    row: f64,
}

const SHAPES: [Shape; 2] = [
    Shape { class: "wide", width: 920.0, names: 260.0, row: 26.0 },
    Shape { class: "narrow", width: 380.0, names: 8.0, row: 46.0 },
];
const FONT: f64 = 14.5;
/// Behind the axis, for the figure.
const FIGURE: f64 = 165.0;
/// Above and below the rows.
const EDGES: (f64, f64) = (8.0, 46.0);

impl Ratios {
    /// Both drawings, of which the style sheet shows one.
    pub fn svg(&self) -> String {
        SHAPES.iter().map(|shape| self.draw(shape)).collect()
    }

    fn draw(&self, shape: &Shape) -> String {
        let (low, high) = self.span();
        let (from, to) = (shape.names, shape.width - FIGURE);
        let place = |ratio: f64| {
            let share = (ratio.max(f64::MIN_POSITIVE).ln() - low.ln()) / (high.ln() - low.ln());
            from + share.clamp(0.0, 1.0) * (to - from)
        };
        let end = EDGES.0 + shape.row * self.rows.len() as f64;
        let height = end + EDGES.1;
        let mut svg = format!(
            "<svg class=\"{}\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {height}\" \
             xmlns=\"http://www.w3.org/2000/svg\">",
            shape.class,
            escape(&self.label),
            shape.width
        );
        for tick in ticks(low, high, if shape.class == "wide" { 9 } else { 4 }) {
            let x = place(tick);
            let class = if tick == 1.0 { "one" } else { "grid fine" };
            let top = EDGES.0;
            // Writing to a String can't fail.
            let _ = write!(svg, "<path class=\"{class}\" d=\"M{x:.1} {top}V{end}\"/>");
            svg.push_str(&text(x, end + 18.0, "tick mid", &format!("{tick}")));
        }
        svg.push_str(&text(shape.width - 4.0, end + 38.0, "title end", &self.title));
        for (index, ratio) in self.rows.iter().enumerate() {
            let middle = EDGES.0 + shape.row * (index as f64 + 1.0) - 13.0;
            svg.push_str(&ratio.draw(shape, middle, &place));
        }
        svg + "</svg>"
    }

    /// What all rows and 1 lie in, with a little room.
    fn span(&self) -> (f64, f64) {
        let ends = self.rows.iter().flat_map(Ratio::ends);
        let (low, high) = ends
            .filter(|end| *end > 0.0 && end.is_finite())
            .fold((1.0_f64, 1.0_f64), |(low, high), end| (low.min(end), high.max(end)));
        (low * 0.9, high * 1.1)
    }
}

impl Ratio {
    /// The bounds; where they say nothing, the estimate alone.
    fn ends(&self) -> [f64; 2] {
        let Interval { low, estimate, high, .. } = self.interval;
        if self.interval.is_bounded() { [low, high] } else { [estimate; 2] }
    }

    fn draw(&self, shape: &Shape, middle: f64, place: &dyn Fn(f64) -> f64) -> String {
        let colour = self.colour % COLOURS.len();
        let [low, high] = self.ends();
        let at = place(self.interval.estimate);
        let mut svg = format!(
            "<path class=\"whisker span{colour}\" d=\"M{:.1} {middle}H{:.1}\"/>\
             <circle class=\"k{colour}\" cx=\"{at:.1}\" cy=\"{middle}\" r=\"5\"/>",
            place(low),
            place(high)
        );
        let down = middle + FONT / 3.0;
        match shape.class {
            "wide" => svg.push_str(&text(0.0, down, "tick", &cut(&self.name, 31))),
            _ => svg.push_str(&text(0.0, middle - 15.0, "tick", &self.name)),
        }
        svg.push_str(&text(shape.width - FIGURE + 8.0, down, "x", &self.read()));
        svg
    }

    /// `0.61 (0.58..0.64)`.
    pub fn read(&self) -> String {
        let Interval { low, estimate, high, .. } = self.interval;
        match self.interval.is_bounded() {
            true => format!("{estimate:.2} ({low:.2}..{high:.2})"),
            false => format!("{estimate:.2}"),
        }
    }
}

fn text(x: f64, y: f64, class: &str, content: &str) -> String {
    let content = escape(content);
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{FONT}\" class=\"{class}\">{content}</text>"
    )
}

/// At most `most` round ratios within the span, 1 among them.
fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let fine = [0.8, 0.9, 1.0, 1.1, 1.25, 1.5];
    let coarse = (-3..=4).flat_map(|decade| [1.0, 2.0, 5.0].map(|lead| lead * 10_f64.powi(decade)));
    let within = |tick: &f64| (low..=high).contains(tick);
    let mut ticks: Vec<f64> = coarse.chain(fine).filter(within).collect();
    // Written without what floating point adds.
    ticks.iter_mut().for_each(|tick| *tick = units::tidy(*tick));
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    while ticks.len() > most {
        // Every second, so that 1 stays.
        let one = ticks.iter().position(|tick| *tick == 1.0).unwrap_or(0);
        let mut at = 0;
        ticks.retain(|_| {
            at += 1;
            (at - 1) % 2 == one % 2
        });
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(low: f64, estimate: f64, high: f64) -> Ratio {
        let interval = Interval { low, estimate, high, confidence: 0.95 };
        Ratio { name: "jeton ÷ <redis>".to_owned(), colour: 0, interval }
    }

    #[test]
    fn each_ratio_is_drawn_with_its_interval_on_both_screens() {
        let rows = vec![ratio(0.5, 0.6, 0.7), ratio(0.0, 2.0, f64::INFINITY)];
        let svg = Ratios { rows, ..Ratios::default() }.svg();
        assert_eq!(svg.matches("<svg ").count(), 2);
        assert_eq!(svg.matches("0.60 (0.50..0.70)").count(), 2);
        assert_eq!(svg.matches(">2.00</text>").count(), 2, "no interval, no bounds");
        assert_eq!(svg.matches("class=\"whisker").count(), 4);
        assert!(svg.contains("&lt;redis&gt;") && !svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn one_is_always_among_the_ticks() {
        for (low, high) in [(0.9, 1.1), (0.05, 40.0), (0.9, 13.0), (0.3, 1.1)] {
            for most in [4, 9] {
                let ticks = ticks(low, high, most);
                assert!(ticks.contains(&1.0) && ticks.len() <= most, "{low} {high} {ticks:?}");
            }
        }
    }
}
