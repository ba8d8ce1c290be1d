//! A running node of a cluster: an engine that follows the stream, and the threads around it.
//!
//! | module | what |
//! |---|---|
//! | `identity` | the node's files: its id, and the marker of one that has left |
//! | `check` | the checks of a stream before it is followed |
//! | `word` | what a node can do at present, and why its process must end |
//! | `decide` | what a person decides on a running node |
//! | `view` | what is known of a node, for its threads and for those who ask |
//! | `keys` | nodes whose keys files differ |
//! | `connection` | the ways of the threads to the stream |
//! | `on_nats` | the same on NATS |
//! | `outlet` | what goes out: messages, sealed and proposed |
//! | `start` | the start, from the files to the first message that has landed |
//! | `running` | the running node |
//! | `presence` | whether a node was heard of lately |
//! | `opinion` | whether the content of the node is the right one |
//! | `holds`, `join_hold` | what nodes that join need of the stream |
//! | `fullness` | how full the stream is |
//! | `sizes` | where the bytes of the stream are |
//! | `trim` | forgetting the begin of the stream |
//! | `watch` | the threads that follow the stream and check it again |
//! | `report` | what `GET /cluster` answers |
//!
//! A start connects to the stream, checks it and every setting, reads the log, follows the stream
//! to its end and begins a new life. Only when the first message of that life has landed does the
//! node serve: then nobody else runs as this node, and it knows everything that was acknowledged
//! anywhere before.
//!
//! A node ends its process where going on would do harm, and leaves a marker if a restart would do
//! harm too. Where the stream is not the one that was followed it stays, takes no more changes and
//! leaves its log as it is: a person decides.

mod check;
mod connection;
mod decide;
mod fullness;
mod holds;
mod identity;
mod join_hold;
mod keys;
mod on_nats;
mod opinion;
mod outlet;
mod presence;
mod report;
mod running;
mod sizes;
mod start;
mod trim;
mod view;
mod watch;
mod word;

pub use check::{CheckError, Checked, MESSAGE_LEN_MAX, check};
pub use connection::Connection;
pub use decide::{Unfulfilled, Wish};
pub use identity::{IdentityError, Marker, Rejoined, marker, rejoin};
pub use join_hold::JoinHold;
pub use on_nats::OnNats;
pub use report::{NodeReport, Report};
pub use running::Node;
pub use start::{NodeError, Start};
pub use view::NodeView;
pub use word::{Ending, Word};
