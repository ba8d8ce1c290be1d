//! Token lists: parses the body of a request about many tokens directly into digests.
//!
//! `{"tokens": ["…" or {"reference": {…}}, …]}`. This is a hot path: no intermediate values, one
//! allocation for the digests, and a [reader of its own](super::plain_list) for the plain form.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::answer::problem::Problem;
use crate::http::request::json::{self, Found, Name};
use crate::http::request::named::{digest_of, name, reference};
use crate::http::request::plain_list;
use crate::keys::Access;
use crate::model::scope::Scope;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::principal::demand;
use crate::service::refusal::Refusal;
use crate::service::tokens::Tokens;

const FORM: &str = "must be a JSON object with \"tokens\", an array of tokens or of \
    objects with a \"reference\" or a \"name\"";

/// Reads the tokens of a request.
pub(in crate::http) fn tokens(context: &Context<'_>, body: &[u8]) -> Result<Tokens, Problem> {
    let by_reference = || context.look_by_reference();
    token_list(body, context.access, context.service.limits.max_batch, &by_reference)
}

/// Reads the tokens of a request that also has a `ttl`, and returns both.
pub(in crate::http) fn tokens_and_ttl(
    context: &Context<'_>,
    body: &[u8],
) -> Result<(Tokens, Duration), Problem> {
    let by_reference = || context.look_by_reference();
    let ttl_max = context.service.ttl_max(&context.access.digester);
    token_list_and_ttl(
        body,
        context.access,
        context.service.limits.max_batch,
        ttl_max,
        &by_reference,
    )
}

/// Reads a body of at most `max` tokens. `by_reference` returns whether references may be looked up
/// at the moment.
fn token_list(
    body: &[u8],
    access: &Access,
    max: usize,
    by_reference: &dyn Fn() -> Result<(), Refusal>,
) -> Result<Tokens, Problem> {
    if let Some(digests) = plain_list::read(body, &access.digester, max) {
        return Ok(Tokens { digests, by_reference: Vec::new() });
    }
    read(body, access, max, by_reference, None)
}

fn token_list_and_ttl(
    body: &[u8],
    access: &Access,
    max: usize,
    ttl_max: Duration,
    by_reference: &dyn Fn() -> Result<(), Refusal>,
) -> Result<(Tokens, Duration), Problem> {
    let ttl = Ttl { max: ttl_max, found: Cell::default() };
    let tokens = read(body, access, max, by_reference, Some(&ttl))?;
    let missing = || Problem::malformed("ttl: the field is missing").about("ttl");
    Ok((tokens, ttl.found.get().ok_or_else(missing)?))
}

/// Reads a list in any form.
pub(super) fn read(
    body: &[u8],
    access: &Access,
    max: usize,
    by_reference: &dyn Fn() -> Result<(), Refusal>,
    ttl: Option<&Ttl>,
) -> Result<Tokens, Problem> {
    let (found, referred) = (Found::default(), RefCell::default());
    let context = Reading { access, max, by_reference, found: &found, referred: &referred, ttl };
    let mut reader = serde_json::Deserializer::from_slice(body);
    ListBody(&context)
        .deserialize(&mut reader)
        .and_then(|digests| reader.end().map(|()| digests))
        .map(|digests| Tokens { digests, by_reference: referred.take() })
        .map_err(|error| found.or(&error, FORM))
}

struct Reading<'c> {
    access: &'c Access,
    max: usize,
    by_reference: &'c dyn Fn() -> Result<(), Refusal>,
    found: &'c Found,
    /// Positions of the tokens that are named by a reference.
    referred: &'c RefCell<Vec<usize>>,
    /// Set if the body may have a `ttl`.
    ttl: Option<&'c Ttl>,
}

/// The `ttl` of a list.
pub(super) struct Ttl {
    max: Duration,
    found: Cell<Option<Duration>>,
}

impl Ttl {
    fn read(&self, raw: &RawValue) -> Result<(), Problem> {
        if self.found.get().is_some() {
            return Err(Problem::malformed("the field is repeated").about("ttl"));
        }
        self.found.set(Some(json::ttl(raw, self.max)?));
        Ok(())
    }
}

/// The object around the list.
struct ListBody<'c>(&'c Reading<'c>);

