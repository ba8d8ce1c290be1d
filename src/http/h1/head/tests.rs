//! Heads as tables and as properties: the two entries agree, and hyper finds in what is forwarded what
//! the reader found.

use proptest::prelude::*;

use super::*;
use crate::http::h1::reference::serve_with_hyper;

pub(in crate::http::h1) const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEF";

pub(in crate::http::h1) fn request(headers: &str) -> Vec<u8> {
    format!("GET /v1/tokens/{TOKEN} HTTP/1.1\r\n{headers}\r\n").into_bytes()
}

fn read_in_pieces(bytes: &[u8], len: usize) -> Head {
    let mut reader = HeadReader::default();
    let ends = (len..bytes.len()).step_by(len).chain([bytes.len()]);
    let mut heads = ends.map(|end| reader.read(&bytes[..end], false));
    heads.find(|head| *head != Head::Partial).unwrap_or(Head::Partial)
}

pub(in crate::http::h1) fn read(bytes: &[u8]) -> Head {
    HeadReader::default().read(bytes, false)
}

#[test]
fn a_head_says_once_where_its_request_ends() {
    let framing = |fields: &[&str]| {
        let fields = fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
        let bytes = format!("POST /v1/tokens HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        match read(bytes.as_bytes()) {
            Head::Forward { len, body } if len == bytes.len() => Ok(body),
            Head::Refused(refused) => Err(refused),
            other => panic!("{other:?} of {bytes:?}"),
        }
    };
    assert_eq!(framing(&[]), Ok(Framing::Length(0)));
    assert_eq!(framing(&["Content-Length:\t5 "]), Ok(Framing::Length(5)));
    assert_eq!(framing(&["transfer-encoding: Chunked"]), Ok(Framing::Chunked));
    for fields in [
        &["Content-Length: 5", "Content-Length: 5"][..],
        &["Content-Length: 05"],
        &["Content-Length: 99999999999999999999"],
        &["Content-Length:"],
        &["Content-Length: 5", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: gzip, chunked"],
        &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: \x0bchunked"],
        &["Host: a"],
        &["X : y"],
    ] {
        assert_eq!(framing(fields), Err(Refused::NotStrict), "{fields:?}");
    }
}

#[test]
fn p8_a_head_has_a_longest_length_and_a_most_fields() {
    let fields =
        |count: usize| request(&("Host: a\r\n".to_owned() + &"X: y\r\n".repeat(count - 1)));
    let most = fields(FIELDS_MAX);
    assert!(matches!(read(&most), Head::Forward { len, .. } if len == most.len()));
    assert_eq!(read(&fields(FIELDS_MAX + 1)), Head::Refused(Refused::TooLong));
    let long = |len: usize| {
        let rest = len - request("Host: a\r\nX: \r\n").len();
        request(&format!("Host: a\r\nX: {}\r\n", "y".repeat(rest)))
    };
    let longest = long(HEAD_LEN_MAX);
    assert!(matches!(read(&longest), Head::Forward { len: HEAD_LEN_MAX, .. }));
    assert_eq!(read(&longest[..HEAD_LEN_MAX - 1]), Head::Partial);
    let longer = long(HEAD_LEN_MAX + 1);
    assert_eq!(read(&longer), Head::Refused(Refused::TooLong));
    assert_eq!(read(&longer[..HEAD_LEN_MAX]), Head::Refused(Refused::TooLong), "not for ever");
}

#[test]
fn one_empty_line_may_stand_before_a_request() {
    let mut reader = HeadReader::default();
    assert_eq!(reader.skipped(b"\r"), 0);
    assert_eq!(reader.read(b"\r", false), Head::Partial);
    assert_eq!(reader.skipped(b"\r\n"), 2);
    assert!(reader.has_begun(), "the hot path must not take what comes next");
    assert_eq!(reader.skipped(b"\r\n"), 0, "one is enough");
    assert_eq!(reader.read(b"\r\n", false), Head::Refused(Refused::NotStrict));
    assert_eq!(reader.skipped(b"\r\n"), 2);
    let bytes = request("Host: a\r\n");
    assert!(matches!(reader.read(&bytes, false), Head::Forward { .. }));
    assert!(!reader.has_begun(), "the next request is another");
    assert_eq!(reader.skipped(b"\r\n"), 2);
}

#[test]
fn what_ends_in_the_middle_is_refused_only_where_it_was_no_request() {
    let whole = request("Host: a\r\nX: y\r\n");
    for len in 1..whole.len() {
        assert_eq!(HeadReader::default().read(&whole[..len], true), Head::Partial, "{len}");
    }
    for bytes in ["GET / HTTP/2", "GET\0", "GET / HTTP/1.1\r\nX Y", "GET / HTTP/1.1\r\nX: \0"] {
        assert_eq!(read(bytes.as_bytes()), Head::Partial, "{bytes:?}");
        let refused = HeadReader::default().read(bytes.as_bytes(), true);
        assert_eq!(refused, Head::Refused(Refused::NotStrict), "{bytes:?}");
    }
}

/// Request lines and fields, most of them ordinary, some with two readings, some of which hyper and
/// the reader might think differently.
pub(in crate::http::h1) fn heads() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "GET /v1/tokens/abcdefghijklmnopqrstuvwxyzABCDEF HTTP/1.1\r\n",
        "GET /v1/tokens/abcdefghijklmnopqrstuvwxyzABCDEF HTTP/1.1\r\n",
        "POST /v1/resolve HTTP/1.1\r\n",
        "POST /v1/tokens HTTP/1.1\r\n",
        "POST /v1/consume HTTP/1.1\r\n",
        "POST /v1/tokens/abcdefghijklmnopqrstuvwxyzABCDEF/consume HTTP/1.1\r\n",
        "POST /oauth2/introspect HTTP/1.1\r\n",
        "POST /oauth2/introspect HTTP/1.1\r\n",
        "GET /a?b=c&d HTTP/1.0\r\n",
        "PATCH http://a:80/x HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n",
        "CONNECT a:80 HTTP/1.1\r\n",
        "GET /`<>\\^{|}\" HTTP/1.1\r\n",
        "GET https://[::1]/ HTTP/1.1\r\n",
        "GET http://@:/ HTTP/1.1\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Authorization: Bearer jk_a.b\r\n",
        "authorization:x\r\n",
        "Accept: */*\r\n",
        "Connection: keep-alive\r\n",
        "Connection: keep-alive, upgrade\r\n",
        "Upgrade: h2c\r\n",
        "Expect: 100-continue\r\n",
        "Content-Length: 3\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n",
        "Content-Type: application/json\r\nContent-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Idempotency-Key: a\r\n",
        "Content-Length: 03\r\n",
        "Content-Length: +3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding:\tChunked \r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Host: b\r\n",
        "X: \u{e9}\r\n",
        "X:\r\n",
        "X : y\r\n",
        "X: y\n",
        " folded\r\n",
        "Te: trailers\r\n",
    ]);
    let host = prop::sample::select(vec!["Host: a\r\n", "Host: a\r\n", "Host: [::1]:80\r\n", ""]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let odd =
        prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>(), any::<bool>()));
    let fields = prop::collection::vec(field, 0..4);
    (start, host, fields, end, odd).prop_map(|(start, host, fields, end, odd)| {
        let mut bytes = [start, host, &fields.concat(), end].concat().into_bytes();
        if let Some((at, byte, is_insert)) = odd {
            let at = at.index(bytes.len());
            if is_insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        bytes
    })
}

