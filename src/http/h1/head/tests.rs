//! Heads as tables and as properties: the two entries agree, and hyper finds in what is forwarded what
//! the reader found.

use proptest::prelude::*;

use super::*;
use crate::http::h1::reference::serve_with_hyper;
use crate::model::token::Token;

const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEF";

fn request(headers: &str) -> Vec<u8> {
    format!("GET /v1/tokens/{TOKEN} HTTP/1.1\r\n{headers}\r\n").into_bytes()
}

#[test]
fn what_clients_send_is_canonical() {
    for headers in [
        "Host: a\r\n",
        "host:127.0.0.1:7450\r\n",
        "Host: [::1]:7450\r\nUser-Agent: curl/8\r\nAccept: */*\r\n",
        "User-Agent: x\r\nHost: a\r\nConnection: Keep-Alive\r\n",
    ] {
        let bytes = request(headers);
        let (token, key, len) = (TOKEN.as_bytes(), None, bytes.len());
        let Hot::Resolve { new_host: Some(host), .. } = hot(&bytes, b"") else {
            panic!("{headers:?} is not canonical");
        };
        for (known, new_host) in [(&b"b"[..], Some(host)), (host, None)] {
            let expected = Hot::Resolve { token, key, new_host, len };
            assert_eq!(hot(&bytes, known), expected, "{headers:?}");
            let more = [&bytes[..], b"GET"].concat();
            assert_eq!(hot(&more, known), expected, "what follows does not matter");
        }
        for len in 1..bytes.len() {
            assert_eq!(hot(&bytes[..len], b""), Hot::Partial, "{len} of {headers:?}");
        }
    }
}

fn list(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/resolve HTTP/1.1\r\n{headers}\r\n{body}").into_bytes()
}

#[test]
fn a_list_that_is_all_there_is_canonical() {
    let body = "{\"tokens\":[]}";
    for headers in [
        "Host: a\r\nContent-Type: application/json\r\nContent-Length: 13\r\n",
        "content-length:13\r\nhost:a\r\ncontent-type:Application/JSON\r\nAccept: */*\r\n",
    ] {
        let bytes = list(headers, body);
        let len = bytes.len();
        for more in ["", "GET"] {
            let all = [&bytes[..], more.as_bytes()].concat();
            let (body, key, new_host) = (body.as_bytes(), None, Some(&b"a"[..]));
            assert_eq!(hot(&all, b""), Hot::List { body, key, new_host, len });
        }
        for len in 0..len {
            assert!(!matches!(hot(&bytes[..len], b""), Hot::List { .. } | Hot::Resolve { .. }));
            assert!(len < 5 || hot(&bytes[..len], b"") == Hot::Other, "hyper gets what has come");
        }
    }
}

#[test]
fn p8_a_list_whose_end_could_be_in_doubt_is_left_to_hyper() {
    let (ty, len) = ("Content-Type: application/json\r\n", "Content-Length: 2\r\n");
    for headers in [
        ty.to_owned(),
        len.to_owned(),
        format!("{ty}{len}{len}"),
        format!("{ty}{ty}{len}"),
        format!("{ty}{len}Transfer-Encoding: chunked\r\n"),
        format!("{ty}{len}Expect: 100-continue\r\n"),
        format!("{ty}{len}Content-Encoding: identity\r\n"),
        format!("{ty}{len}Origin: http://a\r\n"),
        format!("{ty}{len}Sec-Fetch-Site: cross-site\r\n"),
        format!("{ty}{len}Jeton-Read: linear\r\n"),
        format!("{ty}Content-Length: 02\r\n"),
        format!("{ty}Content-Length: +2\r\n"),
        format!("{ty}Content-Length: 2, 2\r\n"),
        format!("{ty}Content-Length: 99999999999999999999\r\n"),
        format!("{ty}Content-Length:\r\n"),
        format!("Content-Type: text/plain\r\n{len}"),
        format!("Content-Type: application/json; charset=latin1\r\n{len}"),
    ] {
        let bytes = list(&format!("Host: a\r\n{headers}"), "{}");
        assert_eq!(hot(&bytes, b"a"), Hot::Other, "{headers:?}");
    }
    for line in
        ["POST /v1/resolve/ ", "POST /v1/consume ", "POST /v1/resolve?x ", "PUT /v1/resolve "]
    {
        let bytes = format!("{line}HTTP/1.1\r\nHost: a\r\n{ty}{len}\r\n{{}}");
        assert_eq!(hot(bytes.as_bytes(), b"a"), Hot::Other, "{line}");
    }
}

