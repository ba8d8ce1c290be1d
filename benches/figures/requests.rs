//! What each kind of server is asked, and what it must answer: tokens, payloads, encodings.

use std::net::SocketAddr;

use crate::wire::{self, Protocol};

/// Bytes of a token as it is shown, and of the keys that stand for it elsewhere.
pub const KEY_BYTES: usize = 32;
/// Bytes of a payload.
pub const PAYLOAD_BYTES: usize = 128;

/// A token, or the key of the same length that a store without tokens is given.
pub type Key = [u8; KEY_BYTES];

/// A server to ask.
#[derive(Clone, Debug)]
pub struct Target {
    pub protocol: Protocol,
    pub address: SocketAddr,
    host: String,
}

impl Target {
    /// A server that speaks `protocol` at `address`.
    pub fn new(protocol: Protocol, address: SocketAddr) -> Self {
        Self { protocol, address, host: address.to_string() }
    }

    /// Appends a look-up of `keys`, as a batch where there are several.
    pub fn encode_get(&self, keys: &[&Key], batch: bool, output: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Http if batch => self.encode_token_list("/v1/resolve", keys, output),
            Protocol::Http => {
                for key in keys {
                    self.encode_http("GET", &[b"/v1/tokens/", &key[..]], None, output);
                }
            }
            Protocol::Resp => {
                let name: &[u8] = if batch { b"MGET" } else { b"GET" };
                let words = std::iter::once(name).chain(keys.iter().map(|key| &key[..]));
                encode_resp(keys.len() + 1, words, output);
            }
            Protocol::Memcached => {
                output.extend_from_slice(b"get");
                for key in keys {
                    output.push(b' ');
                    output.extend_from_slice(&key[..]);
                }
                output.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends a consume of `keys`; only tokens can be consumed.
    pub fn encode_consume(&self, keys: &[&Key], output: &mut Vec<u8>) {
        self.encode_token_list("/v1/consume", keys, output);
    }

    /// Appends the issue of the tokens `indices`, each with its time to live in milliseconds.
    /// Where tokens are issued in batches, it is one request; elsewhere `keys` names the one key.
    pub fn encode_issue(
        &self,
        items: &[(usize, u64)],
        key: Option<&Key>,
        batch: bool,
        output: &mut Vec<u8>,
    ) {
        let mut body = Vec::with_capacity(items.len() * (PAYLOAD_BYTES + 40) + 16);
        match (self.protocol, items, key) {
            (Protocol::Http, _, _) => {
                if batch {
                    body.extend_from_slice(b"{\"tokens\":[");
                }
                for (at, &(index, ttl_ms)) in items.iter().enumerate() {
                    if at > 0 {
                        body.push(b',');
                    }
                    body.extend_from_slice(b"{\"payload\":");
                    body.extend_from_slice(&payload(index));
                    body.extend_from_slice(format!(",\"ttl\":\"{ttl_ms}ms\"}}").as_bytes());
                }
                if batch {
                    body.extend_from_slice(b"]}");
                }
                let path: &[u8] = if batch { b"/v1/tokens/batch" } else { b"/v1/tokens" };
                self.encode_http("POST", &[path], Some(&body), output);
            }
            (Protocol::Resp, &[(index, ttl_ms)], Some(key)) => {
                let ttl = ttl_ms.to_string();
                let words: [&[u8]; 5] = [b"SET", key, &payload(index), b"PX", ttl.as_bytes()];
                encode_resp(words.len(), words.into_iter(), output);
            }
            (Protocol::Memcached, &[(index, ttl_ms)], Some(key)) => {
                output.extend_from_slice(b"set ");
                output.extend_from_slice(key);
                let rest = format!(" 0 {} {PAYLOAD_BYTES}\r\n", ttl_ms.div_ceil(1000));
                output.extend_from_slice(rest.as_bytes());
                output.extend_from_slice(&payload(index));
                output.extend_from_slice(b"\r\n");
            }
            _ => unreachable!("stores without tokens are given one key at a time"),
        }
    }

    fn encode_token_list(&self, path: &str, keys: &[&Key], output: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(keys.len() * (KEY_BYTES + 3) + 16);
        body.extend_from_slice(b"{\"tokens\":[");
        for (at, key) in keys.iter().enumerate() {
            body.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
            body.extend_from_slice(&key[..]);
            body.push(b'"');
        }
        body.extend_from_slice(b"]}");
        self.encode_http("POST", &[path.as_bytes()], Some(&body), output);
    }

    fn encode_http(&self, method: &str, path: &[&[u8]], body: Option<&[u8]>, output: &mut Vec<u8>) {
        output.extend_from_slice(method.as_bytes());
        output.push(b' ');
        for part in path {
            output.extend_from_slice(part);
        }
        output.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        output.extend_from_slice(self.host.as_bytes());
        if let Some(body) = body {
            output.extend_from_slice(b"\r\nContent-Type: application/json\r\nContent-Length: ");
            output.extend_from_slice(body.len().to_string().as_bytes());
            output.extend_from_slice(b"\r\n\r\n");
            output.extend_from_slice(body);
        } else {
            output.extend_from_slice(b"\r\n\r\n");
        }
    }

    /// Compares an answer to a look-up with the payloads it must carry, in the order asked.
    pub fn check_payloads(
        &self,
        answer: &[u8],
        asked: &[(&Key, usize)],
        batch: bool,
    ) -> Result<(), String> {
        let mut expected = Vec::with_capacity(asked.len() * (PAYLOAD_BYTES + 60) + 16);
        let got = match self.protocol {
            Protocol::Http => {
                expect_http_payloads(asked, batch, &mut expected);
                let parts = wire::http_answer(answer)?;
                if parts.status != 200 {
                    return Err(format!("not a 200: {}", wire::excerpt(answer)));
                }
                parts.body
            }
            Protocol::Resp => {
                if batch {
                    expected.extend_from_slice(format!("*{}\r\n", asked.len()).as_bytes());
                }
                for (_, index) in asked {
                    push_bulk(&payload(*index), &mut expected);
                }
                answer
            }
            Protocol::Memcached => {
                for (key, index) in asked {
                    expected.extend_from_slice(b"VALUE ");
                    expected.extend_from_slice(&key[..]);
                    expected.extend_from_slice(format!(" 0 {PAYLOAD_BYTES}\r\n").as_bytes());
                    expected.extend_from_slice(&payload(*index));
                    expected.extend_from_slice(b"\r\n");
                }
                expected.extend_from_slice(b"END\r\n");
                answer
            }
        };
        compare(got, &expected)
    }

    /// Checks the answer to an issue; appends the tokens that were issued, where it names them.
    pub fn check_issue(
        &self,
        answer: &[u8],
        items: usize,
        batch: bool,
        tokens: &mut Vec<Key>,
    ) -> Result<(), String> {
        match self.protocol {
            Protocol::Http => {
                let parts = wire::http_answer(answer)?;
                if parts.status != if batch { 200 } else { 201 } {
                    return Err(format!("an issue was refused: {}", wire::excerpt(answer)));
                }
                let before = tokens.len();
                collect_tokens(parts.body, tokens);
                if tokens.len() - before != items {
                    let got = tokens.len() - before;
                    return Err(format!(
                        "{got} of {items} tokens in {}",
                        wire::excerpt(parts.body)
                    ));
                }
                Ok(())
            }
            Protocol::Resp => compare(answer, b"+OK\r\n"),
            Protocol::Memcached => compare(answer, b"STORED\r\n"),
        }
    }
}

fn expect_http_payloads(asked: &[(&Key, usize)], batch: bool, expected: &mut Vec<u8>) {
    if batch {
        expected.push(b'[');
    }
    for (at, (_, index)) in asked.iter().enumerate() {
        if at > 0 {
            expected.push(b',');
        }
        expected.extend_from_slice(&payload(*index));
    }
    if batch {
        expected.push(b']');
    }
}

fn collect_tokens(body: &[u8], tokens: &mut Vec<Key>) {
    let mut rest = body;
    while let Some(at) = wire::find_end(rest, b"\"token\":\"") {
        rest = &rest[at..];
        let Some((token, after)) = rest.split_first_chunk::<KEY_BYTES>() else {
            return;
        };
        if after.first() == Some(&b'"') {
            tokens.push(*token);
        }
        rest = after;
    }
}

fn compare(got: &[u8], expected: &[u8]) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    let at = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    Err(format!(
        "differs at byte {at}: expected {}, got {}",
        wire::excerpt(&expected[at..]),
        wire::excerpt(&got[at..])
    ))
}

/// The payload number `index`: JSON of exactly [`PAYLOAD_BYTES`] bytes, different for each index.
pub fn payload(index: usize) -> [u8; PAYLOAD_BYTES] {
    const TEMPLATE: &[u8; PAYLOAD_BYTES] = b"{\"order_number\":\"0000000000\",\
        \"amount\":\"1129.90\",\"currency\":\"EUR\",\"shop\":\"Gartenbedarf Nord\",\
        \"created_at\":\"2026-03-01T10:15:30Z\"}";
    const DIGITS: std::ops::Range<usize> = 17..27;
    let mut bytes = *TEMPLATE;
    let mut rest = index;
    for digit in bytes[DIGITS].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    bytes
}

/// The key number `index` for stores that have no tokens of their own: as long as a token, and
/// as evenly spread.
pub fn derived_key(index: usize) -> Key {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut key = [0; KEY_BYTES];
    for (part, characters) in key.chunks_mut(8).enumerate() {
        let mut bits = mix((index * 4 + part) as u64);
        for character in characters {
            *character = ALPHABET[(bits % 64) as usize];
            bits /= 64;
        }
    }
    key
}

/// SplitMix64: an even spread of consecutive numbers.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn encode_resp<'a>(count: usize, words: impl Iterator<Item = &'a [u8]>, output: &mut Vec<u8>) {
    output.extend_from_slice(format!("*{count}\r\n").as_bytes());
    for word in words {
        push_bulk(word, output);
    }
}

fn push_bulk(word: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    output.extend_from_slice(word);
    output.extend_from_slice(b"\r\n");
}
