//! Requests that two parsers may read differently, and their legal neighbours, as data.
//!
//! In the bytes `{P}` is a request line that resolves a list, `{G}` one that resolves an unknown
//! token, `{H}` a Host, `{B}` the body of 13 bytes that belongs to `{P}`, `{C}` the same in chunks,
//! `{T}` a whole request that consumes a canary, `{N}` its length, and `{2K}`, `{9K}`, `{70K}` that
//! many bytes of the letter x. After every case the same request is sent for another canary.

use Expected::{Close, Refuse, Serve};

/// The required result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 400 as the only answer, the connection closes, and both canaries live.
    Refuse,
    /// It has one reading: this status, and the bytes after it are served as the next request.
    Serve(u16),
    /// It has one reading and is the last of its connection: this status, and both canaries live.
    Close(u16),
}

pub struct Case {
    pub name: &'static str,
    pub expected: Expected,
    /// The reason, mostly a section of an RFC.
    pub why: &'static str,
    pub bytes: &'static str,
}

const fn case(
    name: &'static str,
    expected: Expected,
    why: &'static str,
    bytes: &'static str,
) -> Case {
    Case { name, expected, why, bytes }
}

impl Case {
    /// The bytes of the attack alone, including a canary's request if the case contains one.
    pub fn expand(&self, canary: &str) -> Vec<u8> {
        let unknown = "A".repeat(32);
        self.bytes
            .replace("{P}", "POST /v1/resolve HTTP/1.1\r\nContent-Type: application/json\r\n")
            .replace("{G}", &format!("GET /v1/tokens/{unknown} HTTP/1.1\r\n"))
            .replace("{U}", &format!("/v1/tokens/{unknown}"))
            .replace("{H}", "Host: a\r\n")
            .replace("{B}", r#"{"tokens":[]}"#)
            .replace("{C}", "d\r\n{\"tokens\":[]}\r\n0\r\n\r\n")
            .replace("{T}", canary)
            .replace("{N}", &canary.len().to_string())
            .replace("{2K}", &"x".repeat(2_000))
            .replace("{9K}", &"x".repeat(9_000))
            .replace("{70K}", &"x".repeat(70_000))
            .into_bytes()
    }
}

pub fn all() -> impl Iterator<Item = &'static Case> {
    [LENGTHS, CODINGS, CHUNKS, LINES, HOSTS, REQUEST_LINES].into_iter().flatten()
}

