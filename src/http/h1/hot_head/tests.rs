//! Heads of the hot path as tables and as properties: what it takes the reader of heads forwards, with
//! the same end, and hyper finds in it what the hot path found.

use proptest::prelude::*;

use super::*;
use crate::http::h1::head::Head;
use crate::http::h1::head::tests::{TOKEN, heads, read, request};
use crate::http::h1::head_syntax::Framing;
use crate::http::h1::reference::serve_with_hyper;
use crate::model::token::Token;

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
        ["POST /v1/resolve/ ", "POST /v1/status ", "POST /v1/resolve?x ", "PUT /v1/resolve "]
    {
        let bytes = format!("{line}HTTP/1.1\r\nHost: a\r\n{ty}{len}\r\n{{}}");
        assert_eq!(hot(bytes.as_bytes(), b"a"), Hot::Other, "{line}");
    }
}

#[test]
fn a_change_that_is_all_there_is_canonical() {
    let token = TOKEN.as_bytes();
    for (path, operation, token, body) in [
        ("/v1/tokens", Operation::Issue, None, "{}"),
        ("/v1/tokens/batch", Operation::IssueBatch, None, "{}"),
        ("/v1/consume", Operation::ConsumeBatch, None, "{}"),
        (&format!("/v1/tokens/{TOKEN}/consume"), Operation::Consume, Some(token), "{}"),
        (&format!("/v1/tokens/{TOKEN}/consume"), Operation::Consume, Some(token), ""),
    ] {
        let typed = "content-type: application/json; charset=UTF-8\r\n";
        let len_of = format!("Content-Length: {}\r\n", body.len());
        let of_body: &[&str] = match body {
            "" => &["", &len_of, &format!("{typed}{len_of}")],
            _ => &[&format!("{typed}{len_of}"), &format!("{len_of}{typed}")],
        };
        for (of_body, key) in
            of_body.iter().flat_map(|of_body| [(of_body, None), (of_body, Some("k 1"))])
        {
            let keyed = key.map_or(String::new(), |key| format!("Idempotency-Key: {key} \r\n"));
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{keyed}{of_body}\r\n");
            let bytes = [head.as_bytes(), body.as_bytes()].concat();
            let (idempotency_key, len) = (key.map(str::as_bytes), bytes.len());
            let change = Change { operation, token, idempotency_key, body: body.as_bytes() };
            let expected = Hot::Change { change, key: None, new_host: None, len };
            assert_eq!(hot(&bytes, b"a"), expected, "{head}");
            assert_eq!(hot(&[&bytes[..], b"POST"].concat(), b"a"), expected, "{head}");
            for cut in 0..len {
                assert!(!matches!(hot(&bytes[..cut], b"a"), Hot::Change { .. }), "{cut} of {head}");
            }
        }
    }
}

#[test]
fn p8_a_change_whose_end_or_key_could_be_in_doubt_is_left_to_hyper() {
    let (typed, len) = ("Content-Type: application/json\r\n", "Content-Length: 2\r\n");
    let key = "Idempotency-Key: a\r\n";
    for headers in [
        typed.to_owned(),
        len.to_owned(),
        format!("{typed}{len}{len}"),
        format!("{typed}{len}{key}{key}"),
        format!("{typed}{len}Idempotency-Key: \u{e9}\r\n"),
        format!("{typed}{len}Transfer-Encoding: chunked\r\n"),
        format!("{typed}{len}Expect: 100-continue\r\n"),
        format!("{typed}{len}Connection: close\r\n"),
        format!("{typed}{len}Origin: http://a\r\n"),
        format!("{typed}{len}Sec-Fetch-Site: cross-site\r\n"),
        format!("{typed}{len}Jeton-Read: linear\r\n"),
        format!("Content-Type: text/plain\r\n{len}"),
        format!("{typed}Content-Length: 0\r\n"),
    ] {
        let bytes = format!("POST /v1/tokens HTTP/1.1\r\nHost: a\r\n{headers}\r\n{{}}");
        assert_eq!(hot(bytes.as_bytes(), b"a"), Hot::Other, "{headers:?}");
    }
    for path in ["/v1/tokens/", "/v1/tokens?x", "/v1/names/a", "/v1/tokens/short/consume"] {
        let bytes = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{typed}{len}\r\n{{}}");
        assert_eq!(hot(bytes.as_bytes(), b"a"), Hot::Other, "{path}");
    }
    let keyed = list(&format!("Host: a\r\n{key}{typed}{len}"), "{}");
    assert_eq!(hot(&keyed, b"a"), Hot::Other, "a list that is resolved has no key");
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

#[test]
fn p8_too_many_fields_are_too_many_on_the_hot_path() {
    let fields =
        |count: usize| request(&("Host: a\r\n".to_owned() + &"Pragma:\r\n".repeat(count - 1)));
    assert!(matches!(hot(&fields(FIELDS_MAX), b""), Hot::Resolve { .. }));
    assert_eq!(hot(&fields(FIELDS_MAX + 1), b""), Hot::Other);
    assert!(KNOWN.iter().all(|name| name.len() >= "Accept".len()), "no shorter line is known");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

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

    /// The same for a change.
    #[test]
    fn p8_the_hot_path_ends_a_change_where_the_reader_does(bytes in heads()) {
        let bytes = [&bytes[..], b"xyz"].concat();
        let Hot::Change { change, key, new_host, len } = hot(&bytes, b"") else { return Ok(()) };
        prop_assume!(change.token.is_none_or(|token| Token::parse(token).is_ok()));
        let framing = Framing::Length(change.body.len() as u64);
        let forwarded = Head::Forward { len: len - change.body.len(), body: framing };
        prop_assert_eq!(read(&bytes), forwarded, "{:?}", String::from_utf8_lossy(&bytes));
        let (served, answers) = serve_with_hyper(&bytes[..len]);
        prop_assert_eq!(served.len(), 1, "{}", answers);
        let token = change.token.map(|token| String::from_utf8_lossy(token));
        let target = match change.operation {
            Operation::Issue => "/v1/tokens".to_owned(),
            Operation::IssueBatch => "/v1/tokens/batch".to_owned(),
            Operation::ConsumeBatch => "/v1/consume".to_owned(),
            Operation::Consume => format!("/v1/tokens/{}/consume", token.unwrap_or_default()),
            other => panic!("{other:?} is no change of the hot path"),
        };
        prop_assert_eq!(&served[0].target, &target);
        let idempotency_key = change.idempotency_key.map(<[u8]>::to_vec);
        prop_assert_eq!(&served[0].idempotency_keys, &Vec::from_iter(idempotency_key));
        prop_assert_eq!(&served[0].body[..], change.body);
        prop_assert_eq!(served[0].host.as_deref(), new_host);
        prop_assert_eq!(&served[0].keys, &Vec::from_iter(key.map(<[u8]>::to_vec)));
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
