//! HTTP/1.1 as RFC 9112 writes it, without what it lets a recipient forgive: the lines of a head, of
//! a chunk and of a trailer section, judged one by one.
//!
//! Where the grammar itself leaves room for two readings, the narrower one counts: a
//! Content-Length with a leading zero is not decimal for everybody, the same length said twice is
//! once too often. [`head`](super::head) puts the lines of a head together and says why.

use http::Uri;

/// A line that has another reading, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct NotStrict;

type Strict<T> = Result<T, NotStrict>;

const VERSION_1_1: &[u8] = b"HTTP/1.1";
const VERSION_1_0: &[u8] = b"HTTP/1.0";
/// The longest Content-Length and chunk size, in digits: both fit a `u64`.
const LENGTH_DIGITS_MAX: usize = 19;
const SIZE_DIGITS_MAX: usize = 15;

/// How the end of a request is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Framing {
    /// After so many bytes of body.
    Length(u64),
    /// After a chunk of size 0 and the trailers.
    Chunked,
}

/// What a request line says about how its head is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct RequestLine {
    pub(in crate::http) is_version_1_1: bool,
}

/// Whether a request line, or the empty line before it, can begin with this byte.
pub(in crate::http) fn may_begin(byte: u8) -> bool {
    is_token_byte(byte) || byte == b'\r'
}

/// A line without its end, which must be CRLF. A CR elsewhere is found by who reads the line.
pub(in crate::http) fn without_end(line: &[u8]) -> Strict<&[u8]> {
    line.strip_suffix(b"\r\n").ok_or(NotStrict)
}

/// Method, target and version, one space between them.
pub(in crate::http) fn request_line(line: &[u8]) -> Strict<RequestLine> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NotStrict);
    };
    ensure(is_token(method) && is_target(method, target))?;
    let is_version_1_1 = version == VERSION_1_1;
    ensure(is_version_1_1 || version == VERSION_1_0)?;
    Ok(RequestLine { is_version_1_1 })
}

/// Whether more bytes could make a request line of this, which has not ended.
pub(in crate::http) fn may_become_request_line(begun: &[u8]) -> bool {
    let mut parts = without_cr(begun).split(|byte| *byte == b' ');
    let [method, target, version] = [(); 3].map(|()| parts.next());
    let is_text =
        |part: Option<&[u8]>| part.is_none_or(|part| part.iter().all(u8::is_ascii_graphic));
    let is_version = |part: &[u8]| [VERSION_1_1, VERSION_1_0].iter().any(|it| it.starts_with(part));
    method.is_none_or(|method| method.iter().all(|byte| is_token_byte(*byte)))
        && is_text(target)
        && version.is_none_or(is_version)
        && parts.next().is_none()
}

/// Nothing here is a proxy or a tunnel: no CONNECT. A fragment is no part of a target.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    let is_form_known = match target {
        b"*" => method == b"OPTIONS",
        [b'/', ..] => true,
        _ => target.starts_with(b"http://") || target.starts_with(b"https://"),
    };
    is_form_known
        && method != b"CONNECT"
        && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
        && is_uri(target)
}

/// Whether hyper can read a target too: the library that it uses has the last word about odd bytes.
fn is_uri(target: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~:%".contains(byte);
    (target.starts_with(b"/") && target.iter().all(is_plain)) || Uri::try_from(target).is_ok()
}

/// Name and value of a field line. No space before the colon; a line that begins with a space
/// would go on the line before.
pub(in crate::http) fn field(line: &[u8]) -> Strict<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line).ok_or(NotStrict)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value_byte = |byte: &u8| !matches!(byte, 0..b' ' | 0x7F) || *byte == b'\t';
    ensure(is_token(name) && value.iter().all(is_value_byte))?;
    Ok((name, trimmed(value)))
}

/// Whether more bytes could make a field line of this, which has not ended.
pub(in crate::http) fn may_become_field(begun: &[u8]) -> bool {
    let begun = without_cr(begun);
    begun.iter().all(|byte| is_token_byte(*byte)) || field(begun).is_ok()
}

/// Without the CR that may begin the end of a line.
fn without_cr(begun: &[u8]) -> &[u8] {
    begun.strip_suffix(b"\r").unwrap_or(begun)
}

/// Without the optional white space of a field value, which is less than what ASCII trims.
pub(in crate::http) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A name or an address, and perhaps a port.
pub(in crate::http) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        Some(at) if !value.ends_with(b"]") => (&value[..at], &value[at + 1..]),
        _ => (value, &b""[..]),
    };
    let is_name_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte);
    let is_name = match host {
        [b'[', address @ .., b']'] => {
            address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
        }
        _ => host.iter().all(is_name_byte),
    };
    !host.is_empty() && is_name && port.iter().all(u8::is_ascii_digit)
}

