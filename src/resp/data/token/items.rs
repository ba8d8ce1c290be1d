//! Tokens and references in `TOKEN.…` commands.
//!
//! One token is a key, or the four words `REF order_number created_at amount`, where an empty word
//! stands for a field that is not given. A list is a number of keys, that many keys, and then any
//! number of references. So no key can be mistaken for a reference, whatever it is called.

use bytes::Bytes;

use crate::model::reference::Reference;
use crate::model::token::Digest;
use crate::resp::data::asked::Asked;
use crate::resp::data::mistake::Mistake;
use crate::resp::data::words::{integer, is};
use crate::service::tokens::Tokens;

/// Words of a reference: `REF` and its three fields.
pub(super) const REF_LEN: usize = 4;

/// The reference in three words, of which an empty one is a field that is not given.
pub(super) fn reference(fields: &[Bytes]) -> Result<Reference, Mistake> {
    let field = |place: usize| match fields.get(place) {
        Some(word) if !word.is_empty() => {
            let text = std::str::from_utf8(word);
            text.map(Some).map_err(|_| Mistake::text("REF: a field must be UTF-8"))
        }
        _ => Ok(None),
    };
    let [order_number, created_at, amount] = [field(0)?, field(1)?, field(2)?];
    let read = Reference::new(order_number, created_at, amount);
    read.map_err(|error| Mistake::text(error.to_string()))
}

/// The digest of a reference's token.
fn referred(asked: &Asked<'_>, fields: &[Bytes]) -> Result<Digest, Mistake> {
    asked.may_refer()?;
    let digester = &asked.context.access.digester;
    let token = digester.token_for_reference(reference(fields)?.canonical());
    Ok(digester.digest(&token))
}

/// One token, at the begin of the words, and the words after it. `option_lens` are the numbers of
/// words that the command may have after it.
pub(super) fn one<'a>(
    asked: &Asked<'a>,
    option_lens: &[usize],
) -> Result<(Tokens, &'a [Bytes]), Mistake> {
    let words = asked.words;
    let ends = |len: usize| {
        let after = words.len().checked_sub(len);
        after.is_some_and(|after| option_lens.contains(&after))
    };
    if ends(REF_LEN) && is(&words[0], "REF") {
        let (item, options) = words.split_at(REF_LEN);
        let digests = vec![referred(asked, &item[1..])?];
        return Ok((Tokens { digests, by_reference: vec![0] }, options));
    }
    if !ends(1) {
        return Err(Mistake::Syntax);
    }
    let tokens = Tokens { digests: vec![asked.key(0)?], by_reference: Vec::new() };
    Ok((tokens, &words[1..]))
}

/// A list at the begin of the words, and the words after it.
pub(super) fn many<'a>(asked: &Asked<'a>) -> Result<(Tokens, &'a [Bytes]), Mistake> {
    let (count, mut rest) = asked.words.split_first().ok_or(Mistake::Syntax)?;
    let count = integer(count).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(Mistake::text("numkeys should be 0 or more"))?;
    if count > rest.len() {
        return Err(Mistake::text("Number of keys can't be greater than number of args"));
    }
    let mut digests = asked.keys_of(&rest[..count])?;
    let mut by_reference = Vec::new();
    rest = &rest[count..];
    while rest.len() >= REF_LEN && is(&rest[0], "REF") {
        asked.check_count(digests.len() + 1)?;
        by_reference.push(digests.len());
        digests.push(referred(asked, &rest[1..REF_LEN])?);
        rest = &rest[REF_LEN..];
    }
    Ok((Tokens { digests, by_reference }, rest))
}
