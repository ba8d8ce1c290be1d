//! Values that are the same, values that only look the same, and any text.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn the_same_value_however_it_is_written() {
    for (one, other) in [
        (r#"{"a":1,"b":[true,null]}"#, " {\"b\" : [ true , null ],\n\"a\":1.0 } "),
        (r#""\u00e9\/\ud83d\ude00\n""#, "\"é/😀\\u000A\""),
        (r#"{"\u0061":{}}"#, r#"{"a":{ }}"#),
        ("1", "10e-1"),
        ("1.50", "15E-1"),
        ("-0", "0.000e7"),
        ("1e400", "10e399"),
        ("100000000000000000000", "1e20"),
        ("1E+0002", "100"),
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        (r#"[{"a":1,"a":2},1]"#, r#"[{"a":1,"a":2}, 1]"#),
        (r#""\ud800""#, r#""\uD800""#),
    ] {
        assert!(same_value(one, other) && same_value(other, one), "{one} and {other}");
    }
}

#[test]
fn other_values_are_not_the_same() {
    for (one, other) in [
        ("1", "1.0000000000000000000000001"),
        ("1", "-1"),
        ("1", "\"1\""),
        ("9007199254740993", "9007199254740992"),
        ("1e400", "1e401"),
        ("[1,2]", "[2,1]"),
        ("[1]", "[1,1]"),
        ("[]", "{}"),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
        (r#"{"a":1,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1, "a":2}"#),
        // No normalisation: composed and decomposed are two texts.
        ("\"\u{e9}\"", "\"e\u{301}\""),
        (r#""\ud800""#, r#""\udc00""#),
        ("true", "false"),
        ("null", "false"),
        (r#""\\""#, r#""\"""#),
        (r#""\"""#, r#""""#),
    ] {
        assert!(!same_value(one, other) && !same_value(other, one), "{one} and {other}");
    }
}

#[test]
fn p8_depth_digits_and_memory_are_bounded() {
    let nested =
        |depth: usize, pad: &str| format!("{}{pad}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(same_value(&nested(DEPTH_MAX, ""), &nested(DEPTH_MAX, " ")));
    assert!(!same_value(&nested(DEPTH_MAX + 1, ""), &nested(DEPTH_MAX + 1, " ")));
    let huge = "9".repeat(100_000);
    assert!(same_value(&format!("[1e{huge}]"), &format!("[ 1e{huge} ]")));
    assert!(!same_value(&format!("1e{huge}"), &format!("1e-{huge}")));
    let many = format!("[{}0]", "0,".repeat(100_000));
    let tree = Tree::of(&many).unwrap();
    assert_eq!((tree.nodes.len(), tree.nodes.capacity()), (100_002, values_max(&many)));
    assert!(memory_needed(&many) <= 18 * many.len());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c\"\\\\\n\u{e9}\u{1F600}]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\u{e9}]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Against another implementation of equality, in two ways of writing.
    #[test]
    fn same_is_what_another_parser_says(one in json(), other in json()) {
        let (text, pretty) = (one.to_string(), serde_json::to_string_pretty(&one).unwrap());
        prop_assert!(same_value(&text, &pretty));
        prop_assert_eq!(same_value(&pretty, &other.to_string()), one == other);
    }

    #[test]
    fn any_text_is_compared_without_a_panic(
        one in ".{0,30}", other in "[\\[\\]{}\",:0-9eE.\\-\\\\u ]{0,30}",
    ) {
        let _ = same_value(&one, &other);
        let _ = same_value(&other, &one);
    }
}
