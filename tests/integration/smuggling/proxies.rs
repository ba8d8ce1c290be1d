//! The same cases through a proxy.
