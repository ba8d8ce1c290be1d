//! The admin listener: liveness, readiness, metrics, statistics and backups.
//!
//! It starts before recovery, so that `/readyz` can report it; during recovery it also answers the
//! connections of the data listener, with 503. Its load is small, so it has one thread. Anyone who
//! can reach the port can connect, so it has the limits of the data listener. If the data listener
//! uses TLS, so does the admin listener, because it receives keys too.
//!
//! `seats` manages the places of connections, `entrance` controls access, `answers` makes the
//! answers, `readiness` decides on those about readiness and the cluster, `recovery` knows how far the
//! start is, and `membership` takes what a person decides about the cluster. `page` is the page for a
//! person, and `live` what it shows.

mod answers;
pub(in crate::http) mod backup;
mod cluster_metrics;
mod disk;
mod entrance;
pub(in crate::http) mod exposition;
mod format;
mod limits;
mod listener;
mod live;
mod membership;
pub(in crate::http) mod namespaces;
pub(in crate::http) mod openapi;
mod page;
mod process;
mod readiness;
mod recovery;
mod seats;
mod sheet;
mod streams;
mod turned_away;
mod view;

pub use listener::{Admin, Guard};
pub use recovery::Recovery;
pub use view::Started;