#[rustfmt::skip] // A table reads line by line.
const LENGTHS: &[Case] = &[
    case("cl_then_te", Refuse, "9112 6.1",
        "{P}{H}Content-Length: 13\r\nTransfer-Encoding: chunked\r\n\r\n{C}"),
    case("te_then_cl", Refuse, "9112 6.1",
        "{P}{H}Transfer-Encoding: chunked\r\nContent-Length: 13\r\n\r\n{C}"),
    case("cl_te_canary", Refuse, "9112 6.1",
        "{P}{H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{T}"),
    case("te_cl_canary", Refuse, "9112 6.1",
        "{P}{H}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nd\r\n{B}\r\n0\r\n\r\n{T}"),
    case("cl_0_with_te", Refuse, "9112 6.1",
        "{P}{H}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{C}"),
    case("cl_twice_same", Refuse, "9112 6.3", "{P}{H}Content-Length: 13\r\nContent-Length: 13\r\n\r\n{B}"),
    case("cl_twice_other", Refuse, "9112 6.3", "{P}{H}Content-Length: 13\r\nContent-Length: 0\r\n\r\n{B}"),
    case("cl_list", Refuse, "9110 8.6", "{P}{H}Content-Length: 13, 13\r\n\r\n{B}"),
    case("cl_list_other", Refuse, "9110 8.6", "{P}{H}Content-Length: 0, 13\r\n\r\n{B}"),
    case("cl_semicolon", Refuse, "9110 8.6", "{P}{H}Content-Length: 13;13\r\n\r\n{B}"),
    case("cl_plus", Refuse, "9110 8.6", "{P}{H}Content-Length: +13\r\n\r\n{B}"),
    case("cl_minus", Refuse, "9110 8.6", "{P}{H}Content-Length: -13\r\n\r\n{B}"),
    case("cl_hex", Refuse, "9110 8.6", "{P}{H}Content-Length: 0xd\r\n\r\n{B}"),
    case("cl_leading_zero", Refuse, "not decimal for everybody", "{P}{H}Content-Length: 013\r\n\r\n{B}"),
    case("cl_beyond_u64", Refuse, "9110 8.6", "{P}{H}Content-Length: 18446744073709551629\r\n\r\n{B}"),
    case("cl_25_digits", Refuse, "9110 8.6", "{P}{H}Content-Length: 1000000000000000000000013\r\n\r\n{B}"),
    case("cl_empty", Refuse, "9110 8.6", "{P}{H}Content-Length:\r\n\r\n{B}"),
    case("cl_inner_space", Refuse, "9110 8.6", "{P}{H}Content-Length: 1 3\r\n\r\n{B}"),
    case("cl_exponent", Refuse, "9110 8.6", "{P}{H}Content-Length: 13e0\r\n\r\n{B}"),
    case("cl_fraction", Refuse, "9110 8.6", "{P}{H}Content-Length: 13.0\r\n\r\n{B}"),
    case("cl_quoted", Refuse, "9110 8.6", "{P}{H}Content-Length: \"13\"\r\n\r\n{B}"),
    case("cl_underscore", Refuse, "9110 8.6", "{P}{H}Content-Length: 1_3\r\n\r\n{B}"),
    case("cl_vertical_tab", Refuse, "9110 5.5", "{P}{H}Content-Length: \x0b13\r\n\r\n{B}"),
    case("cl_other_digits", Refuse, "9110 8.6", "{P}{H}Content-Length: \u{661}\u{663}\r\n\r\n{B}"),
    case("cl_space_before_colon", Refuse, "9112 5.1", "{P}{H}Content-Length : 13\r\n\r\n{B}"),
    case("cl_tab_before_colon", Refuse, "9112 5.1", "{P}{H}Content-Length\t: 13\r\n\r\n{B}"),
    case("cl_folded", Refuse, "9112 5.2", "{P}{H}Content-Length:\r\n 13\r\n\r\n{B}"),
    case("cl_too_short", Refuse, "the rest is no request", "{P}{H}Content-Length: 5\r\n\r\n{B}"),
    case("cl_too_large", Close(413), "a limit", "{P}{H}Content-Length: 10000000000\r\n\r\n{B}"),
    case("cl_spaces_around", Serve(200), "9110 5.6.3", "{P}{H}Content-Length: \t 13 \t\r\n\r\n{B}"),
    case("cl_other_case", Serve(200), "9110 5.1", "{P}{H}cONTENT-lENGTH:13\r\n\r\n{B}"),
    case("get_cl_0", Serve(404), "9110 8.6", "{G}{H}Content-Length: 0\r\n\r\n"),
    case("get_with_body", Refuse, "9110 9.3.1", "{G}{H}Content-Length: 13\r\n\r\n{B}"),
    case("get_canary_as_body", Refuse, "9110 9.3.1", "{G}{H}Content-Length: 99\r\n\r\n{T}"),
    case("get_canary_as_whole_body", Refuse, "9110 9.3.1", "{G}{H}Content-Length: {N}\r\n\r\n{T}"),
    case("canary_as_whole_body", Serve(400), "no JSON, but its end is known",
        "{P}{H}Content-Length: {N}\r\n\r\n{T}"),
    case("get_in_chunks", Refuse, "9110 9.3.1", "{G}{H}Transfer-Encoding: chunked\r\n\r\n{C}"),
    case("delete_with_body", Refuse, "9110 9.3.5",
        "DELETE {U} HTTP/1.1\r\n{H}Content-Length: 13\r\n\r\n{B}"),
    case("expect_continue", Serve(200), "9110 10.1.1",
        "{P}{H}Expect: 100-continue\r\nContent-Length: 13\r\n\r\n{B}"),
    case("expect_other", Serve(200), "9110 10.1.1: may be ignored",
        "{P}{H}Expect: 200-ok\r\nContent-Length: 13\r\n\r\n{B}"),
    case("expect_on_get", Serve(404), "9110 10.1.1", "{G}{H}Expect: 100-continue\r\n\r\n"),
];

