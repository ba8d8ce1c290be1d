//! What a run is doing while it does it: one line that changes on a terminal, a plain line every
//! ten seconds elsewhere. On standard error, so that standard output holds the result alone.
//!
//! It reads no clock: each tick says how far the phase is.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::build::micros;
use super::units;
use crate::drive::session::{Length, News, Observer};

/// Time between two lines where there is no terminal.
pub const LINE_EVERY: Duration = Duration::from_secs(10);

/// Over which the current rate is taken.
const WINDOW: Duration = Duration::from_secs(1);

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the phase began.
    pub elapsed: Duration,
    /// Answers since the phase began.
    pub requests: u64,
    /// Errors since the phase began.
    pub errors: u64,
    /// Half of the answers of the last second were faster, in microseconds; none without answers.
    pub p50_us: Option<f64>,
    /// 99 of 100 of them.
    pub p99_us: Option<f64>,
}

/// Shows progress; without any call it shows nothing.
pub struct Live {
    output: Output,
    phase: String,
    length: Length,
    /// Elapsed time and answers of the last second, the oldest first.
    recent: VecDeque<(Duration, u64)>,
    last: Snapshot,
    next_line: Duration,
}

enum Output {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
    Nothing,
}

impl Live {
    /// On standard error: a bar on a terminal, lines elsewhere.
    pub fn stderr() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            Self::new(Output::Bar(bar))
        } else {
            Self::lines(Box::new(std::io::stderr()))
        }
    }

    /// A line every [`LINE_EVERY`], and at the begin and end of each phase.
    pub fn lines(output: Box<dyn Write + Send>) -> Self {
        Self::new(Output::Lines(output))
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::new(Output::Nothing)
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            phase: String::new(),
            length: Length::Open,
            recent: VecDeque::new(),
            last: Snapshot::default(),
            next_line: LINE_EVERY,
        }
    }

    /// Begins a phase, such as `load`, `warm-up` or `measure`; the one before is over.
    pub fn phase(&mut self, name: &str, length: Length) {
        self.end_phase();
        name.clone_into(&mut self.phase);
        self.length = length;
        self.recent = VecDeque::from([(Duration::ZERO, 0)]);
        self.last = Snapshot::default();
        self.next_line = LINE_EVERY;
        let line = match length {
            Length::Time(time) => format!("{name}: for {}", units::seconds(time.as_secs_f64())),
            Length::Requests(requests) => format!("{name}: {} requests", units::count(requests)),
            Length::Open => name.to_owned(),
        };
        match &self.output {
            Output::Bar(bar) => begin(bar, name, length),
            Output::Lines(_) => self.line(&line),
            Output::Nothing => {}
        }
    }

    /// Shows how far the phase is; to be called some five times a second.
    pub fn tick(&mut self, now: &Snapshot) {
        self.last = *now;
        self.recent.push_back((now.elapsed, now.requests));
        // The oldest that is kept is the youngest that is a whole window old.
        while self.recent.get(1).is_some_and(|(at, _)| *at + WINDOW <= now.elapsed) {
            self.recent.pop_front();
        }
        if let Output::Bar(bar) = &self.output {
            bar.set_position(match self.length {
                Length::Requests(_) => now.requests,
                Length::Time(_) | Length::Open => millis(now.elapsed),
            });
            bar.set_message(format!("{}  {}", self.place(), self.figures(self.rate())));
        } else if now.elapsed >= self.next_line {
            self.next_line = now.elapsed + LINE_EVERY;
            let line = format!("{}: {}, {}", self.phase, self.place(), self.figures(self.rate()));
            self.line(&line);
        }
    }

    /// Leaves the terminal as it was; to be called before anything else is written there.
    pub fn finish(&mut self) {
        self.end_phase();
        if let Output::Bar(bar) = &self.output {
            bar.finish_and_clear();
        }
    }

    fn end_phase(&mut self) {
        let elapsed_s = self.last.elapsed.as_secs_f64();
        if elapsed_s > 0.0 {
            // Of the whole phase: the last second is no summary.
            let whole = Snapshot { p50_us: None, p99_us: None, ..self.last };
            self.last = whole;
            let figures = self.figures(whole.requests as f64 / elapsed_s);
            let line = format!("{}: done in {}, {figures}", self.phase, units::seconds(elapsed_s));
            self.line(&line);
        }
        self.last = Snapshot::default();
    }

    /// Answers a second over the last [`WINDOW`].
    fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else {
            return 0.0;
        };
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        if seconds > 0.0 { last.1.saturating_sub(first.1) as f64 / seconds } else { 0.0 }
    }

    fn place(&self) -> String {
        let elapsed = units::seconds(self.last.elapsed.as_secs_f64());
        match self.length {
            Length::Time(time) => format!("{elapsed} of {}", units::seconds(time.as_secs_f64())),
            Length::Requests(all) => {
                format!("{} of {}", units::count(self.last.requests), units::count(all))
            }
            Length::Open => elapsed,
        }
    }

    fn figures(&self, rate: f64) -> String {
        let mut figures = format!("{} requests/s", units::rate(rate));
        for (name, us) in [("p50", self.last.p50_us), ("p99", self.last.p99_us)] {
            if let Some(us) = us {
                figures.push_str(&format!(", {name} {}", units::latency(us)));
            }
        }
        match self.last.errors {
            0 => figures.push_str(", no errors"),
            1 => figures.push_str(", 1 error"),
            errors => figures.push_str(&format!(", {} errors", units::count(errors))),
        }
        figures
    }

    /// Progress that cannot be shown is no reason to end a run.
    fn line(&mut self, line: &str) {
        if let Output::Lines(output) = &mut self.output {
            let _ = writeln!(output, "{line}").and_then(|()| output.flush());
        }
    }
}

