//! Markdown tables, and the few statistics in them.

use hdrhistogram::Histogram;

/// A table for the README.
pub struct Table {
    title: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, header: &[&'static str]) -> Self {
        Self { title: title.into(), header: header.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row; one that is shorter than the header is filled up.
    pub fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
    }

    /// Adds what must be known to read the figures.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints it as markdown, with columns aligned.
    pub fn print(&self) {
        let header: Vec<String> = self.header.iter().map(|&name| name.to_owned()).collect();
        let widths: Vec<usize> = (0..header.len())
            .map(|column| {
                let cells =
                    self.rows.iter().chain([&header]).map(|row| row[column].chars().count());
                cells.max().unwrap_or(0)
            })
            .collect();
        println!("\n### {}\n", self.title);
        print_row(&header, &widths);
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        print_row(&rule, &widths);
        for row in &self.rows {
            print_row(row, &widths);
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
    }
}

fn print_row(cells: &[String], widths: &[usize]) {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    println!("| {} |", padded.join(" | "));
}

/// Median, least and greatest of some values.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Spread {
    /// Of values that are numbers; of none, zero.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
        Self {
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            least: at(0),
            greatest: at(last),
        }
    }

    /// As `1.02 (0.98..1.10)`; the parentheses only where there is a difference.
    pub fn show(&self, decimals: usize) -> String {
        let Self { median, least, greatest } = self;
        if least == greatest {
            return format!("{median:.decimals$}");
        }
        format!("{median:.decimals$} ({least:.decimals$}..{greatest:.decimals$})")
    }
}

/// A count with separators: `1,234,567`.
pub fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number of bytes in MiB.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// The quantile `share` of a histogram of nanoseconds, in microseconds.
pub fn quantile_us(latency_ns: &Histogram<u64>, share: f64) -> String {
    format!("{:.0}", latency_ns.value_at_quantile(share) as f64 / 1000.0)
}

/// The median and the tail, in microseconds, as cells of a row.
pub fn latency_cells_us(latency_ns: &Histogram<u64>) -> Vec<String> {
    [0.5, 0.99, 0.999, 1.0].iter().map(|&share| quantile_us(latency_ns, share)).collect()
}

/// The head of the columns that [`latency_cells_us`] fills.
pub const LATENCY_HEADER: [&str; 4] = ["p50 µs", "p99 µs", "p99.9 µs", "max µs"];