#[rustfmt::skip] // A table reads line by line.
const CODINGS: &[Case] = &[
    case("te_chunked", Serve(200), "9112 7.1", "{P}{H}Transfer-Encoding: chunked\r\n\r\n{C}"),
    case("te_other_case", Serve(200), "9112 7", "{P}{H}transfer-ENCODING:\tChunKED \r\n\r\n{C}"),
    case("te_unknown", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: xchunked\r\n\r\n{C}"),
    case("te_unknown_with_cl", Refuse, "9112 6.1",
        "{P}{H}Content-Length: 13\r\nTransfer-Encoding: x\r\n\r\n{B}"),
    case("te_twice", Refuse, "9112 6.1",
        "{P}{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{C}"),
    case("te_then_identity", Refuse, "9112 6.1",
        "{P}{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{C}"),
    case("te_twice_in_list", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: chunked, chunked\r\n\r\n{C}"),
    case("te_identity", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: identity\r\n\r\n{B}"),
    case("te_gzip_chunked", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: gzip, chunked\r\n\r\n{C}"),
    case("te_identity_chunked", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: identity, chunked\r\n\r\n{C}"),
    case("te_chunked_identity", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: chunked, identity\r\n\r\n{C}"),
    case("te_comma_behind", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: chunked,\r\n\r\n{C}"),
    case("te_comma_before", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: ,chunked\r\n\r\n{C}"),
    case("te_parameter", Refuse, "9112 7.1", "{P}{H}Transfer-Encoding: chunked;q=1\r\n\r\n{C}"),
    case("te_quoted", Refuse, "9112 7", "{P}{H}Transfer-Encoding: \"chunked\"\r\n\r\n{C}"),
    case("te_empty", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding:\r\n\r\n{C}"),
    case("te_vertical_tab", Refuse, "9110 5.5", "{P}{H}Transfer-Encoding:\x0bchunked\r\n\r\n{C}"),
    case("te_form_feed", Refuse, "9110 5.5", "{P}{H}Transfer-Encoding: \x0cchunked\r\n\r\n{C}"),
    case("te_nul", Refuse, "9110 5.5", "{P}{H}Transfer-Encoding: chunked\0\r\n\r\n{C}"),
    case("te_wide_space", Refuse, "9112 6.1", "{P}{H}Transfer-Encoding: \u{a0}chunked\r\n\r\n{C}"),
    case("te_folded", Refuse, "9112 5.2", "{P}{H}Transfer-Encoding:\r\n chunked\r\n\r\n{C}"),
    case("te_fold_behind", Refuse, "9112 5.2", "{P}{H}Transfer-Encoding: chunked\r\n , x\r\n\r\n{C}"),
    case("te_space_before_colon", Refuse, "9112 5.1", "{P}{H}Transfer-Encoding : chunked\r\n\r\n{C}"),
    case("te_behind_lf", Refuse, "9112 2.2",
        "{P}{H}Content-Length: 13\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n{B}"),
    case("te_behind_cr", Refuse, "9112 2.2",
        "{P}{H}Content-Length: 13\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n{B}"),
    case("te_in_1_0", Refuse, "9112 6.1",
        "POST /v1/resolve HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n{C}"),
    case("te_other_name", Serve(200), "9110 5.1: another field",
        "{P}{H}Transfer_Encoding: chunked\r\nContent-Length: 13\r\n\r\n{B}"),
    case("te_in_connection", Serve(200), "9110 7.6.1: nothing is forwarded",
        "{P}{H}Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n{C}"),
];

/// The head of a request in chunks, before the chunks of the case.
macro_rules! chunks {
    ($name:expr, $expected:expr, $why:expr, $body:expr) => {
        case($name, $expected, $why, concat!("{P}{H}Transfer-Encoding: chunked\r\n\r\n", $body))
    };
}

#[rustfmt::skip] // A table reads line by line.
const CHUNKS: &[Case] = &[
    chunks!("chunk_extension", Serve(200), "9112 7.1.1", "d;a=b\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_extension_quoted", Serve(200), "9112 7.1.1", "d ; a=\"b c\"\r\n{B}\r\n0;x\r\n\r\n"),
    chunks!("chunk_extension_lf", Refuse, "9112 7.1.1", "d;a\nb\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_extension_cr", Refuse, "9112 7.1.1", "d;a\rb\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_extension_nul", Refuse, "9112 7.1.1", "d;a=\0\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_extension_long", Refuse, "a limit", "d;{2K}\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_no_hex", Refuse, "9112 7.1", "g\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_0x", Refuse, "9112 7.1", "0xd\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_underscore", Refuse, "9112 7.1", "d_\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_minus", Refuse, "9112 7.1", "-d\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_plus", Refuse, "9112 7.1", "+d\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_space_behind", Refuse, "9112 7.1", "d \r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_tab_behind", Refuse, "9112 7.1", "d\t\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_space_before", Refuse, "9112 7.1", " d\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_beyond_u64", Refuse, "9112 7.1", "1000000000000000d\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_huge", Refuse, "9112 7.1", "ffffffffffffffff\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_empty", Refuse, "9112 7.1", "\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_zeros", Serve(200), "9112 7.1", "000D\r\n{B}\r\n000\r\n\r\n"),
    chunks!("chunk_size_lf", Refuse, "9112 7.1", "d\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_size_cr", Refuse, "9112 7.1", "d\r{B}\r\n0\r\n\r\n"),
    chunks!("chunk_no_end", Refuse, "9112 7.1", "d\r\n{B}0\r\n\r\n"),
    chunks!("chunk_end_lf", Refuse, "9112 7.1", "d\r\n{B}\n0\r\n\r\n"),
    chunks!("chunk_end_cr_cr", Refuse, "9112 7.1", "d\r\n{B}\r\r\n0\r\n\r\n"),
    chunks!("chunk_too_long", Refuse, "9112 7.1", "c\r\n{B}\r\n0\r\n\r\n"),
    chunks!("chunk_two_ends", Refuse, "9112 7.1", "d\r\n{B}\r\n\r\n0\r\n\r\n"),
    chunks!("last_chunk_lf", Refuse, "9112 7.1", "d\r\n{B}\r\n0\n\r\n"),
    chunks!("chunked_end_lf", Refuse, "9112 7.1", "d\r\n{B}\r\n0\r\n\n"),
    chunks!("chunked_end_canary", Refuse, "9112 7.1.2", "d\r\n{B}\r\n0\r\n{T}"),
    chunks!("trailer", Serve(200), "9112 7.1.2", "d\r\n{B}\r\n0\r\nX: y\r\n\r\n"),
    chunks!("trailer_cl", Refuse, "9110 6.5.1", "d\r\n{B}\r\n0\r\nContent-Length: 9\r\n\r\n"),
    chunks!("trailer_te", Refuse, "9110 6.5.1", "d\r\n{B}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    chunks!("trailer_host", Refuse, "9110 6.5.1", "d\r\n{B}\r\n0\r\nHost: b\r\n\r\n"),
    chunks!("trailer_lf", Refuse, "9112 2.2", "d\r\n{B}\r\n0\r\nX: y\n\r\n"),
    chunks!("trailer_lf_canary", Refuse, "9112 2.2", "d\r\n{B}\r\n0\r\nX: y\n\n{T}"),
    chunks!("trailer_no_colon", Refuse, "9112 5", "d\r\n{B}\r\n0\r\nnonsense\r\n\r\n"),
    chunks!("trailer_folded", Refuse, "9112 5.2", "d\r\n{B}\r\n0\r\nX: y\r\n z\r\n\r\n"),
    chunks!("trailer_long", Refuse, "a limit", "d\r\n{B}\r\n0\r\nX: {9K}\r\n\r\n"),
];

#[rustfmt::skip] // A table reads line by line.
const LINES: &[Case] = &[
    case("lf_everywhere", Refuse, "9112 2.2", "GET {U} HTTP/1.1\nHost: a\n\n"),
    case("lf_after_request_line", Refuse, "9112 2.2", "GET {U} HTTP/1.1\nHost: a\r\n\r\n"),
    case("lf_after_header", Refuse, "9112 2.2", "{G}Host: a\nX: y\r\n\r\n"),
    case("lf_ends_host", Refuse, "9112 2.2", "{G}Host: a\n\r\nAccept: x\r\n\r\n"),
    case("lf_ends_connection", Refuse, "9112 2.2", "{G}{H}Connection: keep-alive\n\r\nAccept: x\r\n\r\n"),
    case("lf_ends_head", Refuse, "9112 2.2", "{G}{H}\n"),
    case("lf_lf_canary", Refuse, "9112 2.2", "{P}{H}Content-Length: 13\n\n{T}"),
    case("cr_in_request_line", Refuse, "9112 2.2", "GET {U}\r HTTP/1.1\r\n{H}\r\n"),
    case("cr_in_value", Refuse, "9112 2.2", "{G}{H}X: y\rz\r\n\r\n"),
    case("cr_cr_lf", Refuse, "9112 2.2", "{G}{H}X: y\r\r\n\r\n"),
    case("cr_ends_head", Refuse, "9112 2.2", "{G}{H}\r\r\n\r\n"),
    case("nul_in_value", Refuse, "9110 5.5", "{G}{H}X: y\0z\r\n\r\n"),
    case("nul_in_name", Refuse, "9110 5.1", "{G}{H}X\0: y\r\n\r\n"),
    case("control_in_value", Refuse, "9110 5.5", "{G}{H}X: \x01\r\n\r\n"),
    case("del_in_value", Refuse, "9110 5.5", "{G}{H}X: \x7f\r\n\r\n"),
    case("high_bytes_in_value", Serve(404), "9110 5.5", "{G}{H}X: \u{e9}\r\n\r\n"),
    case("high_bytes_in_name", Refuse, "9110 5.1", "{G}{H}X\u{e9}: y\r\n\r\n"),
    case("space_before_colon", Refuse, "9112 5.1", "{G}{H}X : y\r\n\r\n"),
    case("space_in_name", Refuse, "9110 5.1", "{G}{H}X Y: z\r\n\r\n"),
    case("folded", Refuse, "9112 5.2", "{G}{H}X: y\r\n z\r\n\r\n"),
    case("folded_with_tab", Refuse, "9112 5.2", "{G}{H}X: y\r\n\tz\r\n\r\n"),
    case("space_before_first", Refuse, "9112 2.2", "{G} Host: a\r\n{H}\r\n"),
    case("space_before_empty", Refuse, "9112 2.2", "{G}{H} \r\n\r\n"),
    case("no_colon", Refuse, "9112 5", "{G}{H}nonsense\r\n\r\n"),
    case("no_name", Refuse, "9112 5", "{G}{H}: y\r\n\r\n"),
    case("no_value", Serve(404), "9110 5.5", "{G}{H}X:\r\n\r\n"),
    case("empty_line_first", Serve(404), "9112 2.2", "\r\n{G}{H}\r\n"),
    case("empty_lines_first", Refuse, "one is enough", "\r\n\r\n{G}{H}\r\n"),
    case("empty_lf_first", Refuse, "9112 2.2", "\n{G}{H}\r\n"),
    case("upgrade_h2c", Serve(404), "9110 7.8: may be ignored",
        "{G}{H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
    case("upgrade_h2c_body", Serve(200), "9110 7.8: may be ignored",
        "{P}{H}Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 13\r\n\r\n{B}"),
    case("upgrade_websocket", Serve(404), "9110 7.8: may be ignored",
        "{G}{H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    case("connection_close", Close(404), "9112 9.6", "{G}{H}Connection: close\r\n\r\n"),
    case("connection_both", Close(404), "9112 9.6", "{G}{H}Connection: keep-alive, close\r\n\r\n"),
    case("head_too_long", Close(431), "a limit", "{G}{H}X: {70K}\r\n\r\n"),
    case("head_too_long_canary", Close(431), "a limit", "{G}{H}X: {70K}\r\n\r\n{T}{T}"),
];

#[rustfmt::skip] // A table reads line by line.
const HOSTS: &[Case] = &[
    case("host_missing", Refuse, "9112 3.2", "{G}\r\n"),
    case("host_missing_post", Refuse, "9112 3.2", "{P}Content-Length: 13\r\n\r\n{B}"),
    case("host_twice", Refuse, "9112 3.2", "{G}{H}Host: b\r\n\r\n"),
    case("host_twice_same", Refuse, "9112 3.2", "{G}{H}{H}\r\n"),
    case("host_twice_1_0", Refuse, "9112 3.2", "GET {U} HTTP/1.0\r\n{H}{H}\r\n"),
    case("host_empty", Refuse, "9110 4.2.1", "{G}Host:\r\n\r\n"),
    case("host_space", Refuse, "9112 3.2", "{G}Host: a b\r\n\r\n"),
    case("host_list", Refuse, "9112 3.2", "{G}Host: a, b\r\n\r\n"),
    case("host_path", Refuse, "9112 3.2", "{G}Host: a/b\r\n\r\n"),
    case("host_user", Refuse, "9112 3.2", "{G}Host: u@a\r\n\r\n"),
    case("host_two_ports", Refuse, "9112 3.2", "{G}Host: a:1:2\r\n\r\n"),
    case("host_bad_port", Refuse, "9112 3.2", "{G}Host: a:b\r\n\r\n"),
    case("host_form_feed", Refuse, "9112 3.2", "{G}Host: a\x0c\r\n\r\n"),
    case("host_high_bytes", Refuse, "9112 3.2", "{G}Host: \u{e9}\r\n\r\n"),
    case("host_address", Serve(404), "9110 7.2", "{G}Host: [::1]:80\r\n\r\n"),
    case("host_missing_1_0", Close(404), "9112 3.2", "GET {U} HTTP/1.0\r\n\r\n"),
    case("absolute_same_host", Serve(404), "9112 3.2.2", "GET http://a{U} HTTP/1.1\r\n{H}\r\n"),
    case("absolute_other_host", Refuse, "9112 3.2.2", "GET http://b{U} HTTP/1.1\r\n{H}\r\n"),
    case("absolute_no_host", Refuse, "9112 3.2", "GET http://a{U} HTTP/1.1\r\n\r\n"),
    case("absolute_user", Refuse, "9110 4.2.4", "GET http://u@a{U} HTTP/1.1\r\n{H}\r\n"),
    case("absolute_other_scheme", Refuse, "9112 3.2.2", "GET ftp://a{U} HTTP/1.1\r\n{H}\r\n"),
];

#[rustfmt::skip] // A table reads line by line.
const REQUEST_LINES: &[Case] = &[
    case("authority_form", Refuse, "9112 3.2.3", "GET a:80 HTTP/1.1\r\n{H}\r\n"),
    case("connect", Refuse, "9112 3.2.3", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    case("connect_path", Refuse, "9112 3.2.3", "CONNECT {U} HTTP/1.1\r\n{H}\r\n"),
    case("asterisk_options", Serve(404), "9112 3.2.4", "OPTIONS * HTTP/1.1\r\n{H}\r\n"),
    case("asterisk_get", Refuse, "9112 3.2.4", "GET * HTTP/1.1\r\n{H}\r\n"),
    case("fragment", Refuse, "9112 3.2", "GET {U}#x HTTP/1.1\r\n{H}\r\n"),
    case("relative_target", Refuse, "9112 3.2", "GET v1/tokens HTTP/1.1\r\n{H}\r\n"),
    case("two_spaces", Refuse, "9112 3", "GET  {U} HTTP/1.1\r\n{H}\r\n"),
    case("two_spaces_before_version", Refuse, "9112 3", "GET {U}  HTTP/1.1\r\n{H}\r\n"),
    case("tab_for_space", Refuse, "9112 3", "GET\t{U}\tHTTP/1.1\r\n{H}\r\n"),
    case("space_behind_version", Refuse, "9112 3", "GET {U} HTTP/1.1 \r\n{H}\r\n"),
    case("space_before_method", Refuse, "9112 3", " GET {U} HTTP/1.1\r\n{H}\r\n"),
    case("space_in_target", Refuse, "9112 3.2", "GET {U} x HTTP/1.1\r\n{H}\r\n"),
    case("nul_in_target", Refuse, "9112 3.2", "GET {U}\0 HTTP/1.1\r\n{H}\r\n"),
    case("high_bytes_in_target", Refuse, "9112 3.2", "GET {U}\u{e9} HTTP/1.1\r\n{H}\r\n"),
    case("no_target", Refuse, "9112 3", "GET HTTP/1.1\r\n{H}\r\n"),
    case("no_method", Refuse, "9112 3", "{U} HTTP/1.1\r\n{H}\r\n"),
    case("no_version", Refuse, "9112 3", "GET {U}\r\n{H}\r\n"),
    case("version_0_9", Refuse, "9112 2.3", "GET {U} HTTP/0.9\r\n{H}\r\n"),
    case("version_1_2", Refuse, "9110 15.6.6: may be refused", "GET {U} HTTP/1.2\r\n{H}\r\n"),
    case("version_2_0", Refuse, "9112 2.3", "GET {U} HTTP/2.0\r\n{H}\r\n"),
    case("version_1_10", Refuse, "9112 2.3", "GET {U} HTTP/1.10\r\n{H}\r\n"),
    case("version_01_1", Refuse, "9112 2.3", "GET {U} HTTP/01.1\r\n{H}\r\n"),
    case("version_lower_case", Refuse, "9112 2.3", "GET {U} http/1.1\r\n{H}\r\n"),
    case("version_1", Refuse, "9112 2.3", "GET {U} HTTP/1\r\n{H}\r\n"),
    case("preface_not_first", Refuse, "9113 3.4", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    case("method_nul", Refuse, "9110 9.1", "GE\0T {U} HTTP/1.1\r\n{H}\r\n"),
    case("method_high_bytes", Refuse, "9110 9.1", "G\u{c9}T {U} HTTP/1.1\r\n{H}\r\n"),
    case("method_separator", Refuse, "9110 9.1", "G(T) {U} HTTP/1.1\r\n{H}\r\n"),
    case("method_lower_case", Serve(405), "9110 9.1: another method", "get {U} HTTP/1.1\r\n{H}\r\n"),
    case("version_1_0_keeps", Serve(404), "9112 9.3",
        "GET {U} HTTP/1.0\r\n{H}Connection: keep-alive\r\n\r\n"),
];
