//! HTTP/1.1 before hyper: heads that have one reading go on, and a canonical resolve, list,
//! introspection or change is answered here.

#[doc(hidden)]
#[cfg(feature = "testkit")]
pub mod detached;
pub(in crate::http) mod framing;
pub(in crate::http) mod head;
pub(in crate::http) mod head_syntax;
pub(in crate::http) mod hot_head;
mod hot_introspection;
mod hot_list;
pub(in crate::http) mod hot_path;
#[cfg(test)]
mod reference;
mod turn;