/// The value of a Content-Length.
pub(in crate::http) fn length(value: &[u8]) -> Strict<u64> {
    let is_decimal = value == b"0" || !value.starts_with(b"0");
    let is_plain = is_decimal && value.iter().all(u8::is_ascii_digit);
    ensure((1..=LENGTH_DIGITS_MAX).contains(&value.len()) && is_plain)?;
    Ok(value.iter().fold(0, |length, digit| 10 * length + u64::from(digit - b'0')))
}

/// Size of the chunk that a line announces. Extensions are passed over, as RFC 9112, 7.1.1 wants.
pub(in crate::http) fn chunk_size(line: &[u8]) -> Strict<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    ensure((1..=SIZE_DIGITS_MAX).contains(&digits))?;
    let (size, extensions) = line.split_at(digits);
    if !extensions.is_empty() {
        let is_text = extensions.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        ensure(is_text && trimmed(extensions).starts_with(b";"))?;
    }
    let value = |digit: &u8| u64::from((*digit as char).to_digit(16).unwrap_or(0));
    Ok(size.iter().fold(0, |size, digit| 16 * size + value(digit)))
}

/// A line of a trailer section: of no consequence here, so it may not claim to have one.
pub(in crate::http) fn trailer(line: &[u8]) -> Strict<()> {
    let (name, _) = field(line)?;
    let of_the_head: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
    ensure(!of_the_head.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn ensure(holds: bool) -> Strict<()> {
    if holds { Ok(()) } else { Err(NotStrict) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_decimal_and_said_in_one_way() {
        assert_eq!(length(b"0"), Ok(0));
        assert_eq!(length(b"15"), Ok(15));
        for value in ["", "05", "00", "+5", "5,5", "0x5", "5 ", "99999999999999999999"] {
            assert_eq!(length(value.as_bytes()), Err(NotStrict), "{value:?}");
        }
    }

    #[test]
    fn a_target_is_one_that_hyper_reads_too() {
        for target in ["/", "/v1/tokens", "/a?b=c|d", "/a%20b", "//", "http://a/b", "/a|\"{}"] {
            let line = format!("GET {target} HTTP/1.1");
            assert_eq!(request_line(line.as_bytes()), Ok(RequestLine { is_version_1_1: true }));
        }
        for target in
            ["", "a", "*", "/a`", "/a<b>", "/a?<", "/#", "http://", "http:///a", "ftp://a/"]
        {
            let line = format!("GET {target} HTTP/1.1");
            assert_eq!(request_line(line.as_bytes()), Err(NotStrict), "{target:?}");
        }
    }

    #[test]
    fn a_line_that_has_begun_may_go_on_or_is_none_already() {
        let lines = ["GET / HTTP/1.1", "M!* /x?y HTTP/1.0"];
        for line in lines.map(str::as_bytes) {
            for len in 0..=line.len() {
                assert!(may_become_request_line(&line[..len]), "{len} of {line:?}");
            }
            assert!(may_become_request_line(&[line, b"\r"].concat()));
        }
        for line in ["G\0", "GET /\x01", "GET / HTTP/2", "GET / HTTP/1.1 ", "GET / x", "G\rT"] {
            assert!(!may_become_request_line(line.as_bytes()), "{line:?}");
        }
        for line in ["", "X", "X:", "X: y\t", "X: \u{e9}\r", "\r"] {
            assert!(may_become_field(line.as_bytes()), "{line:?}");
        }
        for line in ["X y", " X", "X\0", "X: \0", "X: y\rz", ":"] {
            assert!(!may_become_field(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in ["a", "a.b-c:80", "127.0.0.1:7450", "[::1]", "[::1]:7450", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["", ":80", "a b", "a,b", "a/b", "u@a", "a:b:1", "[::1", "a:8o", "a\u{e9}"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn chunk_sizes_are_hexadecimal_and_extensions_text() {
        assert_eq!(chunk_size(b"fF"), Ok(255));
        assert_eq!(chunk_size(b"5;a=\"b\""), Ok(5));
        assert_eq!(chunk_size(b"5 ; a"), Ok(5));
        for line in ["", "5 ", " 5", "0x5", "5_0", "-5", "+5", "5;\0", "5\r;a", "1000000000000000"]
        {
            assert_eq!(chunk_size(line.as_bytes()), Err(NotStrict), "{line:?}");
        }
    }
}
