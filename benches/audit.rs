//! The audit log alone: from the events of a worker to lines in the file, without and with the chain.
//!
//! Events are resolves with a digest and without a key. The log is closed in each turn, so all lines
//! are written and synced, and with the chain they are signed. The bench checks their number.
//!
//! What it does not show: the clients, which never wait for the writer as long as it keeps up, and a
//! second core for them.

#![expect(clippy::expect_used, reason = "a bench that cannot go on must stop")]

mod support;

use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use jeton::audit::{
    Audit, Config, Event, EventOutcome, Permit, SIZE_MIN_BYTES, Signing, SigningKey, event,
};
use jeton::clock::SystemClock;
use jeton::model::time::UnixMillis;
use jeton::permissions::Strictness;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn start(dir: &Path, is_chained: bool) -> Audit {
    let config = Config {
        file: Some(dir.join("audit.log")),
        is_required: false,
        size_max_bytes: 256 * SIZE_MIN_BYTES,
        files_kept: 0,
        permissions: Strictness::Warn,
        refused_size_max_bytes: SIZE_MIN_BYTES,
        refused_files_kept: 1,
        warns_of_replays: false,
        checkpoints: None,
    };
    let audit = Audit::start(&config, Arc::new(SystemClock::new())).expect("a log");
    if is_chained {
        let key = SigningKey::from_seed(&support::digester().audit_seed()).expect("a key");
        audit.sign(&Signing { key: Arc::new(key), log_end: Arc::new(|| None) });
    }
    audit
}

fn events(len: usize) -> Vec<Event> {
    let address = "192.0.2.7:4711".parse().expect("an address");
    let digester = support::digester();
    (0..len)
        .map(|n| {
            let time = UnixMillis(1_769_860_800_007);
            let event = event(time, address, None, "resolve", EventOutcome::Ok);
            let digest = Some(support::digest(&digester, n));
            Event { status: Some(200), digest, ..event }
        })
        .collect()
}

fn write(criterion: &mut Criterion, name: &str, events: &[Event], is_chained: bool) {
    let mut group = criterion.benchmark_group("audit");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || {
                let dir = support::scratch();
                let audit = start(dir.path(), is_chained);
                (dir, audit, events.to_vec())
            },
            |(dir, audit, events)| {
                let len = events.len() as u64;
                for event in events {
                    audit.tell(&mut Permit::default(), event);
                }
                audit.close();
                assert_eq!(audit.stats().lines, len);
                // Removed outside what is measured.
                (dir, audit)
            },
            BatchSize::PerIteration,
        );
    });
}

fn main() {
    let events = events(support::sized(1_000, 100_000));
    let mut criterion = support::criterion();
    write(&mut criterion, "plain", &events, false);
    write(&mut criterion, "chained", &events, true);
    criterion.final_summary();
}
