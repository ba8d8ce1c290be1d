//! Which commands take the short way, and how those that come together are answered.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::{self, Engine, Op, Outcome};
use crate::net::limits::Limits;
use crate::net::places::Places;
use crate::net::proxy_header::TrustedProxies;
use crate::net::tick::Tick;
use crate::resp::config::{Config, IDLE_TIMEOUT, ReadLevel};
use crate::service::gathered::GroupLen;
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::{MissLimiter, MissLimits};
use crate::service::quotas::Quotas;
use crate::service::state::{Shared, TokenLimits};

#[test]
fn only_whole_canonical_gets_take_the_short_way() {
    let input = b"*2\r\n$3\r\ngEt\r\n$12\r\nabcdefghijkl\r\nmore";
    assert_eq!(canonical(input), Some((&b"abcdefghijkl"[..], input.len() - 4)));
    for cut in 0..input.len() - 4 {
        assert_eq!(canonical(&input[..cut]), None, "cut at {cut}");
    }
    for other in [
        &b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n"[..],
        b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
        b"*2\r\n$3\r\nGET\r\n$513\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nab\r\n",
        b"*2\r\n$3\r\nGET\r\n$-1\r\n",
        b"GET a\r\n",
    ] {
        assert_eq!(canonical(other), None, "{}", other.escape_ascii());
    }
}

/// Room for so many bytes of answers.
struct Bounded {
    output: Buffer,
    len_max: usize,
}

impl Room for Bounded {
    fn output(&mut self) -> &mut Buffer {
        &mut self.output
    }

    fn has_room(&mut self) -> bool {
        self.output.len() < self.len_max
    }
}

pub(in crate::resp) fn worker(engine: &Engine) -> Worker {
    let shared = Shared {
        quotas: Quotas::new(&[], engine, None),
        engine: engine.clone(),
        limits: TokenLimits {
            default_ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(600),
            max_payload: 1_000,
            max_batch: 10,
        },
        budget: Budget::new(1 << 20, 1 << 18, false),
        miss_limiter: MissLimiter::new(MissLimits::default()),
        keys: None,
        anonymous: None,
        audit: None,
        tracer: None,
        reads: None,
    };
    let (limits, drain_timeout) = (Limits::default(), Duration::ZERO);
    let (idle_timeout, read) = (IDLE_TIMEOUT, ReadLevel::Local);
    let proxies = TrustedProxies::default();
    let config = Config { limits, idle_timeout, drain_timeout, tls: None, proxies, read };
    Worker::new(shared.service(), config, Arc::default(), Places::new(1), Arc::default())
}

#[test]
fn p8_gets_that_come_together_wait_for_room_and_for_the_turn_of_others() {
    let engine = Engine::open(engine::Config::memory_only()).unwrap();
    let digest = engine.digester().digest_of_key(b"k");
    let ttl = Duration::from_secs(60);
    let issue = Op::Issue {
        digest,
        payload: b"12345678".to_vec(),
        ttl,
        uses: 1,
        peek: true,
        derived: false,
    };
    let outcomes = engine.submit(vec![issue]).unwrap().wait().unwrap();
    assert!(matches!(outcomes[..], [Outcome::Issued { .. }]));
    let worker = worker(&engine);
    let conn = Conn::new(([127, 0, 0, 1], 1).into(), None, Tick(0));
    let session = Session::new(1);
    let answer = b"$8\r\n12345678\r\n";
    for (max, len_max, expected) in [
        (100, usize::MAX, GroupLen::default().get()),
        (5, usize::MAX, 5),
        (100, 3 * answer.len(), 3),
        (100, 3 * answer.len() - 1, 3),
        (100, 1, 1),
    ] {
        let mut room = Bounded { output: Buffer::default(), len_max };
        let mut input = Buffer::default();
        let command = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        input.push(&command.repeat(40));
        let answered = get::<false>(&worker, &conn, &session, &mut input, (max, &mut room));
        assert_eq!(answered, expected);
        assert_eq!(room.output.unread(), answer.repeat(expected));
        assert_eq!(input.len(), (40 - expected) * command.len(), "what is left is not lost");
    }
    engine.close().unwrap();
}