impl Observer for Live {
    fn phase(&mut self, name: &str, length: Length) {
        Self::phase(self, name, length);
    }

    fn tick(&mut self, news: &News) {
        let recent = &news.recent_ns;
        let us = |quantile| (!recent.is_empty()).then(|| micros(recent, quantile));
        Self::tick(
            self,
            &Snapshot {
                elapsed: news.elapsed,
                requests: news.answers,
                errors: news.errors,
                p50_us: us(0.5),
                p99_us: us(0.99),
            },
        );
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Output::Bar(bar) = &self.output {
            bar.finish_and_clear();
        }
    }
}

fn begin(bar: &ProgressBar, name: &str, length: Length) {
    let template = match length {
        Length::Open => "{prefix}  {spinner} {wide_msg}",
        Length::Time(_) | Length::Requests(_) => "{prefix}  {bar:16}  {wide_msg}",
    };
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
    bar.reset();
    match length {
        Length::Time(time) => bar.set_length(millis(time)),
        Length::Requests(requests) => bar.set_length(requests),
        Length::Open => bar.unset_length(),
    }
    bar.set_message(String::new());
    bar.set_prefix(format!("{name:<8}"));
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    fn at(millis: u64, requests: u64, errors: u64) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_millis(millis),
            requests,
            errors,
            p50_us: Some(180.0),
            p99_us: Some(2_300.0),
        }
    }

    #[test]
    fn without_a_terminal_there_is_a_line_every_ten_seconds() {
        let output = Shared::default();
        let mut live = Live::lines(Box::new(output.clone()));
        live.phase("load", Length::Requests(1_000));
        live.tick(&Snapshot { p50_us: None, p99_us: None, ..at(500, 1_000, 0) });
        live.phase("measure", Length::Time(Duration::from_secs(25)));
        for tick in 1..=125 {
            live.tick(&at(tick * 200, tick * 400, u64::from(tick > 60)));
        }
        live.finish();
        let expected = [
            "load: 1,000 requests",
            "load: done in 0.50 s, 2,000 requests/s, no errors",
            "measure: for 25.0 s",
            "measure: 10.0 s of 25.0 s, 2,000 requests/s, p50 180 µs, p99 2.30 ms, no errors",
            "measure: 20.0 s of 25.0 s, 2,000 requests/s, p50 180 µs, p99 2.30 ms, 1 error",
            "measure: done in 25.0 s, 2,000 requests/s, 1 error",
        ];
        assert_eq!(output.lines(), expected);
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut live = Live::hidden();
        live.phase("measure", Length::Open);
        assert_eq!(live.rate(), 0.0);
        for tick in 0..=50_u64 {
            // A thousand a second, then nothing for the last two seconds.
            live.tick(&at(tick * 200, (tick * 200).min(8_000), 0));
            assert!(live.recent.len() <= 8, "memory is flat");
            if tick == 20 {
                assert_eq!(live.rate(), 1_000.0);
            }
        }
        assert_eq!(live.rate(), 0.0);
    }

    #[test]
    fn ticks_that_come_late_or_twice_do_no_harm() {
        let output = Shared::default();
        let mut live = Live::lines(Box::new(output.clone()));
        live.tick(&at(0, 0, 0));
        live.phase("measure", Length::Time(Duration::ZERO));
        live.tick(&at(60_000, 5, 0));
        live.tick(&at(60_000, 5, 0));
        live.tick(&at(59_000, 4, 0));
        live.finish();
        live.finish();
        assert_eq!(output.lines().len(), 3, "{:?}", output.lines());
    }
}
