//! `TOKEN.…`: what plain commands cannot say, one command for each operation of the service.
//!
//! | file | commands |
//! |---|---|
//! | `issue` | `TOKEN.ISSUE`, `TOKEN.MISSUE` |
//! | `named` | `TOKEN.RESOLVE`, `.CONSUME`, `.STATUS`, `.EXTEND`, `.REVOKE`; with an M before it, a list |
//! | `named` | `TOKEN.INTROSPECT` |
//! | `items` | tokens and references in these commands |

pub(super) mod issue;
mod items;
pub(super) mod named;
