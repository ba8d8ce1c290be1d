//! P8: long pipelines, of clients that read late and of clients that never read.

use std::time::{Duration, Instant};

use super::peer::{PATIENCE, Peer, command, impatient};
use crate::hostile_watch::{Bounds, pour, under_attack};
use crate::resp_data::redis::Jeton;

/// A value whose answer has 160 bytes.
const VALUE_LEN: usize = 152;
const ANSWER_LEN: usize = 160;

fn stored(jeton: &Jeton) {
    let value = "v".repeat(VALUE_LEN);
    let mut wire = jeton.wire();
    wire.send(&command(&["SET", "k", &value]));
    assert_eq!(wire.answer(), b"+OK\r\n");
}

/// Reads this many answers, which are all the same but for a number at every hundredth place.
fn read(peer: &mut Peer, count: usize) -> usize {
    use std::io::Read as _;
    let (mut len, mut chunk) = (0, vec![0; 256 << 10]);
    while len < count * ANSWER_LEN {
        match peer.0.read(&mut chunk).expect("answers") {
            0 => break,
            read => len += read,
        }
    }
    len
}

#[test]
fn p8_a_client_may_write_32_mib_worth_of_a_pipeline_before_it_reads() {
    let jeton = Jeton::start();
    stored(&jeton);
    let count = (31 << 20) / ANSWER_LEN;
    let mut peer = Peer::open(jeton.address);
    let begun = Instant::now();
    // This would wait for ever if the server waited for a reader.
    peer.send(&command(&["GET", "k"]).repeat(count));
    peer.send(b"ECHO end\r\n");
    assert!(begun.elapsed() < PATIENCE);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(read(&mut peer, count), count * ANSWER_LEN + b"$3\r\nend\r\n".len());
}

#[test]
fn p8_beyond_that_the_server_waits_for_the_reader_and_nothing_is_lost() {
    let jeton = Jeton::start();
    stored(&jeton);
    let count = (96 << 20) / ANSWER_LEN;
    let mut peer = Peer::open(jeton.address);
    let mut writer = Peer(peer.0.try_clone().expect("a second handle"));
    let before_kib = jeton.server.resident_kib();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let block = command(&["GET", "k"]).repeat(1_000);
            for _ in 0..count / 1_000 {
                writer.send(&block);
            }
            writer.finish();
        });
        std::thread::sleep(Duration::from_secs(2));
        let grown_mib = jeton.server.resident_kib().saturating_sub(before_kib) / 1024;
        assert!(grown_mib <= 96, "{grown_mib} MiB");
        assert_eq!(peer.rest().len(), count / 1_000 * 1_000 * ANSWER_LEN);
    });
}

#[test]
fn p8_a_million_gets_that_are_never_read_end_in_time() {
    let jeton = impatient();
    stored(&jeton);
    under_attack("resp_never_read", &jeton.server, Bounds::of(4, 200), || {
        let block = command(&["GET", "k"]).repeat(1_000);
        let poured: Vec<_> = std::thread::scope(|scope| {
            let pourers: Vec<_> = (0..4)
                .map(|_| {
                    let mut peer = Peer::open(jeton.address);
                    let block = &block;
                    scope.spawn(move || (pour(&mut peer.0, block, 1_000), peer))
                })
                .collect();
            pourers.into_iter().map(|pourer| pourer.join().expect("it pours")).collect()
        });
        let times: u64 = poured.iter().map(|(poured, _)| poured.times).sum();
        assert!(poured.iter().any(|(poured, _)| poured.times < 1_000), "none was ended");
        (poured, vec![("thousands", times)])
    });
}

/// The answers of a list are long: few commands fill the output.
#[test]
fn p8_few_commands_with_long_answers_are_bounded_too() {
    let jeton = impatient();
    stored(&jeton);
    let keys = vec!["k"; 1_000];
    let mget = command(&[&["MGET"], &keys[..]].concat());
    under_attack("resp_long_answers", &jeton.server, Bounds::of(4, 200), || {
        let mut peers: Vec<Peer> = (0..4).map(|_| Peer::open(jeton.address)).collect();
        let times: u64 = peers.iter_mut().map(|peer| pour(&mut peer.0, &mget, 2_000).times).sum();
        (peers, vec![("lists", times)])
    });
}
