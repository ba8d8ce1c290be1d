//! What was run, for the report of it.

use crate::drive::connects::Connects;
use crate::drive::session::Measured;
use crate::report::model::Ended;
use crate::run::job::Job;
use crate::run::subject::Subject;

/// What was run, beside what came of it.
pub struct Setting<'a> {
    /// What was to be run.
    pub job: &'a Job,
    /// Whom it was asked of.
    pub subject: &'a Subject,
    /// How the population was issued.
    pub load: &'a Measured,
    /// How connections were made in all phases until now.
    pub connects: &'a Connects,
    /// RFC 3339.
    pub started_at: String,
    /// The rate that was asked for.
    pub rate: Option<f64>,
    /// What ended it early, where something did.
    pub ended: Option<Ended>,
}
