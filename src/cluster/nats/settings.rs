//! The settings of the stream: one table by which it is made, and by which one that is there is
//! checked.

use serde_json::{Map, Value, json};

use super::config::Names;
use crate::cluster::stream::Mistake;

/// Servers that must keep a copy, at least.
const COPIES_MIN: u64 = 3;
/// `max_bytes` in longest messages, at least: enough that trimming can keep up.
const LONGEST_MESSAGES_MIN: u64 = 64;

/// What is chosen when the stream is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Servers that keep a copy.
    pub copies: u8,
    /// Bytes that the stream may hold.
    pub bytes_max: u64,
}

/// What a setting must be.
enum Must {
    /// This value. `null` also stands for 0, false, empty and absent.
    Be(Value),
    /// A number of at least this.
    BeAtLeast(u64),
    /// A limit of at least this, or none.
    BeAtLeastOrNone(u64),
    /// As it was chosen; it decides nothing here.
    BeAnything,
}

/// The table, without what is chosen when the stream is made.
fn table(names: &Names, message_len_max: u64) -> Vec<(&'static str, Must)> {
    let be = |value: Value| Must::Be(value);
    vec![
        ("name", be(json!(names.stream))),
        ("subjects", be(json!([names.subjects]))),
        ("retention", be(json!("limits"))),
        ("storage", be(json!("file"))),
        ("num_replicas", Must::BeAtLeast(COPIES_MIN)),
        // A full stream refuses: what was not followed by all is never dropped.
        ("discard", be(json!("new"))),
        ("discard_new_per_subject", be(Value::Null)),
        ("max_bytes", Must::BeAtLeast(message_len_max * LONGEST_MESSAGES_MIN)),
        ("max_msgs", be(json!(-1))),
        ("max_msgs_per_subject", be(json!(-1))),
        ("max_msg_size", Must::BeAtLeastOrNone(message_len_max)),
        // By age, nodes that were all down for long would lose what none of them has.
        ("max_age", be(Value::Null)),
        ("deny_delete", be(json!(true))),
        ("deny_purge", be(Value::Null)),
        ("sealed", be(Value::Null)),
        ("allow_direct", be(json!(true))),
        ("mirror_direct", be(Value::Null)),
        ("republish", be(json!({ "src": names.subjects, "dest": names.tail }))),
        // An acknowledgement is a hint, but one that must come.
        ("no_ack", be(Value::Null)),
        ("allow_rollup_hdrs", be(Value::Null)),
        ("allow_msg_ttl", be(Value::Null)),
        ("subject_delete_marker_ttl", be(Value::Null)),
        ("allow_msg_counter", be(Value::Null)),
        ("allow_msg_schedules", be(Value::Null)),
        ("allow_atomic", be(Value::Null)),
        ("allow_batched", be(Value::Null)),
        ("persist_mode", be(Value::Null)),
        ("mirror", be(Value::Null)),
        ("sources", be(Value::Null)),
        ("subject_transform", be(Value::Null)),
        ("compression", be(json!("none"))),
        ("first_seq", be(Value::Null)),
        ("description", Must::BeAnything),
        ("metadata", Must::BeAnything),
        ("placement", Must::BeAnything),
        ("max_consumers", Must::BeAnything),
        ("consumer_limits", Must::BeAnything),
        // Only for messages with an id, and jeton's have none.
        ("duplicate_window", Must::BeAnything),
    ]
}

/// The body of `STREAM.CREATE`.
pub(super) fn creation(names: &Names, message_len_max: u64, chosen: Creation) -> Value {
    let mut body = Map::new();
    for (name, must) in table(names, message_len_max) {
        if let Must::Be(value) = must
            && !value.is_null()
        {
            body.insert(name.to_owned(), value);
        }
    }
    body.insert("num_replicas".to_owned(), json!(chosen.copies));
    body.insert("max_bytes".to_owned(), json!(chosen.bytes_max));
    body.insert("max_msg_size".to_owned(), json!(message_len_max));
    Value::Object(body)
}

/// Every setting with which jeton must not run, and those that it does not know.
pub(super) fn check(
    names: &Names,
    message_len_max: u64,
    found: &Map<String, Value>,
) -> (Vec<Mistake>, Vec<String>) {
    let table = table(names, message_len_max);
    let place = format!("stream {}", names.stream);
    let mistakes = table.iter().filter_map(|(name, must)| {
        let found = found.get(*name).unwrap_or(&Value::Null);
        Some(Mistake {
            place: place.clone(),
            setting: (*name).to_owned(),
            needed: must.needed_instead_of(found)?,
            found: shown(found),
        })
    });
    let is_known = |name: &str| table.iter().any(|(known, _)| *known == name);
    let unknown = found.iter().filter(|(name, value)| !is_known(name) && !is_empty(value));
    let unknown = unknown.map(|(name, value)| {
        format!("{place}: this version of jeton does not know {name}, which is {}", shown(value))
    });
    (mistakes.collect(), unknown.collect())
}

