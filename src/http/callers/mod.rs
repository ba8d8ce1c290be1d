//! Who asks and what they may: keys, limits of misses, quotas, browsers, and what the audit log says.

pub(in crate::http) mod audit_trail;
pub mod authentication;
pub mod browser;
pub mod miss_limiter;
pub(in crate::http) mod networks;
pub mod quotas;
