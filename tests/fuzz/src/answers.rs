//! A strict parser of a server's answers: anything that is not exactly HTTP/1.1 is a finding.

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header that occurs at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "two headers {name}: {self:?}");
        value
    }

    /// The answer says that the connection closes.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// All answers. `may_be_bodiless`: some may be answers to HEAD, whose length is that of no body.
pub fn read(mut bytes: &[u8], may_be_bodiless: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (answer, len) = one(bytes, may_be_bodiless);
        bytes = &bytes[len..];
        answers.push(answer);
    }
    answers
}

fn one(bytes: &[u8], may_be_bodiless: bool) -> (Answer, usize) {
    let shown = String::from_utf8_lossy(bytes);
    let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let head_len = head_len.unwrap_or_else(|| panic!("no end of a head: {shown:?}"));
    let head = std::str::from_utf8(&bytes[..head_len]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("a status line");
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    let status: u16 = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
    assert!((100..600).contains(&status) && line.is_ascii(), "{line:?}");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_value = value.bytes().all(|b| (b' '..=b'~').contains(&b));
        assert!(is_name && is_value && !name.is_empty(), "{line:?}");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let headers = lines.map(header).collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    assert!(answer.header("transfer-encoding").is_none(), "{answer:?}");
    let rest = &bytes[head_len + 4..];
    let has_none = status < 200 || status == 204;
    let len = answer.header("content-length");
    assert_eq!(len.is_none(), has_none, "a length where there is a body: {answer:?}");
    let len: usize = len.map_or(0, |len| len.parse().expect("a length is a number"));
    let is_bodiless = may_be_bodiless && (rest.is_empty() || rest.starts_with(b"HTTP/1."));
    if len > 0 && !is_bodiless {
        assert!(rest.len() >= len, "cut short: {shown:?}");
        answer.body = rest[..len].to_vec();
    }
    let whole = head_len + 4 + answer.body.len();
    (answer, whole)
}
