//! Compares two JSON texts by value, so that a repeated issue is recognised even if a library has
//! serialized its payload in another order or spacing.
//!
//! | value | is the same as |
//! |---|---|
//! | object | one with the same members in any order |
//! | object with a repeated member name | one with the same bytes: its meaning is undefined (RFC 8259, 4) |
//! | array | one with the same values in the same order |
//! | string, name | one with the same characters after unescaping; nothing is normalised |
//! | number | one with the same decimal value: `1.0`, `1` and `10e-1`, `-0` and `0` |
//!
//! Numbers are never expanded: their digits and their exponents are compared. Exponents of more
//! than [`EXPONENT_DIGITS_MAX`] digits are equal only if their digits are identical.
//!
//! The work is proportional to the length of both texts (sorting members aside), and the memory to
//! their number of values: [`memory_needed`].

use std::cmp::Ordering;

#[cfg(test)]
mod tests;

/// Maximum nesting depth of the comparison: deeper texts are equal only if their bytes are
/// identical.
pub const DEPTH_MAX: usize = 128;
/// Maximum digits of an exponent that is compared by its value.
pub const EXPONENT_DIGITS_MAX: usize = 30;

/// Maximum memory for comparing `text` with another text, in bytes: a node for each value, the
/// position of each member while members are sorted, and the digits of one number.
#[must_use]
pub fn memory_needed(text: &str) -> usize {
    values_max(text) * (size_of::<Node>() + size_of::<(usize, usize)>()) + text.len()
}

/// Upper bound of the number of values in `text`: each but the first comes after one of these
/// characters.
fn values_max(text: &str) -> usize {
    1 + text.bytes().filter(|byte| b"[{:,".contains(byte)).count()
}

/// Whether two texts, both valid JSON, have the same value.
#[must_use]
pub fn same_value(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (Tree::of(one), Tree::of(other)) else { return false };
    same(&one, 0, &other, 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Literal,
    Number,
    Text,
    Array,
    Object,
}

/// One value; the values of a container follow it.
struct Node {
    kind: Kind,
    /// Start and end of its text.
    start: u32,
    end: u32,
    /// The first node after it.
    next: u32,
}

/// The values of a text in their order, names of members among them.
struct Tree<'t> {
    text: &'t str,
    nodes: Vec<Node>,
}

impl<'t> Tree<'t> {
    /// `None` if the text is nested too deeply, or is not JSON.
    fn of(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        u32::try_from(bytes.len()).ok()?;
        let (mut nodes, mut open) = (Vec::<Node>::with_capacity(values_max(text)), Vec::new());
        let mut at = 0;
        while let Some(first) = bytes.get(at) {
            let kind = match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => {
                    at += 1;
                    continue;
                }
                b']' | b'}' => {
                    at += 1;
                    let container: usize = open.pop()?;
                    let next = nodes.len() as u32;
                    let node = nodes.get_mut(container)?;
                    (node.end, node.next) = (at as u32, next);
                    continue;
                }
                b'[' => Kind::Array,
                b'{' => Kind::Object,
                b'"' => Kind::Text,
                b'-' | b'0'..=b'9' => Kind::Number,
                _ => Kind::Literal,
            };
            let end = match kind {
                Kind::Array | Kind::Object if open.len() == DEPTH_MAX => return None,
                Kind::Array | Kind::Object => {
                    open.push(nodes.len());
                    at + 1
                }
                Kind::Text => end_of_text(bytes, at)?,
                Kind::Number | Kind::Literal => end_of_word(text, at),
            };
            let next = nodes.len() as u32 + 1;
            nodes.push(Node { kind, start: at as u32, end: end as u32, next });
            at = end;
        }
        (open.is_empty() && !nodes.is_empty()).then_some(Tree { text, nodes })
    }

    fn raw(&self, node: usize) -> &'t str {
        let node = &self.nodes[node];
        &self.text[node.start as usize..node.end as usize]
    }

    /// The values directly in a container.
    fn inside(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.nodes[node].next as usize;
        let mut at = node + 1;
        std::iter::from_fn(move || {
            let found = (at < end).then_some(at)?;
            at = self.nodes[found].next as usize;
            Some(found)
        })
    }

    /// Name and value of each member of an object, sorted by name; `None` if a name is repeated.
    fn members(&self, node: usize) -> Option<Vec<(usize, usize)>> {
        let mut inside = self.inside(node);
        let pairs = std::iter::from_fn(|| Some((inside.next()?, inside.next()?)));
        let mut members: Vec<_> = pairs.collect();
        let by_name = |a: &usize, b: &usize| compare(self.raw(*a), self.raw(*b));
        members.sort_unstable_by(|(a, _), (b, _)| by_name(a, b));
        let is_double = |pair: &[(usize, usize)]| by_name(&pair[0].0, &pair[1].0).is_eq();
        (!members.windows(2).any(is_double)).then_some(members)
    }
}

