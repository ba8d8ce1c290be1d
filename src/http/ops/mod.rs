//! The operations, one file each.

pub(in crate::http) mod consume;
pub(in crate::http) mod extend;
pub(in crate::http) mod issue;
pub(in crate::http) mod offer;
pub(in crate::http) mod resolve;
pub(in crate::http) mod revoke;
pub(in crate::http) mod status;
