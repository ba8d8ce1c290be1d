//! What any wire may ask, and who may: it knows nothing of HTTP.
//!
//! | file | what |
//! |---|---|
//! | `operation` | the operations, and the scope that each needs |
//! | `principal` | who asks, and whether they may |
//! | `authentication` | from what a caller presents to the principal, cached for each connection |
//! | `miss_limiter`, `networks` | how often a caller may ask for what is unknown |
//! | `quotas` | what a namespace may use |
//! | `refusal` | why a caller is refused; each wire has its own words for that |

pub mod authentication;
pub mod miss_limiter;
pub(crate) mod networks;
pub mod operation;
pub(crate) mod principal;
pub mod quotas;
pub(crate) mod refusal;