impl<'de> DeserializeSeed<'de> for ListBody<'_> {
    type Value = Vec<Digest>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Vec<Digest>, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListBody<'_> {
    type Value = Vec<Digest>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with tokens")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Digest>, A::Error> {
        let found = self.0.found;
        let names: &[_] = if self.0.ttl.is_some() { &["tokens", "ttl"] } else { &["tokens"] };
        let mut digests = None;
        while let Some(name) = map.next_key_seed(Name { names, found })? {
            if let (1, Some(ttl)) = (name, self.0.ttl) {
                ttl.read(map.next_value()?).map_err(|problem| found.stop(problem))?;
                continue;
            }
            if digests.is_some() {
                let problem = Problem::malformed("the field is repeated");
                return Err(found.stop(problem.about("tokens")));
            }
            digests = Some(map.next_value_seed(List(self.0))?);
        }
        digests.ok_or_else(|| {
            found.stop(Problem::malformed("tokens: the field is missing").about("tokens"))
        })
    }
}

/// The list itself.
struct List<'c>(&'c Reading<'c>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = Vec<Digest>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Vec<Digest>, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Vec<Digest>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Digest>, A::Error> {
        let context = self.0;
        let mut digests = Vec::with_capacity(context.max.min(128));
        while let Some(digest) = list.next_element_seed(Item { context, place: digests.len() })? {
            digests.push(digest);
        }
        Ok(digests)
    }
}

/// One token of the list.
struct Item<'c> {
    context: &'c Reading<'c>,
    place: usize,
}

impl Item<'_> {
    fn stop<E: de::Error>(&self, problem: Problem) -> E {
        let place = format!("tokens[{}]", self.place);
        let mut problem = problem;
        problem.detail = format!("{place}: {}", problem.detail).into();
        self.context.found.stop(problem.about(place))
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Digest;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Digest, D::Error> {
        if self.place >= self.context.max {
            return Err(self.context.found.stop(too_many(self.context.max)));
        }
        reader.deserialize_any(self)
    }
}

