//! Sockets and their limits, for every protocol that clients speak.
//!
//! | file | what |
//! |---|---|
//! | `listen`, `socket_file` | addresses, and the sockets that listen there |
//! | `tls` | TLS over a socket |
//! | `buffer` | bytes between a socket and a protocol |
//! | `proxy_header` | the client's address on a connection of a trusted proxy |
//! | `limits` | time limits of connections |
//! | `places` | how many connections there may be |
//! | `stop` | how the workers of a server are stopped |
//! | `tick` | time as the sweep of a worker counts it |
//! | `alone` | whether a worker serves one connection alone |

pub(crate) mod alone;
pub(crate) mod buffer;
pub mod limits;
pub mod listen;
pub mod places;
pub mod proxy_header;
pub(crate) mod socket_file;
pub mod stop;
pub(crate) mod tick;
pub(crate) mod tls;
