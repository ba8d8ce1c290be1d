//! jeton: a high-throughput in-memory token resolution engine.
//!
//! A payment platform *issues* a token that stands for an order's payment information; the
//! customer's app presents the token; the platform *resolves* it to the payment information; it is
//! *consumed* once. jeton is that, at the speed of a key-value store, over plain HTTP, durable
//! before it answers.
//!
//! # Bird's-eye view: many readers, one writer
//!
//! ```text
//!            workers (one a core: own listener with SO_REUSEPORT, own current-thread runtime)
//!  socket → pipe → hot path  ┬ resolve → Engine::resolve → Store                → answer
//!                → hyper     └ issue, consume, revoke, extend → queue → committer → answer
//!
//!  committer: take all that is queued → encode one frame → write + fdatasync → apply in order
//!             → wake each worker once → free what has expired and clean the log, within a budget
//! ```
//!
//! Readers never block and never ask the writer. Only the committer changes the store, so the
//! order of the log is the order of the changes, a token has one last use without any lock, and a
//! replay is the same code.
//!
//! # Code map, in reading order
//!
//! Imports go down this list only from the bottom to the top, and no file imports one that imports
//! it; tests check both (`tidy_layers`, `tidy_cycles`).
//!
//! | module | what |
//! |---|---|
//! | [`model`] | the vocabulary: tokens, references, namespaces, instants, entries, records |
//! | [`clock`] | what time it is, and when the wall clock is believed |
//! | [`permissions`] | who else may read or write the files |
//! | [`warning`], [`build_info`] | what an operator must know of; what was built |
//! | [`keys`] | API keys: who may do what in which namespace, from a file that changes meanwhile |
//! | [`audit`] | the audit log: who did what to which token, one JSON object a line |
//! | [`tls`] | certificates, keys and what rustls makes of them; whose a client's certificate is |
//! | `sync` | atomics, a lock and parking, which a test build can exchange for those of `loom` |
//! | [`failpoint`] | where a test can have the process die; nothing in a release build |
//! | [`store`] | every living entry in memory, in sharded lock-free maps |
//! | [`timer_wheel`] | the timing wheel that frees memory on time and never decides |
//! | [`wal`] | the log: frames in a ring of segments; knows bytes, not tokens |
//! | [`engine`] | the only place where memory and disk meet: the committer, `apply`, recovery |
//! | [`service`] | what any wire may ask, and who may: the operations, keys, limits, the audit trail |
//! | [`config`] | flags, environment and file, merged: all mistakes at once, each with its place |
//! | [`http`] | workers, connections, endpoints, answers, the admin listener |
//! | [`cli`] | the commands, and what `jeton serve` is configured with |
//!
//! # Features
//!
//! `server`, on by default, is everything from [`keys`] on that speaks to a network or reads a
//! configuration, and the program. Without it jeton is the engine alone, to embed. `testkit` is
//! what tests need; no program has it.
//!
//! # How one resolve travels
//!
//! A worker's socket becomes readable; its pipe takes the bytes. A canonical `GET
//! /v1/tokens/{token}` is answered in the hot path, anything else goes through hyper; both call
//! [`engine::Engine::resolve`] with the token's digest and the time. The store finds the entry,
//! compares one word (deadline and flags) with now, and lends the payload, which is copied into
//! the connection's output buffer. Nothing on the way waits, locks or sends.
//!
//! # How one issue travels
//!
//! The worker draws (or derives) the token, computes its digest and queues an operation. The
//! committer takes it with all others that are queued, refuses what cannot succeed, encodes the
//! rest as records of one frame, writes and syncs it, and only then applies the records to the
//! store, in their order. The outcomes go into the mailbox of each worker, with one wake a worker
//! and commit. Between commits the committer turns the wheel, and carries living entries out of
//! the oldest segment of the log so that its file can be used again.
//!
//! # Invariants
//!
//! Each with the names of the tests that try to break it. All of them are also tried by
//! `simulation` (the engine on a simulated disk and clock, by a seed), and P1 to P4 by `linear`
//! (whether some order of events explains every answer to rivals). What each attack does, and how
//! much of it, is in `tests/README.md`.
//!
//! - **P1** What was acknowledged is durable (`--sync always`): it survives kill -9, a crash and a
//!   power cut. *`crash`, `failpoints`, `power`, `wal::tests::crash`,
//!   `p1_p2_p3_any_history_is_what_the_model_says`*
//! - **P2** A token is consumed at most as often as it has uses, ever; a retry with the same key
//!   gets the same answer. *`rivals`, `linear`, `crash`, `p2_rivals_in_one_call_have_one_winner`,
//!   `p2_a_rival_that_lost_is_not_revived_by_a_replay`*
//! - **P3** Expired, consumed or revoked never resolves again; time never runs backwards.
//!   *`expiry`, `clock`, `clock_held`, `clock::engine_time::tests`, `engine::tests::shift`,
//!   `p3_an_expiry_is_remembered_by_an_idle_server_whose_clock_jumps_back`*
//!   Expired is what engine time has passed. It is the wall clock, but for a step forward that the
//!   forward clock contradicts: that is held, so that one bad step expires nothing, and a time that
//!   cannot be is never followed ([`clock::EngineTime`] has the rules). Until a step that was right
//!   is followed, what has expired by the wall clock lives on by the forward clock.
//!   Two windows are left. An extension that was decided before the deadline and became durable
//!   after it revives a token that readers in between were told is gone. And a crash within the
//!   second before the log learns the time of an expiry, with a clock that is set back at the same
//!   time, revives what expired in that second.
//! - **P4** What was not acknowledged happened whole or not at all. *`crash`, `failpoints`, `power`,
//!   `wal::tests::crash`*
//! - **P5** A torn tail is cut, and the start says how many bytes; any other damage refuses to
//!   start and names file and offset. *`every_bit`, `damage`, `wal::tests::damage`*
//!   A segment is released only when a durable frame says that the log does not need it, so an
//!   oldest segment that is missing, or a link in its place, is refused too.
//!   Two gaps are left. An older copy of the newest segment is noticed only where it ends before
//!   the place that was durable when the segment behind it was prepared: what was written since
//!   then has no other witness, and one for each commit would be a second write and sync. And
//!   damage to the last frame, while none stands behind it, looks like a write that the power cut
//!   short: that a frame was durable can be written only after it. An idle server puts a mark
//!   behind it within a tick, and so does a start.
//! - **P6** Disk full: no false acknowledgement, resolves go on, writes come back. A failed sync is
//!   never retried and stops writes for good.
//!   *`every_call`, `full_disk`, `p6_a_full_disk_acknowledges_nothing_and_writes_come_back`,
//!   `p6_a_failed_sync_tells_every_waiter_and_stops_writes_for_good`, `limits`*
//! - **P7** A segment is reused only when nothing alive depends on it. *`simulation`,
//!   `p7_long_lived_entries_survive_many_turns_of_the_ring`, `wal::tests::model`*
//! - **P8** Memory, descriptors and time stay bounded under hostile clients, and what has two
//!   readings is refused. *`hostile`, `hostile_…`, `smuggling`, `limits`, `p8_…` beside what they
//!   bound*
//! - **P9** No token and no payload in a log line, a metric, an error or `Debug`. *`secrecy`,
//!   `p9_…` beside what they protect*
//! - **P10** Unknown, expired, consumed, revoked and somebody else's look the same from outside.
//!   *`api_resolve`, `api_errors`, `api_lists`, `access`, `guard`, `quota`*
//!
//! # Deliberately absent
//!
//! No snapshots and no second format on disk: the log is all there is, and cleaning it is how it
//! stays short. No eviction: what was issued stays until it is consumed, revoked or expired. No
//! cancel in the wheel, no lock around a consume, no batching timer, no retry of a failed sync.

#[cfg(feature = "server")]
pub mod audit;
pub mod build_info;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod engine;
pub mod failpoint;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod keys;
pub mod model;
pub mod permissions;
#[cfg(feature = "server")]
pub mod service;
pub mod store;
mod sync;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod timer_wheel;
#[cfg(feature = "server")]
pub mod tls;
pub mod wal;
pub mod warning;

pub use engine::Engine;