/// A body of a few bytes as `framing` has it, and its content.
fn body_of(framing: Framing) -> (Vec<u8>, Vec<u8>) {
    match framing {
        Framing::Length(len) => {
            let content = vec![b'x'; usize::try_from(len).unwrap()];
            (content.clone(), content)
        }
        Framing::Chunked => (b"3\r\nxyz\r\n0\r\n\r\n".to_vec(), b"xyz".to_vec()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What is forwarded hyper serves as one request: with the same target, body and end. So hyper
    /// refuses nothing by itself, and no byte of one request is another's.
    #[test]
    fn p8_hyper_reads_what_is_forwarded_as_the_reader_does(bytes in heads()) {
        let Head::Forward { len, body } = read(&bytes) else { return Ok(()) };
        prop_assume!(!matches!(body, Framing::Length(100..)));
        let (head, (sent, content)) = (&bytes[..len], body_of(body));
        let last = b"GET /last HTTP/1.1\r\nHost: last\r\n\r\n";
        let (served, answers) = serve_with_hyper(&[head, &sent, last].concat());
        prop_assert!(!answers.contains("HTTP/1.1 4"), "{}", answers);
        prop_assert!(!served.is_empty(), "refused: {:?}", String::from_utf8_lossy(head));
        let target = head.split(|byte| *byte == b' ').nth(1).unwrap();
        prop_assert_eq!(&served[0].body, &content);
        // The library writes an absolute target with its path.
        let is_path = target.starts_with(b"/");
        prop_assert!(!is_path || served[0].target.as_bytes() == target, "{:?}", &served[0]);
        // It closes behind HTTP/1.0 and where it was asked to.
        prop_assert!(served.len() <= 2);
        prop_assert!(served.get(1).is_none_or(|last| last.target == "/last"), "{:?}", served);
        let first = answers.split("\r\n\r\n").next().unwrap_or_default();
        let is_kept = match first.starts_with("HTTP/1.1") {
            true => !first.contains("connection: close"),
            false => first.contains("connection: keep-alive"),
        };
        prop_assert_eq!(served.len(), if is_kept { 2 } else { 1 }, "{}", answers);
    }

    /// A head is read the same however it arrives, and what follows does not matter.
    #[test]
    fn a_head_is_read_the_same_in_pieces(bytes in heads(), len in 1..20usize) {
        let whole = read(&bytes);
        prop_assert_eq!(read_in_pieces(&bytes, len), whole);
        if whole != Head::Partial {
            prop_assert_eq!(read(&[&bytes[..], b"GET"].concat()), whole);
        }
    }
}
