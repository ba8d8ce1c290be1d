//! One run from begin to end: reach the server, issue the population, put load on it, report.

mod assemble;
mod connections;
pub mod job;
pub mod judge;
pub mod search;
mod setting;
pub mod subject;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::drive::connects::Connects;
use crate::drive::session::{Length, Measured, Observer, Session, Spec};
use crate::failure::{Failure, Result};
use crate::report::model::{Ended, How, Report, Target};
use crate::run::job::Job;
use crate::run::setting::Setting;
use crate::run::subject::Subject;
use crate::target::usage::Watched;
use crate::traffic::payload::Payloads;

/// Descriptors the harness needs beside its connections.
const DESCRIPTORS_BESIDE: u64 = 64;
/// What a report says of a run that a signal ended.
const INTERRUPTED: &str = "A signal ended the run early: the figures cover the time until then.";

/// Connections to a server that holds the population.
pub struct Bench {
    job: Job,
    subject: Subject,
    session: Session,
    load: Measured,
    /// Of all phases until now.
    connects: Connects,
}

impl Bench {
    /// Reaches the server and issues the population.
    ///
    /// # Errors
    /// The server can't be reached or started, can't do what is asked, or takes not one token; there
    /// are too few descriptors; the payloads can't be read.
    pub fn set_up(job: &Job, observer: &mut dyn Observer) -> Result<Self> {
        let workload = &job.workload;
        raise_descriptors(workload.load.connections as u64)?;
        let payloads = Arc::new(Payloads::new(&workload.payload, workload.seed)?);
        let subject =
            Subject::reach(&job.address, workload, &payloads, &job.options, job.server_pid)?;
        let session = Session::open(workload, subject.endpoints(), &payloads, &job.stop);
        let mut session = session.map_err(|failure| subject.explain(failure))?;
        let load =
            session.load(observer, subject.process).map_err(|failure| subject.explain(failure))?;
        check_load(&load, job).map_err(|failure| subject.explain(failure))?;
        let connects = load.record.connects.clone();
        Ok(Self { job: job.clone(), subject, session, load, connects })
    }

    /// Puts load on the server as the workload says, at this rate, and reports.
    ///
    /// # Errors
    /// The server went away.
    pub fn measure(&mut self, rate: Option<f64>, observer: &mut dyn Observer) -> Result<Report> {
        let time = &self.job.workload.time;
        let spec =
            Spec { rate, warm_up: time.warm_up.0, duration: time.duration.0, ramp: time.ramp.0 };
        self.measure_as(spec, observer)
    }

    /// The same with other times.
    ///
    /// # Errors
    /// The server went away.
    pub fn measure_as(&mut self, spec: Spec, observer: &mut dyn Observer) -> Result<Report> {
        let started_at = now();
        let measured = self
            .session
            .measure(spec, observer, self.subject.process)
            .map_err(|failure| self.subject.explain(failure))?;
        self.connects.merge(&measured.record.connects);
        if measured.record.requests == 0 && self.job.stop.load(Ordering::Relaxed) {
            return Err(Failure::Input("stopped before anything was measured".to_owned()));
        }
        let interrupted = self.job.stop.load(Ordering::Relaxed);
        let ended = match &measured.record.gone {
            Some(gone) => Some(Ended { how: How::ServerGone, reason: gone.clone() }),
            None if interrupted => {
                Some(Ended { how: How::Interrupted, reason: INTERRUPTED.to_owned() })
            }
            None => None,
        };
        let setting = Setting {
            ended,
            job: &self.job,
            subject: &self.subject,
            load: &self.load,
            connects: &self.connects,
            started_at,
            rate: spec.rate,
        };
        Ok(assemble::report(&setting, &measured))
    }

    /// Ends a server that was started here. That it does not end in order is a fault of the server,
    /// and no reason to lose the report.
    pub fn finish(self, report: &mut Report) {
        let Err(failure) = self.tear_down() else { return };
        let (how, reason) = match report.ended.take() {
            Some(Ended { how: How::ServerGone, reason }) => {
                (How::ServerGone, format!("{reason}. {failure}"))
            }
            Some(Ended { reason, .. }) => (How::ServerFailed, format!("{reason} {failure}")),
            None => (How::ServerFailed, failure.to_string()),
        };
        report.ended = Some(Ended { how, reason });
    }

    /// The server, as a report names it.
    pub fn target(&self) -> &Target {
        &self.subject.target
    }

    /// The server's process, where it is known.
    pub fn server_process(&self) -> Option<Watched> {
        self.subject.process
    }

    /// Ends a server that was started here.
    ///
    /// # Errors
    /// It had ended before, or had to be killed.
    pub fn tear_down(self) -> Result<()> {
        drop(self.session);
        self.subject.stop()
    }
}

/// Where not one token was issued, there is nothing to ask for: it is another kind of server, or one
/// that is not ready.
fn check_load(load: &Measured, job: &Job) -> Result<()> {
    let errors = &load.record.errors;
    let Some((kind, _, example)) = errors.iter().max_by_key(|(_, count, _)| *count) else {
        return Ok(());
    };
    if load.record.living > 0 || job.stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    let denial = errors.denial(kind).map(ToString::to_string);
    let why = denial.unwrap_or_else(|| format!("{}: {example}", kind.name()));
    let problem =
        format!("none of the {} tokens could be issued: {why}", job.workload.keys.population);
    Err(Failure::Target { target: job.address.to_string(), problem })
}

/// The whole of it.
///
/// # Errors
/// As [`Bench::set_up`] and [`Bench::measure`].
pub fn run(job: &Job, observer: &mut dyn Observer) -> Result<Report> {
    let mut bench = Bench::set_up(job, observer)?;
    if let Some(at) = job.start_at {
        observer.phase(&format!("waiting until {at}"), Length::Open);
        begin_at(at, job)?;
    }
    let mut report = bench.measure(job.workload.load.rate, observer)?;
    bench.finish(&mut report);
    Ok(report)
}

/// The time of the day, as RFC 3339 has it.
pub fn now() -> String {
    wall_clock().map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn wall_clock() -> Option<jiff::Timestamp> {
    #[expect(clippy::disallowed_methods, reason = "the edge: a report says when it was made")]
    let now = std::time::SystemTime::now();
    jiff::Timestamp::try_from(now).ok()
}

/// How often a wait looks whether a signal came.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until then. A generator that is late would measure another time than the others.
///
/// # Errors
/// It is past already, or a signal came.
fn begin_at(at: jiff::Timestamp, job: &Job) -> Result<()> {
    let left = || {
        let left = at.duration_since(wall_clock().unwrap_or(at));
        Duration::try_from(left).ok()
    };
    if left().is_none() {
        let problem = "has passed before the tokens were issued; choose a later time";
        return Err(Failure::Input(format!("--start-at {at}: {problem}")));
    }
    while let Some(left) = left().filter(|left| !left.is_zero()) {
        if job.is_stopped() {
            return Err(Failure::Input("stopped before anything was measured".to_owned()));
        }
        std::thread::sleep(left.min(LOOK));
    }
    Ok(())
}

/// Lets this process open as many descriptors as the system allows it.
fn raise_descriptors(connections: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    match most {
        Some(most) if connections + DESCRIPTORS_BESIDE > most => Err(Failure::Input(format!(
            "--connections {connections}: this process may open {most} descriptors; raise the \
             limit with `ulimit -n {}`",
            connections + DESCRIPTORS_BESIDE
        ))),
        _ => Ok(()),
    }
}
