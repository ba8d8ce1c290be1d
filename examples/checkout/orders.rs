//! The shop's orders: the fields that identify an order, and the requests made from it.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::Outcome;

/// The time for which a paid order stays known as paid.
const ORDER_TTL: &str = "10m";

/// An order. `text` is its complete JSON, as the shop wrote it.
pub struct Order {
    pub identity: Identity,
    pub text: String,
}

/// The fields that identify an order.
#[derive(Deserialize)]
pub struct Identity {
    pub order_number: String,
    pub created_at: String,
    pub amount: String,
}

/// Reads a file of orders, one JSON object a line; at least one.
pub fn read(path: &Path) -> Outcome<Vec<Order>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let orders: Vec<Order> = lines
        .map(|(n, line)| {
            let identity = serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", path.display(), n + 1))?;
            Ok(Order { identity, text: line.trim().to_owned() })
        })
        .collect::<Outcome<_>>()?;
    if orders.is_empty() {
        return Err(format!("{} holds no order", path.display()).into());
    }
    Ok(orders)
}

impl Order {
    /// The reference under which the platform finds the order's token again.
    fn reference(&self) -> Value {
        let id = &self.identity;
        json!({ "order_number": id.order_number, "created_at": id.created_at, "amount": id.amount })
    }

    /// An issue of `payload`, which is JSON, under this order's reference.
    pub fn issue(&self, payload: &str) -> String {
        let reference = self.reference();
        format!(r#"{{"payload":{payload},"ttl":"{ORDER_TTL}","reference":{reference}}}"#)
    }

    /// A list of one, for routes that take a list of tokens.
    pub fn list(&self) -> String {
        json!({ "tokens": [{ "reference": self.reference() }] }).to_string()
    }
}
