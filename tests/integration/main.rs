//! Black-box tests: the real `jeton` binary, over TCP, judged only by the documented API.
//!
//! Each test is named after the promise it tries to break (`p1_` to `p10_`, see the crate
//! documentation) or after the operation whose answers it pins down. Tests whose changes could
//! affect others start their own server; the rest share one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at the clock from outside"
)]

mod client;
mod clients;
mod pki;
mod raw;
mod seeds;
mod server;
mod simulation;
mod support;
mod volume;

mod access;
mod access_keys;
mod admin;
mod api_batch;
mod api_consume;
mod api_errors;
mod api_extend;
mod api_idempotency;
mod api_issue;
mod api_lists;
mod api_put;
mod api_reference;
mod api_resolve;
mod api_revoke;
mod audit;
mod audit_chain;
mod audit_connect;
mod audit_flood;
mod audit_together;
mod backup;
mod browser;
mod build_commit;
mod cli;
mod clock;
mod clock_held;
mod cluster;
mod cluster_cuts;
mod cluster_demo;
mod cluster_faults;
mod cluster_kills;
mod cluster_power;
mod cluster_serve;
mod config;
mod config_file;
mod config_reload;
mod crash;
mod crash_oracle;
mod damage;
mod deploy;
mod documentation;
mod endings;
mod environment;
mod every_bit;
mod exit_codes;
mod expiry;
mod failpoints;
mod full_disk;
mod fuzz_cases;
mod guard;
mod hardening;
mod hostile;
mod hostile_admin;
mod hostile_crowd;
mod hostile_http2;
mod hostile_oversize;
mod hostile_pipeline;
mod hostile_share;
mod hostile_slow;
mod hostile_watch;
mod http2;
mod import;
mod lifecycle;
mod limits;
mod linear;
mod metrics;
mod mounts;
mod nodes;
mod oauth;
mod oauth_clients;
mod openapi;
mod output;
mod page;
mod permissions;
mod power;
mod protocol;
mod proxy_protocol;
mod quota;
mod reads;
mod resp_data;
mod resp_wire;
mod rivals;
mod secrecy;
mod secret_command;
mod sentences;
mod shell_files;
mod slow_readers;
mod smuggling;
mod start_memory;
mod supervised;
mod tidy;
mod tidy_cycles;
mod tidy_layers;
mod tls;
mod tls_clients;
mod traces;
mod unix_socket;
mod web;
