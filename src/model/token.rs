//! Tokens, digests and the secret between them.
//!
//! A token is 24 random bytes, written as 32 base64url characters (RFC 4648, section 5, without
//! padding: 24 bytes need none). The engine does not store tokens. It stores the digest: the first
//! 12 bytes of HMAC-SHA-256 (RFC 2104, FIPS 180-4) under the secret, so that a stolen log contains
//! no token, and 4 bytes for the namespace. Tokens of references and of idempotency keys are
//! derived with the same secret, so that they cannot be guessed without it.
//!
//! The HMAC's message is `kind ‖ 0x00 ‖ namespace ‖ 0x00 ‖ value`. Kind and namespace contain no
//! zero byte, so two different messages are never equal.

mod digest;
mod digester;
mod text;

pub use digest::{ConsumeKey, DIGEST_LEN, Digest, Prefix};
pub use digester::{Digester, NAME_LEN_MAX, SECRET_LEN, Secret};
pub use text::{RandomError, TOKEN_LEN, TOKEN_TEXT_LEN, Token, TokenError, TokenText};
