//! HTTP/2 beside hyper.

pub(in crate::http) mod window;
