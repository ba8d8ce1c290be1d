//! Messages come back as they were sealed, and nothing else opens.

use super::*;

const BODY: &[u8] = b"records of a batch";

fn proposal(body: &[u8]) -> Proposal<'_> {
    Proposal {
        format: FORMAT,
        kind: MessageKind::Batch,
        cluster: ClusterId([1; 16]),
        era: Era(2),
        sender: Sender { node: NodeId(3), epoch: Epoch(4), nonce: BootNonce([5; 16]) },
        batch: 6,
        attempt: 7,
        proposed_at: UnixMillis(1_700_000_000_000),
        body,
    }
}

fn sealer(byte: u8) -> Sealer {
    Sealer::new(&Secret::from_bytes([byte; 32]))
}

fn open(sealer: &mut Sealer, bytes: &[u8]) -> Option<(MessageHead, Vec<u8>)> {
    sealer.open(9, UnixMillis(8), bytes).unwrap().content
}

#[test]
fn a_message_comes_back_as_it_was_sealed() {
    let bytes = sealer(1).seal(&proposal(BODY)).unwrap();
    assert_eq!(bytes.len(), HEAD_LEN + BODY.len() + TAG_LEN);
    let landed = sealer(1).open(9, UnixMillis(8), &bytes).unwrap();
    assert_eq!((landed.seq, landed.stream_time), (9, UnixMillis(8)));
    assert_eq!(landed.hash, hash_of(&bytes));
    let (head, body) = landed.content.unwrap();
    let sent = proposal(BODY);
    assert_eq!(body, BODY);
    assert_eq!(head.format, sent.format);
    assert_eq!((head.kind, head.cluster, head.era), (sent.kind, sent.cluster, sent.era));
    assert_eq!((head.sender, head.batch, head.attempt), (sent.sender, 6, 7));
    assert_eq!(head.proposed_at, sent.proposed_at);
}

#[test]
fn p9_a_message_shows_nothing_of_its_records_and_no_two_tries_are_alike() {
    let mut sealer = sealer(1);
    let (one, other) =
        (sealer.seal(&proposal(BODY)).unwrap(), sealer.seal(&proposal(BODY)).unwrap());
    assert!(!one.windows(7).any(|part| part == b"records"));
    assert_ne!(one[NONCE_AT..ZERO_AT], other[NONCE_AT..ZERO_AT]);
    assert_ne!(one[HEAD_LEN..], other[HEAD_LEN..]);
}

#[test]
fn no_message_opens_with_a_flipped_bit_or_cut_short_or_under_another_secret() {
    let bytes = sealer(1).seal(&proposal(BODY)).unwrap();
    let mut same = sealer(1);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&mut same, &flipped).is_none(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(open(&mut same, &bytes[..len]).is_none(), "{len} bytes");
    }
    assert!(open(&mut sealer(2), &bytes).is_none());
    assert!(open(&mut same, &bytes).is_some(), "the message as it was");
}

#[test]
fn a_head_out_of_its_limits_has_no_content() {
    let mut sealer = sealer(1);
    let mut opens = |change: fn(&mut Proposal<'_>)| {
        let mut message = proposal(BODY);
        change(&mut message);
        let bytes = sealer.seal(&message).unwrap();
        open(&mut sealer, &bytes).is_some()
    };
    assert!(opens(|_| {}));
    assert!(!opens(|message| message.sender.node = NodeId(0)));
    assert!(!opens(|message| message.sender.epoch = Epoch(0)));
    assert!(!opens(|message| message.batch = 0));
    assert!(!opens(|message| message.kind = MessageKind::Hello));
    assert!(!opens(|message| message.proposed_at = UnixMillis(1 << 43)));
    let hello = |message: &mut Proposal<'_>| {
        (message.kind, message.batch, message.body) = (MessageKind::Hello, 0, &[]);
    };
    assert!(opens(hello));
}

#[test]
fn only_a_message_of_the_cluster_can_be_of_an_unknown_format() {
    let mut own = sealer(1);
    let mut head = encode_head(&proposal(BODY), BODY.len() as u32, [9; NONCE_LEN]);
    head[FORMAT_AT] = FORMAT as u8 + 1;
    let mut body = BODY.to_vec();
    let nonce = Nonce::assume_unique_for_key([9; NONCE_LEN]);
    let key = own.key(&head).unwrap();
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&head[..]), &mut body).unwrap();
    let bytes = [&head[..], &body, tag.as_ref()].concat();
    let opened = own.open(1, UnixMillis(1), &bytes);
    assert_eq!(opened.err(), Some(UnknownFormat(FORMAT + 1)));
    assert!(open(&mut sealer(2), &bytes).is_none(), "a forged one is a message without content");
}

#[test]
fn many_senders_do_not_make_the_keys_many() {
    let mut sealer = sealer(1);
    for node in 1..=3 * KEYS_MAX as u64 {
        let mut message = proposal(BODY);
        message.sender.node = NodeId(node);
        let bytes = sealer.seal(&message).unwrap();
        assert!(open(&mut sealer, &bytes).is_some());
    }
    assert_eq!(sealer.keys.len(), KEYS_MAX);
}
