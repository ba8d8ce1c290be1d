//! jeton: a high-throughput in-memory token resolution engine.
//!
//! A payment platform *issues* a token that stands for an order's payment information; the
//! customer's app presents the token; the platform *resolves* it to the payment information; the
//! token is *consumed* once. jeton does this at the speed of a key-value store, over plain HTTP,
//! and makes each change durable before it answers.
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
//! A module imports only modules above it in this list, and no file imports a file that imports it,
//! directly or through others; tests check both (`tidy_layers`, `tidy_cycles`).
//!
//! | module | what |
//! |---|---|
//! | [`model`] | the vocabulary: tokens, references, namespaces, instants, entries, records |
//! | [`clock`] | the time, and when a step of the wall clock is followed |
//! | [`permissions`] | checks which other users may read or write the files |
//! | [`warning`], [`build_info`] | warnings for the operator; version and origin of the build |
//! | [`keys`] | API keys: who may do what in which namespace, from a file that changes meanwhile |
//! | [`audit`] | the audit log: who did what to which token, one JSON object per line |
//! | [`trace`] | sampled requests as spans, sent to a collector by OTLP |
//! | [`tls`] | certificates, keys and the rustls configuration; names in client certificates |
//! | `sync` | atomics, a lock and parking, which a test build can exchange for those of `loom` |
//! | [`failpoint`] | places where a test can kill the process; absent from release builds |
//! | [`store`] | every live entry in memory, in sharded lock-free maps |
//! | [`timer_wheel`] | the timing wheel that frees memory on time and never decides |
//! | [`wal`] | the log: frames in a ring of segments; knows bytes, not tokens |
//! | [`engine`] | the only place where memory and disk meet: the committer, `apply`, recovery |
//! | [`cluster`] | several machines: the replicated stream that every node follows |
//! | [`service`] | the operations behind any protocol: authentication, limits, the audit trail |
//! | [`config`] | merges flags, environment and file; reports all mistakes with their places |
//! | [`http`] | workers, connections, endpoints, answers, the admin listener |
//! | [`cli`] | the commands, and the flags of `jeton serve` |
//!
//! # Features
//!
//! `server`, on by default, includes the modules from [`keys`] on that use the network or read a
//! configuration, and the program. Without it the crate is the engine alone, for embedding.
//! `testkit` is the support for tests; no program includes it.
//!
//! # How one resolve travels
//!
//! A worker's socket becomes readable; its pipe takes the bytes. A canonical `GET
//! /v1/tokens/{token}` is answered in the hot path, anything else goes through hyper; both call
//! [`engine::Engine::resolve`] with the token's digest and the time. The store finds the entry,
//! compares one word (deadline and flags) with now, and lends the payload, which is copied into the
//! connection's output buffer. No step waits, locks or sends a message.
//!
//! # How one issue travels
//!
//! The worker draws (or derives) the token, computes its digest and queues an operation. The
//! committer takes it with all others that are queued, refuses what cannot succeed, encodes the
//! rest as records of one frame, writes and syncs it, and only then applies the records to the
//! store, in their order. The outcomes go into the mailbox of each worker, with one wake per worker
//! and commit. Between commits the committer turns the wheel, and relocates live entries out of the
//! oldest segment of the log so that its file can be reused.
//!
//! # Invariants
//!
//! Each invariant is listed with the tests that try to break it. In addition `simulation` (the
//! engine on a simulated disk and clock, driven by a seed) tries to break P1 to P7, and `linear` (a
//! search for an order of events that explains the answers to all competing clients) P1 to P4.
//! `tests/README.md` describes each attack and its volume.
//!
//! - **P1** An acknowledged change is durable (`--sync always`): it survives kill -9, a crash and a
//!   power cut. *`crash`, `failpoints`, `power`, `wal::tests::crash`,
//!   `p1_p2_p3_any_history_is_what_the_model_says`*
//! - **P2** A token is consumed at most as often as it has uses, ever; a retry with the same key
//!   gets the same answer. *`rivals`, `linear`, `crash`, `p2_rivals_in_one_call_have_one_winner`,
//!   `p2_a_rival_that_lost_is_not_revived_by_a_replay`*
//! - **P3** A token that is expired, consumed or revoked never resolves again; time never runs
//!   backwards. *`expiry`, `clock`, `clock_held`, `clock::engine_time::tests`,
//!   `engine::tests::shift`, `p3_an_expiry_is_remembered_by_an_idle_server_whose_clock_jumps_back`*
//!   A token is expired when engine time has passed its deadline. Engine time is the wall clock,
//!   except for a step forward that the forward clock contradicts: such a step is held, so that one
//!   bad step expires no token, and an impossible time is never followed ([`clock::EngineTime`] has
//!   the rules). Until a correct step is followed, a token that has expired by the wall clock stays
//!   alive by the forward clock. Two gaps are left. An extension that was decided before the
//!   deadline and became durable after it revives a token that was reported as unknown in between.
//!   And if the process crashes within the second before the time of an expiry is logged, and the
//!   clock is set back at the same time, the tokens that expired in that second are revived.
//! - **P4** A change that was not acknowledged took effect completely or not at all. *`crash`,
//!   `failpoints`, `power`, `wal::tests::crash`, `resp_data::together`*
//! - **P5** A torn tail is truncated, and the start logs its length in bytes; after any other
//!   damage jeton refuses to start and names file and offset. *`every_bit`, `damage`,
//!   `wal::tests::damage`* A segment is released only when a durable frame says that the log does
//!   not need it, so an oldest segment that is missing, or a link in its place, is refused too. Two
//!   gaps are left. An older copy of the newest segment is detected only if it ends before the
//!   position that was durable when the next segment was prepared: later frames are recorded
//!   nowhere else, and to record each commit would take a second write and sync. And damage to the
//!   last frame looks like a write that a power cut interrupted, as long as no frame follows it:
//!   the proof that a frame was durable can only be written after it. An idle server writes such a
//!   mark within a tick, and so does a start.
//! - **P6** Disk full: no false acknowledgement; resolves continue, and writes resume when there is
//!   space. A failed sync is never retried and stops writes permanently. *`every_call`,
//!   `full_disk`, `p6_a_full_disk_acknowledges_nothing_and_writes_come_back`,
//!   `p6_a_failed_sync_tells_every_waiter_and_stops_writes_for_good`, `limits`*
//! - **P7** A segment is reused only when no live entry depends on it. *`simulation`,
//!   `p7_long_lived_entries_survive_many_turns_of_the_ring`, `wal::tests::model`*
//! - **P8** Memory, descriptors and time stay bounded under hostile clients, and input that could
//!   be parsed in two ways is refused. *`hostile`, `hostile_…`, `smuggling`, `limits`, `p8_…`
//!   beside what they bound*
//! - **P9** No token and no payload in a log line, a metric, an error or `Debug`; none in the log or a
//!   backup without the secret, and a change that was made to them without it is refused, except an
//!   older whole state in their place. *`secrecy`, `wal::tests::encryption`, `p9_…` beside what they
//!   protect*
//! - **P10** Tokens that are unknown, expired, consumed, revoked or of another namespace look the
//!   same from outside. *`api_resolve`, `api_errors`, `api_lists`, `access`, `guard`, `quota`*
//!
//! # Deliberately absent
//!
//! No snapshots and no second format on disk: the log is the only data, and cleaning keeps it
//! short. No eviction: a token stays until it is consumed, revoked or expired. No cancel in the
//! wheel, no lock around a consume, no batching timer, no retry of a failed sync.

#[cfg(feature = "server")]
pub mod audit;
pub mod build_info;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod config;
pub mod engine;
pub mod failpoint;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod keys;
pub mod model;
#[cfg(feature = "server")]
pub mod net;
pub mod permissions;
#[cfg(feature = "server")]
pub mod resp;
#[cfg(feature = "server")]
pub mod service;
pub mod store;
mod sync;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod timer_wheel;
#[cfg(feature = "server")]
pub mod tls;
#[cfg(feature = "server")]
pub mod trace;
pub mod wal;
pub mod warning;

pub use engine::Engine;