/// The offset after the closing quote of a string.
fn end_of_text(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The offset after a number or a literal, at least one character further.
fn end_of_word(text: &str, start: usize) -> usize {
    let is_part = |one: char| one.is_ascii_alphanumeric() || "+-.".contains(one);
    let first_len = text[start..].chars().next().map_or(0, char::len_utf8);
    let len = text[start..].find(|one| !is_part(one)).unwrap_or(text.len() - start);
    start + len.max(first_len)
}

/// Not deeper than [`DEPTH_MAX`]: a deeper text has no tree.
fn same(one: &Tree<'_>, a: usize, other: &Tree<'_>, b: usize) -> bool {
    if one.nodes[a].kind != other.nodes[b].kind {
        return false;
    }
    match one.nodes[a].kind {
        Kind::Literal => one.raw(a) == other.raw(b),
        Kind::Number => Decimal::of(one.raw(a)) == Decimal::of(other.raw(b)),
        Kind::Text => compare(one.raw(a), other.raw(b)).is_eq(),
        Kind::Array => {
            let (mut left, mut right) = (one.inside(a), other.inside(b));
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if same(one, a, other, b) => {}
                    _ => return false,
                }
            }
        }
        Kind::Object => match (one.members(a), other.members(b)) {
            (Some(left), Some(right)) => {
                left.len() == right.len()
                    && left.iter().zip(&right).all(|((name, value), (other_name, other_value))| {
                        compare(one.raw(*name), other.raw(*other_name)).is_eq()
                            && same(one, *value, other, *other_value)
                    })
            }
            _ => one.raw(a) == other.raw(b),
        },
    }
}

/// The order of two texts, with their quotes, by their characters after unescaping.
fn compare(one: &str, other: &str) -> Ordering {
    let inside = |text| Characters(without_quotes(text));
    inside(one).cmp(inside(other))
}

fn without_quotes(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1)).unwrap_or("")
}

/// The characters of a string after unescaping; an unpaired surrogate counts as a character.
struct Characters<'t>(&'t str);

impl Characters<'_> {
    fn take(&mut self) -> Option<char> {
        let mut rest = self.0.chars();
        let first = rest.next()?;
        self.0 = rest.as_str();
        Some(first)
    }

    fn hex(&mut self) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(4)?;
        self.0 = rest;
        u32::from_str_radix(digits, 16).ok()
    }

    /// The second half of a pair, if it follows.
    fn low_half(&mut self) -> Option<u32> {
        let mut ahead = Characters(self.0.strip_prefix("\\u")?);
        let low = ahead.hex().filter(|low| (0xDC00..0xE000).contains(low))?;
        self.0 = ahead.0;
        Some(low)
    }
}

impl Iterator for Characters<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let first = self.take()?;
        if first != '\\' {
            return Some(u32::from(first));
        }
        Some(match self.take()? {
            'b' => 8,
            't' => 9,
            'n' => 10,
            'f' => 12,
            'r' => 13,
            'u' => match self.hex()? {
                high @ 0xD800..0xDC00 => match self.low_half() {
                    Some(low) => 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                    None => high,
                },
                unit => unit,
            },
            literal => u32::from(literal),
        })
    }
}

/// A number: its digits without zeros at the ends, and the power of ten of the last of them.
#[derive(PartialEq, Eq)]
struct Decimal<'t> {
    is_negative: bool,
    digits: Vec<u8>,
    exponent: Exponent<'t>,
}

#[derive(PartialEq, Eq)]
enum Exponent<'t> {
    Value(i128),
    /// Too long for arithmetic: the exponent as written, and the number that the digits would add.
    Written(&'t str, i128),
}

impl<'t> Decimal<'t> {
    fn of(text: &'t str) -> Self {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, written) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        let trailing = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        digits.truncate(digits.len() - trailing);
        if digits.is_empty() {
            return Decimal { is_negative: false, digits, exponent: Exponent::Value(0) };
        }
        let shift = trailing as i128 - fraction.len() as i128;
        let (sign, size) = match written.as_bytes().first() {
            Some(b'-') => (-1, &written[1..]),
            Some(b'+') => (1, &written[1..]),
            _ => (1, written),
        };
        let size = size.trim_start_matches('0');
        let exponent = match size.parse::<i128>() {
            _ if size.is_empty() => Exponent::Value(shift),
            Ok(size_value) if size.len() <= EXPONENT_DIGITS_MAX => {
                Exponent::Value(sign * size_value + shift)
            }
            _ => Exponent::Written(written, shift),
        };
        Decimal { is_negative, digits, exponent }
    }
}
