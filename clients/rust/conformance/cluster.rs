//! The client on the nodes of a cluster, of which the one that it uses is killed: `URL URL URL`.
//!
//! Prints `begun` and the URL of this node after the first tokens, and `ok` at the end: each token was
//! consumed once, and its payload came back.

#![expect(clippy::print_stdout, reason = "the test reads it")]

use std::time::Duration;

use jeton_client::{Client, Error, Issue, Payload, Read, Token};

const TOKENS: u32 = 300;
const ALREADY_BEGUN: u32 = 50;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    // An election of the servers takes longer than the calls of a healthy cluster.
    let jeton = Client::builder(urls.clone()).deadline(Duration::from_secs(60)).build()?;
    for number in 0..TOKENS {
        let issue = Issue::json(&number)?.ttl("15m");
        let token = issued(&jeton, &issue).await?;
        let own = jeton.position().map_or(Read::Linear, Read::AtLeast);
        let seen = jeton.resolve_at(&token, own).await?;
        let payload = consumed(&jeton, &token).await?;
        assert!(seen == payload && payload.json::<u32>().ok() == Some(number));
        let again = jeton.consume(&token).await;
        assert!(again.is_err_and(|error| error.is_not_found()), "{number} is consumed twice");
        if number == ALREADY_BEGUN {
            println!("begun {}", used(&jeton, &urls));
        }
    }
    println!("ok");
    Ok(())
}

/// Until the outcome is known.
async fn issued(jeton: &Client, issue: &Issue) -> Result<Token, Error> {
    let mut issue = issue.clone();
    loop {
        match jeton.issue(&issue).await {
            Err(Error::OutcomeUnknown { key: Some(key), .. }) => issue = issue.key(key),
            ended => return Ok(ended?.token),
        }
    }
}

/// Until the outcome is known.
async fn consumed(jeton: &Client, token: &Token) -> Result<Payload, Error> {
    let mut ended = jeton.consume(token).await;
    while let Err(Error::OutcomeUnknown { key: Some(key), .. }) = ended {
        ended = jeton.consume_with(token, &key).await;
    }
    ended
}

fn used<'a>(jeton: &Client, urls: &'a [String]) -> &'a str {
    let shown = format!("{jeton:?}");
    let (_, asked) = shown.rsplit_once("asks: ").unwrap_or_default();
    let is_asked =
        |url: &&String| url.strip_prefix("http://").is_some_and(|address| asked.contains(address));
    urls.iter().find(is_asked).map_or("", String::as_str)
}
