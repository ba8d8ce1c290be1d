//! How a request names a token: by its text, by a reference, or by a name that the client chose.

use serde_json::value::RawValue;

use crate::http::answer::problem::Problem;
use crate::http::request::json;
use crate::model::reference::{Reference, ReferenceError};
use crate::model::token::{Digest, Digester, NAME_LEN_MAX, Token};

/// The digest of a token given as text.
pub(in crate::http) fn digest_of(text: &[u8], digester: &Digester) -> Result<Digest, Problem> {
    match Token::parse(text) {
        Ok(token) => Ok(digester.digest(&token)),
        Err(error) => Err(Problem::malformed(error.to_string())),
    }
}

/// The digest of a name that a client chose, as bytes.
///
/// # Errors
/// It is empty or too long.
pub(in crate::http) fn digest_of_name(name: &[u8], digester: &Digester) -> Result<Digest, Problem> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        let detail = format!("name: must have 1 to {NAME_LEN_MAX} bytes");
        return Err(Problem::out_of_limits(detail).about("name"));
    }
    Ok(digester.digest_of_key(name))
}

/// The digest of a name in JSON.
pub(in crate::http) fn name(raw: &RawValue, digester: &Digester) -> Result<Digest, Problem> {
    digest_of_name(json::string(raw, "name")?.as_bytes(), digester)
}

/// The reference in a JSON object.
pub(in crate::http) fn reference(raw: &RawValue) -> Result<Reference, Problem> {
    const NAMES: [&str; 3] = ["order_number", "created_at", "amount"];
    let object = json::object(raw.get().as_bytes(), &NAMES);
    let [order_number, created_at, amount] = object.map_err(|mut problem| {
        problem.detail = format!("reference: {}", problem.detail).into();
        problem.about("reference")
    })?;
    let order_number =
        order_number.map(|raw| json::string(raw, "reference.order_number")).transpose()?;
    let created_at = created_at.map(|raw| json::string(raw, "reference.created_at")).transpose()?;
    let amount = match amount.map(RawValue::get) {
        // A number is kept as its digits, never as a float.
        Some(digits) if !digits.starts_with('"') => Some(digits.into()),
        _ => amount.map(|raw| json::string(raw, "reference.amount")).transpose()?,
    };
    Reference::new(order_number.as_deref(), created_at.as_deref(), amount.as_deref())
        .map_err(reference_problem)
}

fn reference_problem(error: ReferenceError) -> Problem {
    let field = match error {
        ReferenceError::Empty => "reference",
        ReferenceError::OrderNumberLength(_) | ReferenceError::OrderNumberControl => {
            "reference.order_number"
        }
        ReferenceError::CreatedAt => "reference.created_at",
        ReferenceError::Amount | ReferenceError::AmountDigits => "reference.amount",
    };
    let problem = if error.is_limit() {
        Problem::out_of_limits(error.to_string())
    } else {
        Problem::malformed(error.to_string())
    };
    problem.about(field)
}
