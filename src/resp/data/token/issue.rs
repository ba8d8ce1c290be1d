//! `TOKEN.ISSUE` and `TOKEN.MISSUE`: new tokens.

use bytes::Bytes;

use super::items::{REF_LEN, reference};
use super::named::{idempotency_key, not_queued};
use crate::model::entry::USES_MAX;
use crate::resp::data::asked::Asked;
use crate::resp::data::expiry::{Expiry, Unit};
use crate::resp::data::mistake::Mistake;
use crate::resp::data::plan::{Answer, Ask, Plan};
use crate::resp::data::words::{integer, is};
use crate::service::ops::issue::Wanted;
use crate::service::values::stored;

/// `TOKEN.ISSUE payload [EX s | PX ms | EXAT s | PXAT ms] [USES n] [NOPEEK] [KEY idempotency-key |
/// REF order_number created_at amount]`
pub(in crate::resp::data) fn one(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    let (wanted, key) = read(asked, asked.words)?;
    let is_derived = key.is_some() || wanted.reference.is_some();
    if asked.is_queued && is_derived {
        return Err(not_queued());
    }
    Ok(Plan::new(Ask::Issue(wanted, key), Answer::Token))
}

/// `TOKEN.MISSUE numwords payload [option …] [numwords payload [option …] …]`: each token is issued
/// by itself, and answered with itself or with an error.
pub(in crate::resp::data) fn many(asked: &Asked<'_>) -> Result<Plan, Mistake> {
    if asked.is_queued {
        return Err(not_queued());
    }
    let (mut rest, mut wanted) = (asked.words, Vec::new());
    while let Some((count, after)) = rest.split_first() {
        asked.check_count(wanted.len() + 1)?;
        let count = integer(count).and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=after.len()).contains(count));
        let count = count.ok_or(Mistake::text(
            "numwords should be the number of words of a token, at least 1",
        ))?;
        let (words, others) = after.split_at(count);
        wanted.push(match read(asked, words) {
            Ok((_, Some(_))) => Err(Mistake::text("KEY is not possible in a list; use REF")),
            Ok((wanted, None)) => Ok(wanted),
            Err(mistake) => Err(mistake),
        });
        rest = others;
    }
    Ok(Plan::new(Ask::IssueEach(wanted), Answer::Tokens))
}

/// Reads one token: its payload, and its options.
fn read(asked: &Asked<'_>, words: &[Bytes]) -> Result<(Wanted, Option<Bytes>), Mistake> {
    let value = asked.value_of(words.first().cloned().unwrap_or_default())?;
    let payload = stored(&value).into();
    let mut wanted =
        Wanted { payload, ttl: asked.default_ttl(), uses: 1, peek: true, reference: None };
    let (mut key, mut expiry, mut place) = (None, None, 1);
    let [mut has_uses, mut has_name] = [false; 2];
    while let Some(option) = words.get(place) {
        let value = words.get(place + 1);
        place += match (Unit::of(option), value) {
            (Some(unit), Some(count)) if expiry.is_none() => {
                expiry = Some(Expiry { unit, count });
                2
            }
            (None, Some(count)) if is(option, "USES") && !has_uses => {
                wanted.uses = uses(count)?;
                has_uses = true;
                2
            }
            (None, _) if is(option, "NOPEEK") && wanted.peek => {
                wanted.peek = false;
                1
            }
            (None, Some(value)) if is(option, "KEY") && !has_name => {
                key = Some(idempotency_key(value)?);
                has_name = true;
                2
            }
            (None, Some(_)) if is(option, "REF") && !has_name => {
                let fields = words.get(place + 1..place + REF_LEN).ok_or(Mistake::Syntax)?;
                wanted.reference = Some(reference(fields)?);
                has_name = true;
                REF_LEN
            }
            _ => return Err(Mistake::Syntax),
        };
    }
    if let Some(expiry) = expiry {
        wanted.ttl = asked.ttl(&expiry)?;
    }
    Ok((wanted, key))
}

fn uses(word: &[u8]) -> Result<u32, Mistake> {
    let count = integer(word).ok_or(Mistake::NotInteger)?;
    let uses = u32::try_from(count).ok().filter(|uses| (1..=USES_MAX).contains(uses));
    uses.ok_or_else(|| Mistake::text(format!("USES: must be 1 to {USES_MAX}")))
}
