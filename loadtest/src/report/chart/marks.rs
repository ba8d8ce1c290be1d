//! What is laid over a drawing: the titles of the axes, the names of the lines at their right ends,
//! and the values under the pointer.

use std::fmt::Write;
use std::ops::Range;

use super::{COLOURS, Chart, FONT, LETTER, Line, Plot, SCALE, Shape};
use crate::report::svg::{cut, escape};

/// A place at which values are shown: an x, and the y of each line that has one there.
type Place<'a> = (f64, Vec<(&'a Line, f64)>);

impl Chart {
    /// All of it, as SVG.
    pub(super) fn marks(&self, shape: &Shape, plot: &Plot<'_>) -> String {
        let mut svg = self.titles(plot);
        svg.push_str(&self.names(shape, plot));
        let places = self.places(shape.places);
        let at: Vec<i32> = places.iter().map(|(x, _)| (plot.place)(*x, 0.0).0).collect();
        for (index, place) in places.iter().enumerate() {
            let from = match index.checked_sub(1) {
                Some(before) => i32::midpoint(at[before], at[index]),
                None => plot.across.start,
            };
            let to =
                at.get(index + 1).map_or(plot.across.end, |next| i32::midpoint(at[index], *next));
            svg.push_str(&self.tip(plot, place, from..to));
        }
        svg
    }

    fn titles(&self, plot: &Plot<'_>) -> String {
        let size = pixels(FONT);
        let below = plot.down.end + pixels(46.0);
        let mut svg = text(pixels(2.0), pixels(15.0), size, "title", &self.y.title);
        let class = "title end";
        svg.push_str(&text(plot.across.end, below, size, class, &self.x.title));
        svg
    }

    /// Each beside the last point of its line, and none over another.
    fn names(&self, shape: &Shape, plot: &Plot<'_>) -> String {
        let ends = self.named().filter_map(|line| {
            let is_there = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
            let (x, y) = line.points.iter().rev().find(is_there)?;
            Some((line, (plot.place)(*x, *y)))
        });
        let mut ends: Vec<_> = ends.collect();
        ends.sort_by_key(|(_, (_, y))| *y);
        let (height, mut svg) = (pixels(FONT + 1.0), String::new());
        let mut places: Vec<i32> = ends.iter().map(|(_, (_, y))| y + height / 3).collect();
        // From above, and then from below, so that none is over another or outside.
        let mut least = plot.down.start + height / 2;
        for y in &mut places {
            *y = (*y).max(least);
            least = *y + height;
        }
        let mut most = plot.down.end + height / 4;
        for y in places.iter_mut().rev() {
            *y = (*y).min(most);
            most = *y - height;
        }
        for ((line, (x, _)), y) in ends.iter().zip(places) {
            let class = format!("name k{}{}", line.colour % COLOURS.len(), bold(line));
            let name = cut(&line.name, shape.name_len);
            svg.push_str(&text(x + pixels(6.0), y, pixels(FONT), &class, &name));
        }
        svg
    }

    /// Every x at which a line has a point, at most `most` of them; of neighbours the one with the
    /// highest value is kept, as it is what a reader looks for.
    fn places(&self, most: usize) -> Vec<Place<'_>> {
        let points = self.lines.iter().flat_map(|line| {
            let points = line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
            points.map(move |(x, y)| (*x, line, *y))
        });
        let mut points: Vec<_> = points.collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut places: Vec<Place<'_>> = Vec::new();
        for (x, line, y) in points {
            match places.last_mut() {
                Some((last, values)) if (x - *last).abs() < 1e-9 => {
                    // A curve that ends with a step has two values there: its last counts.
                    values.retain(|(other, _)| !std::ptr::eq(*other, line));
                    values.push((line, y));
                }
                _ => places.push((x, vec![(line, y)])),
            }
        }
        let highest = |place: &Place<'_>| place.1.iter().map(|(_, y)| *y).fold(f64::MIN, f64::max);
        let size = places.len().div_ceil(most.max(1)).max(1);
        let groups = places.chunks(size).filter_map(|group| {
            group.iter().max_by(|a, b| highest(a).total_cmp(&highest(b))).cloned()
        });
        groups.collect()
    }

    /// What is shown while the pointer is over `hit`.
    fn tip(&self, plot: &Plot<'_>, (x, values): &Place<'_>, hit: Range<i32>) -> String {
        let (top, height) = (plot.down.start, plot.down.end - plot.down.start);
        let mut svg = format!(
            "<g class=\"at\"><rect class=\"hit\" x=\"{}\" y=\"{top}\" width=\"{}\" \
             height=\"{height}\"/><g class=\"tip\">",
            hit.start,
            (hit.end - hit.start).max(1)
        );
        let at = (plot.place)(*x, 0.0).0;
        // Writing to a String can't fail.
        let _ = write!(svg, "<path class=\"rule\" d=\"M{at} {top}v{height}\"/>");
        let mut rows = vec![(self.x.scale.read(*x), "x".to_owned())];
        for (line, y) in values {
            let (colour, down) = (line.colour % COLOURS.len(), (plot.place)(*x, *y).1);
            let _ = write!(
                svg,
                "<circle class=\"k{colour}\" cx=\"{at}\" cy=\"{down}\" r=\"{}\"/>",
                pixels(4.0)
            );
            let read = format!("{} {}", cut(&line.name, 24), self.y.scale.read(*y));
            rows.push((read, format!("k{colour}{}", bold(line))));
        }
        let letters = rows.iter().map(|(row, _)| row.chars().count()).max().unwrap_or(0);
        let (line_height, width) = (pixels(FONT + 3.0), pixels(letters as f64 * LETTER + 12.0));
        // On the side of the pointer that has more room.
        let is_left = at > i32::midpoint(plot.across.start, plot.across.end);
        let left = if is_left { at - width - pixels(8.0) } else { at + pixels(8.0) };
        let left = left.max(0);
        let box_height = line_height * rows.len() as i32 + pixels(8.0);
        let _ = write!(
            svg,
            "<rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{width}\" \
             height=\"{box_height}\" rx=\"{}\"/>",
            pixels(4.0)
        );
        for (index, (row, class)) in rows.iter().enumerate() {
            let y = top + line_height * (index as i32 + 1);
            svg.push_str(&text(left + pixels(6.0), y, pixels(FONT), class, row));
        }
        svg + "</g></g>"
    }
}

/// Pixels of the drawing for those of the page.
fn pixels(of_page: f64) -> i32 {
    (of_page * f64::from(SCALE)) as i32
}

fn bold(line: &Line) -> &'static str {
    if line.bold { " bold" } else { "" }
}

fn text(x: i32, y: i32, size: i32, class: &str, content: &str) -> String {
    let content = escape(content);
    format!("<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" class=\"{class}\">{content}</text>")
}
