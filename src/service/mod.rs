//! What any wire may ask, and who may: it knows nothing of HTTP.
//!
//! | file | what |
//! |---|---|
//! | `operation` | the table of operations: names, and the scope that each needs |
//! | `principal` | who asks, and whether they may |
//! | `authentication` | from what a caller presents to the principal, cached for each connection |
//! | `miss_limiter`, `networks` | how often a caller may ask for what is unknown |
//! | `quotas` | what a namespace may use |
//! | `memory_budget` | the memory that clients can make the server hold |
//! | `audit_trail`, `audit_words` | what the audit log says of a request |
//! | `state` | what the operations work on |
//! | `context`, `tokens` | what an operation knows of its request |
//! | `ops` | the operations, one file each |
//! | `refusal` | why a caller is refused; each wire has its own words for that |

pub(crate) mod audit_trail;
mod audit_words;
pub mod authentication;
pub(crate) mod context;
pub(crate) mod memory_budget;
pub mod miss_limiter;
pub(crate) mod networks;
pub mod operation;
pub(crate) mod ops;
pub(crate) mod principal;
pub mod quotas;
pub(crate) mod refusal;
pub(crate) mod state;
pub(crate) mod tokens;
