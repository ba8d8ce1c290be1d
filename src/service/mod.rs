//! The service behind any protocol: operations and their access control. It does not depend on
//! HTTP.
//!
//! | file | what |
//! |---|---|
//! | `operation` | the table of operations: names, and the scope that each needs |
//! | `principal` | the authenticated caller and its access |
//! | `authentication` | from presented credentials to the principal, cached per connection |
//! | `miss_limiter`, `networks` | limits the look-ups of unknown tokens |
//! | `quotas` | limits of namespaces |
//! | `memory_budget` | limits the memory that clients can make the server use |
//! | `audit_trail`, `quick_trail`, `audit_events`, `audit_words` | the audit log's events of a request |
//! | `traced`, `request_span` | which requests are traced, and the span of one |
//! | `reads` | how fresh an answer is, in a cluster |
//! | `state` | the state that the operations use |
//! | `counters` | what is counted about requests and connections |
//! | `context`, `tokens` | the request, as an operation sees it |
//! | `gathered` | tokens of requests that are looked up together |
//! | `introspection` | the text of the answer to an introspection |
//! | `token_source` | new random tokens |
//! | `values` | values of clients that may send any bytes |
//! | `ops` | the operations, one file each |
//! | `refusal` | why a caller is refused; each protocol formats it in its own way |

pub(crate) mod audit_events;
pub(crate) mod audit_trail;
pub(crate) mod audit_words;
pub mod authentication;
pub(crate) mod context;
pub mod counters;
pub(crate) mod gathered;
pub(crate) mod introspection;
pub(crate) mod memory_budget;
pub mod miss_limiter;
pub(crate) mod networks;
pub mod operation;
pub(crate) mod ops;
pub(crate) mod principal;
pub(crate) mod quick_trail;
pub mod quotas;
pub mod reads;
pub(crate) mod refusal;
pub(crate) mod request_span;
pub(crate) mod state;
mod step;
pub(crate) mod token_source;
pub(crate) mod tokens;
pub(crate) mod traced;
pub(crate) mod values;
