//! `jeton audit public-key`

use super::given::{Failure, KeptArgs, public_key};
use crate::cli::out;

pub(super) fn print(secret: &KeptArgs) -> Result<(), Failure> {
    Ok(out::print(public_key(&secret.read()?)?.to_pem())?)
}
