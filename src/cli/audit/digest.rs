//! `jeton audit digest`

use std::io::{self, BufRead};

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::given::{Failure, KeptArgs};
use crate::cli::out;
use crate::model::namespace::Namespace;
use crate::model::reference::Reference;
use crate::model::token::{Digest, Digester, NAME_LEN_MAX, Token};

/// `jeton audit digest`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct DigestArgs {
    #[command(flatten)]
    secret: KeptArgs,

    /// Namespace of the tokens
    #[arg(long, default_value = "default", value_name = "NAME")]
    namespace: String,
}

/// A line of JSON, as requests name a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named<'a> {
    name: Option<String>,
    #[serde(borrow)]
    reference: Option<Order<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order<'a> {
    order_number: Option<String>,
    created_at: Option<String>,
    /// A number is kept as its digits, never as a float.
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
}

pub(super) fn print(args: &DigestArgs) -> Result<(), Failure> {
    let mistake = |error| Failure::Mistake(format!("--namespace: {error}"));
    let namespace: Namespace = args.namespace.parse().map_err(mistake)?;
    let digester = Digester::new(&args.secret.read()?, namespace.as_str());
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let wrong = |reason: String| {
            // The line itself may be a token.
            Failure::Mistake(format!("standard input, line {}: {reason}", number + 1))
        };
        let line = line.map_err(|error| wrong(error.to_string()))?;
        let digest = digest_of(&line, &digester).map_err(wrong)?;
        out::print_line(const_hex::encode(digest.to_bytes()))?;
    }
    Ok(())
}

fn digest_of(line: &str, digester: &Digester) -> Result<Digest, String> {
    if let Ok(token) = Token::parse(line.as_bytes()) {
        return Ok(digester.digest(&token));
    }
    if !line.starts_with('{') {
        return name(line, digester);
    }
    let form = "must be a token, a name, {\"name\": …} or {\"reference\": {…}}";
    match serde_json::from_str(line) {
        Ok(Named { name: Some(text), reference: None }) => name(&text, digester),
        Ok(Named { name: None, reference: Some(order) }) => {
            let reference = reference(&order)?;
            Ok(digester.digest(&digester.token_for_reference(reference.canonical())))
        }
        _ => Err(form.to_owned()),
    }
}

fn name(name: &str, digester: &Digester) -> Result<Digest, String> {
    match name.len() {
        1..=NAME_LEN_MAX => Ok(digester.digest_of_key(name.as_bytes())),
        len => Err(format!("a name must have 1 to {NAME_LEN_MAX} bytes, has {len}")),
    }
}

fn reference(order: &Order<'_>) -> Result<Reference, String> {
    let amount = order
        .amount
        .map(RawValue::get)
        .map(|raw| serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()));
    let (number, created_at) = (order.order_number.as_deref(), order.created_at.as_deref());
    Reference::new(number, created_at, amount.as_deref()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::Secret;

    #[test]
    fn p9_a_mistake_does_not_show_the_line_and_each_form_has_its_digest() {
        let digester = Digester::new(&Secret::from_bytes([7; 32]), "shop-a");
        let of = |line: &str| digest_of(line, &digester);
        let token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let digest = digester.digest(&Token::parse(token.as_bytes()).unwrap());
        assert_eq!(of(token), Ok(digest));
        assert_eq!(of("order-7"), Ok(digester.digest_of_name(b"order-7")));
        assert_eq!(of(r#"{"name":"order-7"}"#), of("order-7"));
        let order = Reference::new(Some("7"), None, Some("139.1")).unwrap();
        let order = digester.digest(&digester.token_for_reference(order.canonical()));
        for amount in ["139.10", "\"139.1\""] {
            let line = format!(r#"{{"reference":{{"order_number":"7","amount":{amount}}}}}"#);
            assert_eq!(of(&line), Ok(order));
        }
        for wrong in ["", "{", r#"{"secret-thing":1}"#, r#"{"name":1}"#, r#"{"reference":{}}"#] {
            let reason = of(wrong).unwrap_err();
            assert!(!reason.contains("secret-thing"), "{reason}");
        }
    }
}