impl Must {
    /// What it must be, if it is not.
    fn needed_instead_of(&self, found: &Value) -> Option<String> {
        let number = found.as_i64().unwrap_or(0);
        let is_at_least = |least: u64| u64::try_from(number).is_ok_and(|number| number >= least);
        match self {
            Self::BeAnything => None,
            Self::Be(Value::Null) => (!is_empty(found)).then(|| "off".to_owned()),
            // Absent is as the server has always written "none" and "default".
            Self::Be(value) if value == found || is_none(value) && is_empty(found) => None,
            Self::Be(value) => Some(shown(value)),
            Self::BeAtLeast(least) => (!is_at_least(*least)).then(|| format!("at least {least}")),
            Self::BeAtLeastOrNone(least) => {
                let is_right = number <= 0 || is_at_least(*least);
                (!is_right).then(|| format!("at least {least}, or -1"))
            }
        }
    }
}

fn is_none(value: &Value) -> bool {
    value.as_str() == Some("none")
}

/// Whether a value stands for "off".
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_on) => !is_on,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty() || text == "default",
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "not set".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 1 << 20;

    fn right() -> Map<String, Value> {
        let chosen = Creation { copies: 3, bytes_max: 1 << 30 };
        match creation(&Names::new("shop"), LEN, chosen) {
            Value::Object(body) => body,
            other => panic!("{other}"),
        }
    }

    fn sentences(found: &Map<String, Value>) -> Vec<String> {
        let (mistakes, unknown) = check(&Names::new("shop"), LEN, found);
        mistakes.iter().map(ToString::to_string).chain(unknown).collect()
    }

    #[test]
    fn stream_as_it_is_made_has_no_mistake() {
        assert_eq!(sentences(&right()), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_setting_is_named_with_its_value_and_what_it_must_be() {
        let wrong = [
            ("subjects", json!(["jeton.>"]), "[\"jeton.shop.from.*\"]"),
            ("retention", json!("interest"), "limits"),
            ("storage", json!("memory"), "file"),
            ("num_replicas", json!(1), "at least 3"),
            ("discard", json!("old"), "new"),
            ("discard_new_per_subject", json!(true), "off"),
            ("max_bytes", json!(-1), "at least 67108864"),
            ("max_msgs", json!(1000), "-1"),
            ("max_msgs_per_subject", json!(1), "-1"),
            ("max_msg_size", json!(65536), "at least 1048576, or -1"),
            ("max_age", json!(86_400_000_000_000_u64), "off"),
            ("deny_delete", json!(false), "true"),
            ("deny_purge", json!(true), "off"),
            ("sealed", json!(true), "off"),
            ("allow_direct", json!(false), "true"),
            ("republish", Value::Null, "{\"dest\":\"jeton.shop.tail\""),
            ("republish", json!({"src": ">", "dest": "jeton.shop.tail"}), "{"),
            ("no_ack", json!(true), "off"),
            ("allow_rollup_hdrs", json!(true), "off"),
            ("allow_msg_ttl", json!(true), "off"),
            ("persist_mode", json!("async"), "off"),
            ("mirror", json!({"name": "other"}), "off"),
            ("sources", json!([{"name": "other"}]), "off"),
            ("subject_transform", json!({"src": "a", "dest": "b"}), "off"),
            ("compression", json!("s2"), "none"),
            ("first_seq", json!(100), "off"),
        ];
        for (name, value, needed) in wrong {
            let mut found = right();
            found.insert(name.to_owned(), value);
            let said = sentences(&found);
            assert_eq!(said.len(), 1, "{name}: {said:?}");
            let begin = format!("stream jeton-shop: {name} is ");
            assert!(said[0].starts_with(&begin), "{said:?}");
            assert!(said[0].contains(&format!(", but must be {needed}")), "{name}: {said:?}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mut found = right();
        found.insert("discard".to_owned(), json!("old"));
        found.insert("max_age".to_owned(), json!(1));
        found.remove("allow_direct");
        assert_eq!(sentences(&found).len(), 3, "{:?}", sentences(&found));
    }

    #[test]
    fn what_the_server_adds_is_no_mistake_and_what_is_new_is_told() {
        let mut found = right();
        for (name, value) in [
            ("consumer_limits", json!({})),
            ("persist_mode", json!("default")),
            ("metadata", json!({"_nats.ver": "2.15.1"})),
            ("duplicate_window", json!(120_000_000_000_u64)),
            ("allow_something", json!(false)),
        ] {
            found.insert(name.to_owned(), value);
        }
        assert_eq!(sentences(&found), Vec::<String>::new());
        found.insert("allow_something".to_owned(), json!(true));
        let said = sentences(&found);
        assert!(said.len() == 1 && said[0].contains("allow_something"), "{said:?}");
    }
}