/// 422: a batch has more than `max` tokens.
pub(in crate::http) fn too_many(max: usize) -> Problem {
    Problem::out_of_limits(format!("tokens: must have at most {max} (--max-batch)")).about("tokens")
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        digest_of(text.as_bytes(), &self.context.access.digester)
            .map_err(|problem| self.stop(problem))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Digest, A::Error> {
        let found = self.context.found;
        let names = &["reference", "name"];
        let mut raw: Option<(usize, &RawValue)> = None;
        while let Some(field) = map.next_key_seed(Name { names, found })? {
            if raw.is_some() {
                let detail = "give one reference or one name";
                return Err(self.stop(Problem::malformed(detail)));
            }
            raw = Some((field, map.next_value()?));
        }
        let missing = || Problem::malformed("reference: the field is missing");
        let access = self.context.access;
        let digester = &access.digester;
        let (field, raw) = raw.ok_or_else(missing).map_err(|problem| self.stop(problem))?;
        if field == 1 {
            return name(raw, digester).map_err(|problem| self.stop(problem));
        }
        self.context.referred.borrow_mut().push(self.place);
        // Anyone who knows an order can guess its reference.
        Ok(raw)
            .and_then(|raw| demand(access, Scope::Reference).map(|()| raw).map_err(Problem::from))
            .and_then(|raw| (self.context.by_reference)().map(|()| raw).map_err(Problem::from))
            .and_then(reference)
            .map(|reference| digester.digest(&digester.token_for_reference(reference.canonical())))
            .map_err(|problem| self.stop(problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::namespace::Namespace;
    use crate::model::reference::Reference;
    use crate::model::token::{Digester, SECRET_LEN, Secret};

    fn digester() -> Digester {
        Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default")
    }

    fn read(body: &str) -> Result<Vec<Digest>, Problem> {
        let access = Access::everything(Namespace::default(), digester());
        token_list(body.as_bytes(), &access, 3, &|| Ok(())).map(|tokens| tokens.digests)
    }

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn tokens_and_references_side_by_side_in_order() {
        let digester = digester();
        let body = format!(
            r#" {{ "tokens" : [ "{A}" , {{"reference":
                {{"order_number":"7","amount":139.10}}}} , "\u0041{}" ] }} "#,
            &A[1..]
        );
        let reference = Reference::new(Some("7"), None, Some("139.1")).unwrap();
        let derived = digester.token_for_reference(reference.canonical());
        let a = digest_of(A.as_bytes(), &digester).unwrap();
        assert_eq!(read(&body), Ok(vec![a, digester.digest(&derived), a]));
        assert_eq!(read(r#"{"tokens":[]}"#), Ok(vec![]));
        let names = format!(r#"{{"tokens":[{{"name":"cart:7"}},{{"name":"{A}"}}]}}"#);
        assert_eq!(read(&names), Ok(vec![digester.digest_of_key(b"cart:7"), a]));
    }

    #[test]
    fn a_bad_token_is_named_by_its_place_and_not_repeated() {
        let problem = read(&format!(r#"{{"tokens":["{A}","hunter2"]}}"#)).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.field.as_deref()), (400, Some("tokens[1]")));
        assert!(!problem.detail.contains("hunter2"), "{problem:?}");
        let problem = read(r#"{"tokens":[{"reference":{}}]}"#).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.field.as_deref()), (400, Some("tokens[0]")));
    }

    #[test]
    fn other_forms_are_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"tokens":null}"#,
            r#"{"tokens":{}}"#,
            r#"{"tokens":[1]}"#,
            r#"{"tokens":[null]}"#,
            r#"{"tokens":[[]]}"#,
            r#"{"tokens":[],"tokens":[]}"#,
            r#"{"tokens":[],"x":1}"#,
            r#"{"tokens":[{}]}"#,
            r#"{"tokens":[{"reference":{"order_number":7}}]}"#,
            r#"{"tokens":[{"reference":{"amount":1e3}}]}"#,
            r#"{"tokens":[{"reference":{"order":"7"}}]}"#,
            r#"{"tokens":[{"reference":{"amount":"1"},"x":1}]}"#,
            r#"{"tokens":[{"reference":{"amount":"1"},"name":"x"}]}"#,
            r#"{"tokens":[{"name":"x","name":"x"}]}"#,
            r#"{"tokens":[{"name":7}]}"#,
            r#"{"tokens":[]} x"#,
        ] {
            assert_eq!(read(body).unwrap_err().status, 400, "{body}");
        }
    }

    #[test]
    fn a_ttl_stands_beside_the_list_where_the_route_has_one() {
        let access = Access::everything(Namespace::default(), digester());
        let (ttl_max, looks) = (Duration::from_secs(60), || Ok(()));
        let read = |body: &str| {
            let read = token_list_and_ttl(body.as_bytes(), &access, 3, ttl_max, &looks);
            read.map(|(_, ttl)| ttl).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(read(r#"{"tokens":[],"ttl":"1m"}"#), Ok(ttl_max));
        assert_eq!(read(r#"{"ttl":1,"tokens":[]}"#), Ok(Duration::from_secs(1)));
        assert_eq!(read(r#"{"tokens":[],"ttl":61}"#), Err(422));
        for body in [
            r#"{"tokens":[]}"#,
            r#"{"ttl":1}"#,
            r#"{"tokens":[],"ttl":1,"ttl":1}"#,
            r#"{"tokens":[],"ttl":null}"#,
        ] {
            assert_eq!(read(body), Err(400), "{body}");
        }
        let access = Access::everything(Namespace::default(), digester());
        assert!(token_list(br#"{"tokens":[],"ttl":1}"#, &access, 3, &looks).is_err());
    }

    #[test]
    fn limits_are_422() {
        let body = format!(r#"{{"tokens":["{A}","{A}","{A}","{A}"]}}"#);
        assert_eq!(read(&body).unwrap_err().status, 422);
        let long = "n".repeat(513);
        for name in ["", &long] {
            let body = format!(r#"{{"tokens":[{{"name":"{name}"}}]}}"#);
            assert_eq!(read(&body).unwrap_err().status, 422);
        }
        let number = "9".repeat(129);
        let body = format!(r#"{{"tokens":[{{"reference":{{"order_number":"{number}"}}}}]}}"#);
        assert_eq!(read(&body).unwrap_err().status, 422);
    }
}
