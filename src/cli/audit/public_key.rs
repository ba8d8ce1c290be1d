//! `jeton audit public-key`

use super::given::{Failure, SecretArgs, public_key};
use crate::cli::out;

pub(super) fn print(secret: &SecretArgs) -> Result<(), Failure> {
    Ok(out::print(public_key(&secret.read()?)?.to_pem())?)
}
