//! Legal requests, one behind the other and cut anywhere: each is answered as it would be alone,
//! whether the hot path or hyper answers it, and none is refused.

use super::talk::{self, ONE};

/// Requests in one conversation.
const REQUESTS_MAX: usize = 16;
/// Nobody issued it.
const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A request and the status of its answer.
fn request(pick: u8) -> (String, u16) {
    let get = |token: &str, more: &str| format!("GET /v1/tokens/{token}{more}");
    match pick % 12 {
        0 => (get(NONE, " HTTP/1.1\r\nHost: a\r\n\r\n"), 404),
        1 => (get(ONE, " HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"), 200),
        // For the hot path, but for one header that it does not know.
        2 => (get(ONE, " HTTP/1.1\r\nHost: a\r\nX-Other: 1\r\n\r\n"), 200),
        3 => (get(ONE, "/status HTTP/1.1\r\nHost: a\r\n\r\n"), 200),
        // One empty line may stand before a request.
        4 => ("\r\n".to_owned() + &get(ONE, " HTTP/1.1\r\nHost: a\r\n\r\n"), 200),
        5 => ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        6 => ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        7 => (post("{\"tokens\":[]}"), 200),
        8 => (post(&format!("{{\"tokens\":[\"{ONE}\",\"{NONE}\"]}}")), 200),
        9 => (chunked(&["{\"tokens\"", ":[", "]}"], "\r\n"), 200),
        10 => (chunked(&["{\"tokens\":[]}"], "Trailer: x\r\n\r\n"), 200),
        // A malformed token is the client's mistake, and no reason to close.
        _ => (get("short", " HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
    }
}

fn post(body: &str) -> String {
    let len = body.len();
    format!(
        "POST /v1/resolve HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
}

fn chunked(pieces: &[&str], end: &str) -> String {
    let head = "POST /v1/resolve HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let chunks = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
    head.to_owned() + &chunks.collect::<String>() + "0\r\n" + end
}

/// The first byte says how many requests, as many bytes which ones, the rest how they are cut.
pub fn check(bytes: &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return };
    let (picks, cuts) = rest.split_at(rest.len().min(usize::from(*count) % (REQUESTS_MAX + 1)));
    let (requests, wanted): (Vec<_>, Vec<_>) = picks.iter().map(|pick| request(*pick)).unzip();
    let whole = requests.concat();
    let (mut pieces, mut left) = (Vec::new(), whole.as_bytes());
    for cut in cuts {
        let (piece, after) = left.split_at(left.len().min(usize::from(*cut)));
        pieces.push(piece);
        left = after;
    }
    pieces.push(left);
    pieces.retain(|piece| !piece.is_empty());
    for with_hot_path in [true, false] {
        let answers = talk::say(&mut talk::engine(), &pieces, with_hot_path);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(
            statuses,
            wanted,
            "hot path: {with_hot_path}, {whole:?} in {} pieces",
            pieces.len()
        );
    }
}