#[test]
fn p8_anything_that_could_be_ambiguous_is_left_to_hyper() {
    for headers in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: b\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a:1:2\r\n",
        "Host: a:b\r\n",
        "Host: a\r\nContent-Length: 0\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nConnection: close\r\n",
        "Host: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer x\r\n",
        "Host: a\r\nConnection: keep-alive, upgrade\r\n",
        "Host: a\r\nUpgrade: h2c\r\n",
        "Host: a\r\nExpect: 100-continue\r\n",
        "Host: a\r\nAccept : x\r\n",
        "Host: a\r\n Accept: x\r\n",
        "Host: a\r\nAccept: x\r\n y\r\n",
        "Host: a\r\nAccept: \0\r\n",
        "Host: a\r\nAccept: x\ny\r\n",
        "Host: a\r\nAccept: x\ry\r\n",
        "Host: a\r\nAccept: \u{e9}\r\n",
        "Host: a\r\nnonsense\r\n",
        "Host: a\nAccept: x\r\n",
        "Host: a\n\r\n",
        "Host: a\r\nConnection: keep-alive\n\r\n",
        "Host: \x0ca\r\n",
    ] {
        for known in [&b""[..], b"a"] {
            assert_eq!(hot(&request(headers), known), Hot::Other, "{headers:?}");
        }
    }
    for line in [
        "get /v1/tokens/",
        "GET  /v1/tokens/",
        "HEAD /v1/tokens/",
        "GET /v1/tokens?",
        "GET http://a/v1/tokens/",
        "\r\nGET /v1/tokens/",
    ] {
        let bytes = format!("{line}{TOKEN} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        assert_eq!(hot(&bytes, b"a"), Hot::Other, "{line}");
    }
    for tail in [" HTTP/1.0\r\n", "/status HTTP/1.1\r\n", "?x HTTP/1.1\r\n", "x HTTP/1.1\r\n"] {
        let bytes = format!("GET /v1/tokens/{TOKEN}{tail}Host: a\r\n\r\n").into_bytes();
        assert_eq!(hot(&bytes, b"a"), Hot::Other, "{tail}");
    }
    for whole in ["GET /v1/tokens/short HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n"] {
        assert_eq!(hot(whole.as_bytes(), b"a"), Hot::Other, "{whole:?} is not waited on");
    }
    let long = request(&format!("Host: a\r\nAccept: {}", "x".repeat(HOT_LEN_MAX)));
    assert_eq!(hot(&long[..long.len() - 2], b"a"), Hot::Other, "not for ever");
}

fn form_request(headers: &str, form: &str) -> Vec<u8> {
    format!("POST /oauth2/introspect HTTP/1.1\r\n{headers}\r\n{form}").into_bytes()
}

#[test]
fn an_introspection_is_canonical_where_its_form_has_come() {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    for headers in [
        format!("Host: a\r\n{kind}\r\nContent-Length: 7\r\n"),
        format!("content-length: 7\r\nAccept: */*\r\n{kind}; charset=UTF-8\r\nhost: a\r\n"),
        format!("Host: a\r\nAuthorization: Basic YTpi\r\n{kind}\r\nContent-Length: 7\r\n"),
    ] {
        let bytes = form_request(&headers, "token=a");
        let key = headers.contains("Basic").then_some(&b"Basic YTpi"[..]);
        let (form, new_host) = (&b"token=a"[..], Some(&b"a"[..]));
        let expected = Hot::Introspect { form, key, new_host, len: bytes.len() };
        assert_eq!(hot(&bytes, b""), expected, "{headers:?}");
        let more = [&bytes[..], b"POST"].concat();
        assert_eq!(hot(&more, b""), expected, "what follows does not matter");
        for len in 1..bytes.len() {
            assert_eq!(hot(&bytes[..len], b""), Hot::Other, "{len} of {headers:?}");
        }
    }
    for headers in [
        format!("Host: a\r\n{kind}\r\n"),
        "Host: a\r\nContent-Length: 7\r\n".to_owned(),
        format!("{kind}\r\nContent-Length: 7\r\n"),
        format!("Host: a\r\n{kind}\r\nContent-Length: 07\r\n"),
        format!("Host: a\r\n{kind}\r\nContent-Length: 7\r\nContent-Length: 7\r\n"),
        format!("Host: a\r\n{kind}\r\n{kind}\r\nContent-Length: 7\r\n"),
        format!("Host: a\r\n{kind};charset=latin1\r\nContent-Length: 7\r\n"),
        format!("Host: a\r\n{kind}\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n"),
        format!("Host: a\r\n{kind}\r\nContent-Length: 7\r\nOrigin: http://b\r\n"),
        format!("Host: a\r\n{kind}\r\nContent-Length: 2049\r\n"),
    ] {
        let bytes = form_request(&headers, &"token=a".repeat(300));
        assert_eq!(hot(&bytes, b"a"), Hot::Other, "{headers:?}");
    }
    for line in ["POST /oauth2/introspect HTTP/1.0\r\n", "POST /oauth2/revoke HTTP/1.1\r\n"] {
        let bytes = format!("{line}Host: a\r\n{kind}\r\nContent-Length: 7\r\n\r\ntoken=a");
        assert_eq!(hot(bytes.as_bytes(), b"a"), Hot::Other, "{line}");
    }
}

