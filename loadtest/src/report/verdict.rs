//! What a run says of its server: the worst that is certain.

use serde::{Deserialize, Serialize};

use super::model::{ErrorReport, How, Kept, Report};

/// What a run says of its server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All answers were right and all objectives kept.
    Passed,
    /// The server gave false answers.
    WrongAnswers,
    /// It refused, or gave no answer.
    Errors,
    /// It went away, or did not stop in order.
    ServerFailed,
    /// All answers were right, but too slow.
    ObjectiveMissed,
    /// A signal ended it: nothing went wrong until then.
    Interrupted,
    /// Too little was measured, or the harness itself was disturbed.
    Undecided,
}

impl Verdict {
    /// For a heading.
    pub fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::WrongAnswers => "wrong answers",
            Self::Errors => "errors",
            Self::ServerFailed => "server failed",
            Self::ObjectiveMissed => "objective missed",
            Self::Interrupted => "interrupted",
            Self::Undecided => "undecided",
        }
    }
}

impl Report {
    /// The worst that can be said of it.
    pub fn verdict(&self) -> Verdict {
        let how = self.ended.as_ref().map(|ended| ended.how);
        if self.errors.iter().any(|error| error.wrong) {
            Verdict::WrongAnswers
        } else if matches!(how, Some(How::ServerGone | How::ServerFailed)) {
            Verdict::ServerFailed
        } else if self.errors.iter().any(|error| self.counts(error)) {
            Verdict::Errors
        } else if how.is_some() || self.totals.stopped_early {
            Verdict::Interrupted
        } else {
            self.by_objectives()
        }
    }

    /// A search measures on after a refusal while tokens were issued: that says nothing of a rate.
    fn counts(&self, error: &ErrorReport) -> bool {
        self.search.is_none() || error.count > error.while_issuing
    }

    fn by_objectives(&self) -> Verdict {
        let any = |kept| self.objectives.iter().any(|objective| objective.kept == kept);
        let searched = self.search.as_ref();
        let found_none = searched.is_some_and(|search| {
            search.rate.is_none() && search.steps.iter().any(|step| step.kept == Kept::No)
        });
        let doubtful = searched.is_some_and(|search| search.doubt.is_some());
        let unknown = searched.is_some_and(|search| search.rate.is_none());
        if any(Kept::No) || found_none {
            Verdict::ObjectiveMissed
        } else if self.totals.requests == 0 || any(Kept::Undecided) || doubtful || unknown {
            Verdict::Undecided
        } else {
            Verdict::Passed
        }
    }

    /// The verdict for a heading. Without an objective nothing was asked that could be passed.
    pub fn verdict_text(&self) -> &'static str {
        match self.verdict() {
            Verdict::Passed if self.objectives.is_empty() => "no wrong answers",
            verdict => verdict.text(),
        }
    }

    /// Whether all was right and every objective kept.
    pub fn passed(&self) -> bool {
        self.verdict() == Verdict::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Ended, Search};
    use crate::report::sample::Sample;

    fn report() -> Report {
        Sample { slices: 8, requests: 100, ..Sample::default() }.report()
    }

    fn error(count: u64, while_issuing: u64, wrong: bool) -> ErrorReport {
        let (kind, example) = ("status 503".to_owned(), String::new());
        ErrorReport { kind, count, while_issuing, wrong, example }
    }

    fn ended(how: How) -> Option<Ended> {
        Some(Ended { how, reason: "for a reason".to_owned() })
    }

    #[test]
    fn nothing_is_passed_where_nothing_was_asked() {
        let mut report = report();
        assert_eq!(report.verdict_text(), "passed");
        report.objectives.clear();
        assert_eq!((report.verdict_text(), report.passed()), ("no wrong answers", true));
    }

    #[test]
    fn the_worst_that_is_certain_is_said() {
        type Change = fn(&mut Report);
        let cases: [(Verdict, Change); 11] = [
            (Verdict::Passed, |_| {}),
            (Verdict::WrongAnswers, |report| {
                report.errors = vec![error(5, 0, false), error(1, 1, true)];
                report.ended = ended(How::ServerGone);
            }),
            (Verdict::ServerFailed, |report| {
                report.errors = vec![error(5, 0, false)];
                report.ended = ended(How::ServerGone);
            }),
            (Verdict::ServerFailed, |report| report.ended = ended(How::ServerFailed)),
            (Verdict::Errors, |report| report.errors = vec![error(5, 5, false)]),
            (Verdict::Interrupted, |report| {
                // What a quarter of a run missed, the whole of it may have kept.
                report.objectives[0].kept = Kept::No;
                report.ended = ended(How::Interrupted);
            }),
            (Verdict::ObjectiveMissed, |report| {
                report.objectives[0].kept = Kept::Undecided;
                report.objectives[1].kept = Kept::No;
            }),
            (Verdict::Undecided, |report| report.objectives[0].kept = Kept::Undecided),
            (Verdict::Undecided, |report| report.totals.requests = 0),
            // A search goes on after a refusal while tokens were issued.
            (Verdict::Passed, |report| {
                report.errors = vec![error(1, 1, false)];
                report.search = Some(Search { rate: Some(5.0), ..Search::default() });
            }),
            (Verdict::Undecided, |report| {
                let doubt = Some("the host was busy".to_owned());
                report.search = Some(Search { rate: Some(5.0), doubt, ..Search::default() });
            }),
        ];
        for (verdict, change) in cases {
            let mut report = report();
            change(&mut report);
            assert_eq!(report.verdict(), verdict);
            assert_eq!(report.passed(), verdict == Verdict::Passed);
        }
    }
}
