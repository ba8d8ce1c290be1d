//! Which changes are committed by the thread of the connection.

use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::engine::{self, Engine};
use crate::net::tick::Tick;
use crate::resp::quick::tests::worker;

/// Begins changes of these keys and polls them once. Nothing else runs on this thread, so an answer is there
/// only if this thread has committed.
fn set(dispatcher: &mut Dispatcher, keys: &[&'static str]) -> Vec<u8> {
    let mut output = Buffer::default();
    {
        let mut setting = pin!(async {
            for key in keys {
                let words =
                    ["SET", key, "1"].map(|word| Bytes::from_static(word.as_bytes())).to_vec();
                dispatcher.perform(words, &mut output).await;
            }
            dispatcher.settle(&mut output).await;
        });
        let _ = setting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    output.unread().to_vec()
}

#[test]
fn a_change_that_came_alone_is_committed_by_its_thread_and_those_of_a_pipeline_together() {
    let engine = Engine::open(engine::Config::memory_only()).unwrap();
    let worker = Rc::new(worker(&engine));
    let conn = Rc::new(Conn::new(([127, 0, 0, 1], 1).into(), None, Tick(0)));
    let answer =
        |keys: &[&'static str]| set(&mut Dispatcher::new(worker.clone(), conn.clone()), keys);
    // The committer's own thread has the state for a moment now and then.
    assert!((0..1_000).any(|_| answer(&["a"]) == b"+OK\r\n"));
    assert!((0..1_000).all(|_| answer(&["b", "c"]).is_empty()));
}
