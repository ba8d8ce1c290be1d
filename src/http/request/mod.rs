//! Reading a request: its head, its path, its body.

pub(in crate::http) mod authorization;
pub(in crate::http) mod body;
pub mod browser;
pub(in crate::http) mod client_secret;
mod content_type;
pub(in crate::http) mod form;
pub(in crate::http) mod head;
pub(crate) mod json;
pub(in crate::http) mod list;
pub(in crate::http) mod named;
pub(in crate::http) mod payload;
pub(in crate::http) mod plain_list;
