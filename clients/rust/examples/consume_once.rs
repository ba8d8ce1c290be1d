//! Issues a token, resolves it and consumes it: `cargo run -p jeton-client --example consume_once [URL]`.

#![expect(clippy::print_stdout, reason = "an example says what it did")]

use jeton_client::{Client, Error, Issue, Payload, Token};

/// Consumes a token, and asks again with the same key if nobody knows what became of it.
async fn consume(jeton: &Client, token: &Token) -> Result<Payload, Error> {
    match jeton.consume(token).await {
        Err(Error::OutcomeUnknown { key: Some(key), .. }) => jeton.consume_with(token, &key).await,
        ended => ended,
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7450".to_owned());
    let jeton = Client::new(url)?;
    let issue = Issue::new(r#"{"order":"A-17","pay":1.10}"#)?.ttl("15m");
    let issued = jeton.issue(&issue).await?;
    let seen = jeton.resolve(&issued.token).await?;
    let payload = consume(&jeton, &issued.token).await?;
    assert!(seen == payload && payload.raw() == br#"{"order":"A-17","pay":1.10}"#);
    let again = jeton.consume(&issued.token).await;
    assert!(again.is_err_and(|error| error.is_not_found()), "a token is consumed once");
    println!("issued, resolved, and consumed once");
    Ok(())
}
