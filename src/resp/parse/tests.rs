//! Tests of the parser.

use super::*;

fn words(parsed: &Parsed) -> Vec<&[u8]> {
    match parsed {
        Parsed::Command(words, _) => words.iter().map(|word| &word[..]).collect(),
        other => panic!("{other:?}"),
    }
}

fn once(input: &[u8]) -> Parsed {
    Parser::default().next(input, false)
}

#[test]
fn commands_are_read_whatever_their_bytes() {
    let parsed = once(b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$0\r\n\r\nrest");
    assert_eq!(words(&parsed), [&b"SET"[..], b"\r\n", b""]);
    assert!(matches!(parsed, Parsed::Command(_, 27)));
    let parsed = once(b"set \"a b\\x41\\n\"  'it\\'s' plain\r\n");
    assert_eq!(words(&parsed), [&b"set"[..], b"a bA\n", b"it's", b"plain"]);
    for (nothing, len) in [(&b"\r\n"[..], 2), (b"  \n", 3), (b"*0\r\n", 4), (b"*-1\r\n", 5)] {
        assert_eq!(once(nothing), Parsed::Nothing(len), "{nothing:?}");
    }
}

#[test]
fn p8_every_cut_of_a_pipeline_is_read_the_same() {
    let pipeline = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*1\r\n$4\r\nPING\r\n\r\nGET 'x y'\n";
    let mut whole = Vec::new();
    read(&mut Parser::default(), pipeline, &mut whole);
    assert_eq!(whole.len(), 4);
    for cut in 0..pipeline.len() {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        let rest = read(&mut parser, &pipeline[..cut], &mut found);
        let again = [rest, &pipeline[cut..]].concat();
        assert!(read(&mut parser, &again, &mut found).is_empty());
        assert_eq!(found, whole, "cut at {cut}");
    }
    let (mut parser, mut found, mut input) = (Parser::default(), Vec::new(), Vec::new());
    for byte in pipeline {
        input.push(*byte);
        input = read(&mut parser, &input, &mut found).to_vec();
    }
    assert_eq!(found, whole);
}

/// Reads all that is whole; returns the rest.
fn read<'a>(parser: &mut Parser, mut input: &'a [u8], found: &mut Vec<Vec<Bytes>>) -> &'a [u8] {
    loop {
        match parser.next(input, false) {
            Parsed::Command(words, len) => {
                found.push(words);
                input = &input[len..];
            }
            Parsed::Nothing(len) => input = &input[len..],
            Parsed::Partial => return input,
            Parsed::Malformed(malformed) => panic!("{malformed}"),
        }
    }
}

#[test]
fn p8_counts_and_lengths_that_lie_are_refused() {
    for (input, error) in [
        (&b"*x\r\n"[..], Malformed::Count),
        (b"*1048577\r\n", Malformed::Count),
        (b"*99999999999999999999\r\n", Malformed::Count),
        (b"*+1\r\n", Malformed::Count),
        (b"*1\r\n$-1\r\n", Malformed::Len),
        (b"*1\r\n$16777217\r\n", Malformed::Len),
        (b"*1\r\n$ 1\r\n", Malformed::Len),
        (b"*1\r\n:1\r\n", Malformed::NoBulk(b':')),
        (b"GET \"x\r\n", Malformed::Quotes),
        (b"GET \"x\"y\r\n", Malformed::Quotes),
    ] {
        assert_eq!(once(input), Parsed::Malformed(error), "{:?}", input.escape_ascii().to_string());
    }
    for (byte, shown) in [(b'\r', ' '), (b'\'', '\''), (b'\\', '\\'), (0xff, '?'), (0, '?')] {
        let error = Malformed::NoBulk(byte).to_string();
        assert_eq!(error, format!("expected '$', got '{shown}'"));
    }
    let long = vec![b'1'; LINE_LEN_MAX + 1];
    assert_eq!(once(&[b"*", &long[..]].concat()), Parsed::Malformed(Malformed::LongCount));
    assert_eq!(once(&[b"*1\r\n$", &long[..]].concat()), Parsed::Malformed(Malformed::LongLen));
    assert_eq!(once(&long), Parsed::Malformed(Malformed::LongLine));
}

#[test]
fn p8_words_of_a_command_never_add_up_to_more_than_its_limit() {
    let mut input = b"*3\r\n$8388608\r\n".to_vec();
    input.resize(input.len() + (8 << 20) + 2, b'x');
    input.extend_from_slice(b"$8388608\r\n");
    assert_eq!(once(&input), Parsed::Malformed(Malformed::Len));
}

#[test]
fn p8_strangers_send_little() {
    let stranger = |input: &[u8]| Parser::default().next(input, true);
    assert_eq!(stranger(b"*11\r\n"), Parsed::Malformed(Malformed::StrangerCount));
    assert_eq!(stranger(b"*1\r\n$16385\r\n"), Parsed::Malformed(Malformed::StrangerLen));
    assert_eq!(stranger(b"*10\r\n$16384\r\n"), Parsed::Partial);
}

#[test]
fn numbers_are_read_as_redis_reads_them() {
    assert_eq!(number(b"-12"), Some(-12));
    assert_eq!(number(b"0"), Some(0));
    assert_eq!(number(b"9223372036854775807"), Some(i64::MAX));
    for text in [&b""[..], b"-", b"+5", b" 5", b"5 ", b"05", b"-0", b"9223372036854775808", b"1e3"]
    {
        assert_eq!(number(text), None, "{text:?}");
    }
}
