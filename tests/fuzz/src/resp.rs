//! Commands of the Redis protocol: however the bytes are cut, the same commands are read, and they
//! are those that a second reader finds; a command that was read is the same once it is written
//! again; and what is remembered of a command that is arriving is bounded by what has arrived.

use jeton::resp::parse::{COMMAND_LEN_MAX, Malformed, Parsed, Parser};

/// Maximum words of a command.
const WORDS_MAX: i64 = 1 << 20;
/// Longer inputs would reach the limit of a line, which the second reader does not know.
const INPUT_LEN_MAX: usize = 60_000;

type Command = Vec<Vec<u8>>;

/// What was read: commands, and the mistake after them, if there is one.
type Read = (Vec<Command>, Option<Malformed>);

/// Reads the bytes after the first two, which say where they are cut.
pub fn check(bytes: &[u8]) {
    let [first, second, input @ ..] = bytes else { return };
    if input.len() > INPUT_LEN_MAX {
        return;
    }
    let whole = read(&[input]);
    assert_eq!(whole, expected(input), "{}", input.escape_ascii());
    let cut = |place: &u8| usize::from(*place) * (input.len() + 1) / 256;
    let (from, to) = (cut(first).min(cut(second)), cut(first).max(cut(second)));
    let pieces = [&input[..from], &input[from..to], &input[to..]];
    assert_eq!(read(&pieces), whole, "{} cut at {from} and {to}", input.escape_ascii());
    if input.len() <= 256 {
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(read(&single), whole, "{} byte by byte", input.escape_ascii());
    }
    for command in &whole.0 {
        let again = (vec![command.clone()], None);
        assert_eq!(read(&[&written(command)]), again, "{}", input.escape_ascii());
    }
}

/// Reads what arrives piece by piece, as a connection does.
fn read(pieces: &[&[u8]]) -> Read {
    let (mut parser, mut unread, mut commands) = (Parser::default(), Vec::new(), Vec::new());
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            let taken = match parser.next(&unread, false) {
                Parsed::Command(words, len) => {
                    commands.push(words.iter().map(|word| word.to_vec()).collect());
                    len
                }
                Parsed::Nothing(len) => len,
                Parsed::Partial => break,
                Parsed::Malformed(malformed) => return (commands, Some(malformed)),
            };
            assert!((1..=unread.len()).contains(&taken), "{taken} of {}", unread.len());
            unread.drain(..taken);
        }
        assert!(parser.capacity() <= 16 * unread.len() + 256, "{} bytes", parser.capacity());
    }
    (commands, None)
}

fn written(command: &Command) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The same, read as the documentation of the protocol says.
fn expected(mut input: &[u8]) -> Read {
    let mut commands = Vec::new();
    loop {
        let found = match input.first() {
            None => return (commands, None),
            Some(b'*') => array(input),
            Some(_) => inline(input),
        };
        match found {
            Ok(None) => return (commands, None),
            Ok(Some((words, rest))) => {
                input = rest;
                commands.extend((!words.is_empty()).then_some(words));
            }
            Err(malformed) => return (commands, Some(malformed)),
        }
    }
}

type Found<'a> = Result<Option<(Command, &'a [u8])>, Malformed>;

fn array(input: &[u8]) -> Found<'_> {
    let Some((count, mut rest)) = line(&input[1..]) else { return Ok(None) };
    let count = number(count).filter(|count| *count <= WORDS_MAX).ok_or(Malformed::Count)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let Some((kind, after)) = rest.split_first() else { return Ok(None) };
        if *kind != b'$' {
            return Err(Malformed::NoBulk(*kind));
        }
        let Some((len, after)) = line(after) else { return Ok(None) };
        let len = number(len).and_then(|len| usize::try_from(len).ok()).ok_or(Malformed::Len)?;
        if input.len() - after.len() + len > COMMAND_LEN_MAX {
            return Err(Malformed::Len);
        }
        if after.len() < len + 2 {
            return Ok(None);
        }
        words.push(after[..len].to_vec());
        rest = &after[len + 2..];
    }
    Ok(Some((words, rest)))
}

fn inline(input: &[u8]) -> Found<'_> {
    let Some((text, rest)) = line(input) else { return Ok(None) };
    let words = words(text).ok_or(Malformed::Quotes)?;
    Ok(Some((words, rest)))
}

/// The line that `input` begins with, and what follows it.
fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = input.iter().position(|byte| *byte == b'\n')?;
    let text = &input[..len];
    Some((text.strip_suffix(b"\r").unwrap_or(text), &input[len + 1..]))
}

/// A number that is written in the only way.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The words of a line; `None` if a quote is not closed, or something follows a closing one.
fn words(line: &[u8]) -> Option<Command> {
    let is_space = |byte: u8| byte == 0 || byte == 0x0b || byte.is_ascii_whitespace();
    let (mut words, mut at) = (Vec::new(), 0);
    loop {
        while at < line.len() && is_space(line[at]) {
            at += 1;
        }
        if at == line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        while at < line.len() && !is_space(line[at]) {
            let quote = line[at];
            if quote != b'"' && quote != b'\'' {
                word.push(quote);
                at += 1;
                continue;
            }
            at += 1;
            loop {
                let (byte, len) = character(line.get(at..)?, quote)?;
                at += len;
                match byte {
                    Some(byte) => word.push(byte),
                    None => break,
                }
            }
            if at < line.len() && !is_space(line[at]) {
                return None;
            }
        }
        words.push(word);
    }
}

/// The character within quotes that `text` begins with, and how many bytes it takes; no character is
/// the closing quote.
fn character(text: &[u8], quote: u8) -> Option<(Option<u8>, usize)> {
    let first = *text.first()?;
    if first == quote {
        return Some((None, 1));
    }
    let Some(next) = text.get(1).copied().filter(|_| first == b'\\') else {
        return Some((Some(first), 1));
    };
    if quote == b'\'' {
        return Some(if next == b'\'' { (Some(b'\''), 2) } else { (Some(b'\\'), 1) });
    }
    let hex = text.get(2..4).filter(|hex| next == b'x' && hex.iter().all(u8::is_ascii_hexdigit));
    if let Some(hex) = hex {
        let hex = std::str::from_utf8(hex).ok()?;
        return Some((u8::from_str_radix(hex, 16).ok(), 4));
    }
    let byte = match next {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    };
    Some((Some(byte), 2))
}
