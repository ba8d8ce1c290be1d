//! The three wire formats, read only as far as needed: where an answer ends, and what it carries.

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with `content-length`.
    Http,
    /// The Redis protocol, version 2.
    Resp,
    /// The memcached text protocol.
    Memcached,
}

/// The parts of an HTTP answer.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpAnswer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Where the first answer in `input` ends.
///
/// Gives `None` while it is incomplete, and an error when it is not this protocol.
pub fn answer_len(protocol: Protocol, input: &[u8]) -> Result<Option<usize>, String> {
    match protocol {
        Protocol::Http => http_len(input),
        Protocol::Resp => resp_len(input),
        Protocol::Memcached => memcached_len(input),
    }
}

/// Splits one whole HTTP answer, as found by [`answer_len`].
pub fn http_answer(answer: &[u8]) -> Result<HttpAnswer<'_>, String> {
    let head = head_end(answer).ok_or("an HTTP answer without an end of its head")?;
    let status = answer
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .ok_or("an HTTP answer without a status")?;
    Ok(HttpAnswer { status, body: &answer[head..] })
}

/// The position behind the first `needle`.
pub fn find_end(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|&byte| byte == first) {
        let start = from + at;
        if haystack[start..].starts_with(needle) {
            return Some(start + needle.len());
        }
        from = start + 1;
    }
    None
}

fn head_end(input: &[u8]) -> Option<usize> {
    find_end(input, b"\r\n\r\n")
}

fn http_len(input: &[u8]) -> Result<Option<usize>, String> {
    if !input.starts_with(&b"HTTP/1.1 "[..input.len().min(9)]) {
        return Err(format!("not an HTTP/1.1 answer: {}", excerpt(input)));
    }
    let Some(head) = head_end(input) else {
        return Ok(None);
    };
    let body = match content_length(&input[..head])? {
        Some(length) => length,
        None if input[9..].starts_with(b"204") => 0,
        None => return Err(format!("no content-length: {}", excerpt(&input[..head]))),
    };
    Ok(Some(head + body).filter(|&whole| whole <= input.len()))
}

fn content_length(head: &[u8]) -> Result<Option<usize>, String> {
    const NAME: &[u8] = b"content-length:";
    for line in head.split(|&byte| byte == b'\n') {
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            return number(&line[NAME.len()..]).map(Some);
        }
    }
    Ok(None)
}

fn number(text: &[u8]) -> Result<usize, String> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| format!("not a number: {}", excerpt(text)))
}

fn resp_len(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(line) = find_end(input, b"\r\n") else {
        return Ok(None);
    };
    let argument = &input[1..line - 2];
    let whole = match input[0] {
        b'+' | b'-' | b':' => line,
        b'$' | b'*' if argument == b"-1" => line,
        b'$' => line + number(argument)? + 2,
        b'*' => return resp_array_len(input, line, number(argument)?),
        _ => return Err(format!("not a RESP answer: {}", excerpt(input))),
    };
    Ok(Some(whole).filter(|&whole| whole <= input.len()))
}

fn resp_array_len(input: &[u8], head: usize, elements: usize) -> Result<Option<usize>, String> {
    let mut end = head;
    for _ in 0..elements {
        match resp_len(&input[end..])? {
            Some(length) => end += length,
            None => return Ok(None),
        }
    }
    Ok(Some(end))
}

fn memcached_len(input: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(rest) = input.get(at..) else {
            return Ok(None);
        };
        let Some(line) = find_end(rest, b"\r\n") else {
            return Ok(None);
        };
        let words = &rest[..line - 2];
        at += line;
        if !words.starts_with(b"VALUE ") {
            return Ok(Some(at));
        }
        let size = words.rsplit(|&byte| byte == b' ').next().unwrap_or(b"");
        at += number(size)? + 2;
    }
}

/// The beginning of some bytes, printable, for an error text.
pub fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 240;
    let shown = bytes[..bytes.len().min(MOST)].escape_ascii();
    match bytes.len().checked_sub(MOST) {
        Some(rest) if rest > 0 => format!("\"{shown}\" and {rest} bytes more"),
        _ => format!("\"{shown}\""),
    }
}

/// Proves that an answer is found whole, and only whole, however it is cut.
pub fn self_check() -> Result<(), String> {
    let samples: [(Protocol, &[u8]); 8] = [
        (Protocol::Http, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull"),
        (Protocol::Http, b"HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n\r\n"),
        (Protocol::Resp, b"+OK\r\n"),
        (Protocol::Resp, b"$-1\r\n"),
        (Protocol::Resp, b"$3\r\na\r\n\r\n"),
        (Protocol::Resp, b"*3\r\n$1\r\na\r\n$-1\r\n:12\r\n"),
        (Protocol::Memcached, b"STORED\r\n"),
        (Protocol::Memcached, b"VALUE a 0 5\r\nEND\r\n\r\nVALUE b 0 1\r\nb\r\nEND\r\n"),
    ];
    for (protocol, sample) in samples {
        for cut in 0..sample.len() {
            if answer_len(protocol, &sample[..cut])?.is_some() {
                return Err(format!("{protocol:?} took {cut} bytes of {}", excerpt(sample)));
            }
        }
        let followed = [sample, sample].concat();
        if answer_len(protocol, &followed)? != Some(sample.len()) {
            return Err(format!("{protocol:?} did not find the end of {}", excerpt(sample)));
        }
    }
    if answer_len(Protocol::Http, b"nonsense").is_ok()
        || answer_len(Protocol::Resp, b"!\r\n").is_ok()
    {
        return Err("nonsense passed for an answer".to_owned());
    }
    Ok(())
}
