//! What was run, for the report of it.

use crate::drive::connects::Connects;
use crate::drive::session::Measured;
use crate::report::model::Ended;
use crate::run::job::Job;
use crate::run::subject::Subject;

/// The setting of a run, without its results.
pub struct Setting<'a> {
    /// What was to be run.
    pub job: &'a Job,
    /// The server that was asked.
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
