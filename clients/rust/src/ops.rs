//! The operations: what each sends.

use bytes::Bytes;

use crate::error::{Error, IdempotencyKey};
use crate::issue::{Issue, Ttl};
use crate::types::{Read, Target};

/// One call, ready to be sent.
pub(crate) struct Operation {
    /// As messages have it.
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) is_change: bool,
    /// Whether it may be sent again although an earlier try may have reached the server.
    pub(crate) is_repeatable: bool,
    pub(crate) key: Option<IdempotencyKey>,
}

impl Operation {
    fn change(name: &'static str, path: &'static str, body: String) -> Self {
        let (body, headers) = (body.into(), Vec::new());
        Self { name, path, body, headers, is_change: true, is_repeatable: true, key: None }
    }

    fn read(
        name: &'static str,
        path: &'static str,
        body: String,
        read: &Read,
    ) -> Result<Self, Error> {
        let headers = read.header()?.into_iter().collect();
        let body = body.into();
        Ok(Self { name, path, body, headers, is_change: false, is_repeatable: true, key: None })
    }

    fn keyed(mut self, key: Option<&IdempotencyKey>) -> Result<Self, Error> {
        let key = key.cloned().map_or_else(IdempotencyKey::random, Ok)?;
        self.headers.push(("idempotency-key", key.as_str().to_owned()));
        self.key = Some(key);
        Ok(self)
    }
}

const BOTH: Error =
    Error::Malformed("key: a token with a reference has no key; the reference is the key");

/// `POST /v1/tokens`. A reference is itself the key.
pub(crate) fn issue(issue: &Issue) -> Result<Operation, Error> {
    let operation = Operation::change("issue", "/v1/tokens", format!("{{{}}}", issue.members()?));
    match (issue.reference.is_some(), &issue.key) {
        (true, Some(_)) => Err(BOTH),
        (true, None) => Ok(operation),
        (false, key) => operation.keyed(key.as_ref()),
    }
}

/// `POST /v1/tokens/batch`.
pub(crate) fn issue_batch(
    items: &[Issue],
    key: Option<&IdempotencyKey>,
) -> Result<Operation, Error> {
    let with = items.iter().filter(|item| item.reference.is_some()).count();
    if items.iter().any(|item| item.key.is_some()) {
        return Err(Error::Malformed("key: a batch has one key for all of its items"));
    }
    if with > 0 && key.is_some() {
        return Err(BOTH);
    }
    if with > 0 && with < items.len() {
        return Err(Error::Malformed(
            "items: all with a reference or all without one; send two batches",
        ));
    }
    let bodies = items.iter().map(|item| Ok(format!("{{{}}}", item.members()?)));
    let bodies = bodies.collect::<Result<Vec<_>, Error>>()?;
    let body = format!(r#"{{"tokens":[{}]}}"#, bodies.join(","));
    let operation = Operation::change("issue batch", "/v1/tokens/batch", body);
    if with > 0 { Ok(operation) } else { operation.keyed(key) }
}

/// `POST /v1/names`. Never sent twice: the second one could bring back what was consumed after the
/// first.
pub(crate) fn put(name: String, issue: &Issue, if_absent: bool) -> Result<Operation, Error> {
    if issue.reference.is_some() || issue.key.is_some() {
        return Err(Error::Malformed("put: a name has no reference and no key"));
    }
    let named = Target::Name(name).to_json()?;
    // The brace at the end of the name's object goes.
    let body = format!("{},{}}}", named.trim_end_matches('}'), issue.members()?);
    let mut operation = Operation::change("put", "/v1/names", body);
    operation.is_repeatable = false;
    if if_absent {
        operation.headers.push(("if-none-match", "*".to_owned()));
    }
    Ok(operation)
}

/// The items of a list.
pub(crate) fn items(targets: &[Target]) -> Result<Vec<String>, Error> {
    targets.iter().map(Target::to_json).collect()
}

fn list(items: &[impl AsRef<str>], more: &str) -> String {
    const FRAME: usize = r#"{"tokens":[]}"#.len();
    let len: usize = items.iter().map(|item| item.as_ref().len() + 1).sum();
    let mut body = String::with_capacity(FRAME + len + more.len());
    body.push_str(r#"{"tokens":["#);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(item.as_ref());
    }
    body.push(']');
    body.push_str(more);
    body.push('}');
    body
}

/// `POST /v1/resolve`, of items that were checked.
pub(crate) fn resolve(items: &[impl AsRef<str>], read: &Read) -> Result<Operation, Error> {
    Operation::read("resolve", "/v1/resolve", list(items, ""), read)
}

/// `POST /v1/consume`.
pub(crate) fn consume(
    targets: &[Target],
    key: Option<&IdempotencyKey>,
) -> Result<Operation, Error> {
    Operation::change("consume", "/v1/consume", list(&items(targets)?, "")).keyed(key)
}

/// `POST /v1/status`.
pub(crate) fn status(targets: &[Target], read: &Read) -> Result<Operation, Error> {
    Operation::read("status", "/v1/status", list(&items(targets)?, ""), read)
}

/// `POST /v1/extend`.
pub(crate) fn extend(targets: &[Target], ttl: &Ttl) -> Result<Operation, Error> {
    Ok(Operation::change("extend", "/v1/extend", list(&items(targets)?, &ttl.member())))
}

/// `POST /v1/revoke`.
pub(crate) fn revoke(targets: &[Target]) -> Result<Operation, Error> {
    Ok(Operation::change("revoke", "/v1/revoke", list(&items(targets)?, "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Reference;

    #[test]
    fn a_key_and_a_reference_exclude_each_other() {
        let key = IdempotencyKey::new("k").unwrap();
        let with = Issue::new("1").unwrap().reference(Reference::new().order_number("A-17"));
        let without = Issue::new("1").unwrap();
        assert!(issue(&with.clone().key(key.clone())).is_err());
        assert!(issue(&with).unwrap().key.is_none());
        assert!(issue(&without).unwrap().key.is_some());
        assert!(issue_batch(&[with.clone(), without.clone()], None).is_err());
        assert!(issue_batch(std::slice::from_ref(&with), Some(&key)).is_err());
        assert!(issue_batch(&[without.key(key)], None).is_err());
        assert!(put("a".to_owned(), &with, false).is_err());
    }

    #[test]
    fn a_name_that_ends_in_a_brace_stays_whole() {
        let operation = put("a}}".to_owned(), &Issue::new("1").unwrap(), true).unwrap();
        assert_eq!(operation.body, r#"{"name":"a}}","payload":1}"#);
        assert!(!operation.is_repeatable);
    }

    #[test]
    fn each_change_has_a_key_of_its_own() {
        let targets = [Target::name("a")];
        let [one, two] = [(), ()].map(|()| consume(&targets, None).unwrap().key.unwrap());
        assert!(one != two && one.as_str().len() == 32);
        for wrong in ["", " a", "a ", "a\n", "é", &"a".repeat(256)] {
            assert!(IdempotencyKey::new(wrong).is_err(), "{wrong}");
        }
    }
}