/// Reads a head that comes in pieces of `len` bytes.
fn read_in_pieces(bytes: &[u8], len: usize) -> Head {
    let mut reader = HeadReader::default();
    let ends = (len..bytes.len()).step_by(len).chain([bytes.len()]);
    let mut heads = ends.map(|end| reader.read(&bytes[..end], false));
    heads.find(|head| *head != Head::Partial).unwrap_or(Head::Partial)
}

fn read(bytes: &[u8]) -> Head {
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

/// Each of them harmless: the hot path would answer, and hyper would refuse.
#[test]
fn p8_too_many_fields_are_too_many_on_the_hot_path() {
    let fields =
        |count: usize| request(&("Host: a\r\n".to_owned() + &"Pragma:\r\n".repeat(count - 1)));
    assert!(matches!(hot(&fields(FIELDS_MAX), b""), Hot::Resolve { .. }));
    assert_eq!(hot(&fields(FIELDS_MAX + 1), b""), Hot::Other);
    assert!(KNOWN.iter().all(|name| name.len() >= "Accept".len()), "no shorter line is known");
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
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "GET /v1/tokens/abcdefghijklmnopqrstuvwxyzABCDEF HTTP/1.1\r\n",
        "GET /v1/tokens/abcdefghijklmnopqrstuvwxyzABCDEF HTTP/1.1\r\n",
        "POST /v1/resolve HTTP/1.1\r\n",
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

    /// What the hot path takes, the reader forwards: same end, no body, and hyper finds the same
    /// token and key.
    #[test]
    fn p8_the_hot_path_takes_only_what_the_reader_forwards(bytes in heads()) {
        let Hot::Resolve { token, key, new_host, len } = hot(&bytes, b"") else { return Ok(()) };
        // What is no token is left to hyper.
        prop_assume!(Token::parse(token).is_ok());
        let forwarded = Head::Forward { len, body: Framing::Length(0) };
        prop_assert_eq!(read(&bytes), forwarded, "{:?}", String::from_utf8_lossy(&bytes));
        let (served, answers) = serve_with_hyper(&bytes[..len]);
        prop_assert_eq!(served.len(), 1, "{}", answers);
        prop_assert_eq!(served[0].target.as_bytes(), [b"/v1/tokens/", token].concat());
        prop_assert_eq!(served[0].host.as_deref(), new_host);
        prop_assert_eq!(&served[0].keys, &Vec::from_iter(key.map(<[u8]>::to_vec)));
    }

    /// The same for an introspection: its form is the body that the reader announces and hyper finds.
    #[test]
    fn p8_the_hot_path_ends_a_form_where_the_reader_does(bytes in heads()) {
        let bytes = [&bytes[..], b"xyz"].concat();
        let Hot::Introspect { form, key, new_host, len } = hot(&bytes, b"") else { return Ok(()) };
        let body = Framing::Length(form.len() as u64);
        let forwarded = Head::Forward { len: len - form.len(), body };
        prop_assert_eq!(read(&bytes), forwarded, "{:?}", String::from_utf8_lossy(&bytes));
        let (served, answers) = serve_with_hyper(&bytes[..len]);
        prop_assert_eq!(served.len(), 1, "{}", answers);
        prop_assert_eq!(served[0].target.as_str(), "/oauth2/introspect");
        prop_assert_eq!(&served[0].body[..], form);
        prop_assert_eq!(served[0].host.as_deref(), new_host);
        prop_assert_eq!(&served[0].keys, &Vec::from_iter(key.map(<[u8]>::to_vec)));
    }

    /// The same for a list: its body is the one that the reader announces and hyper finds.
    #[test]
    fn p8_the_hot_path_ends_a_list_where_the_reader_does(bytes in heads()) {
        let bytes = [&bytes[..], b"xyz"].concat();
        let Hot::List { body, key, new_host, len } = hot(&bytes, b"") else { return Ok(()) };
        let framing = Framing::Length(body.len() as u64);
        let forwarded = Head::Forward { len: len - body.len(), body: framing };
        prop_assert_eq!(read(&bytes), forwarded, "{:?}", String::from_utf8_lossy(&bytes));
        let (served, answers) = serve_with_hyper(&bytes[..len]);
        prop_assert_eq!(served.len(), 1, "{}", answers);
        prop_assert_eq!(served[0].target.as_str(), "/v1/resolve");
        prop_assert_eq!(&served[0].body[..], body);
        prop_assert_eq!(served[0].host.as_deref(), new_host);
        prop_assert_eq!(&served[0].keys, &Vec::from_iter(key.map(<[u8]>::to_vec)));
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

    /// One byte changed anywhere: the hot path either leaves the request alone, or its length and
    /// the place of its token are what they were.
    #[test]
    fn one_odd_byte_never_moves_the_end(at in 0..120usize, byte: u8) {
        let whole = request("Host: 127.0.0.1:7450\r\nAccept: */*\r\n");
        let mut bytes = whole.clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Hot::Resolve { token, len, .. } = hot(&bytes, b"") {
            prop_assert_eq!(len, whole.len());
            prop_assert_eq!(token, &bytes[START.len()..TOKEN_END]);
        }
    }
}
