//! Parts of HTTP/2 that hyper does not provide.

pub(in crate::http) mod window;
