//! `clients redis-rs|fred|reconnect-redis-rs|reconnect-fred HOST PORT [KEY]`: prints `ok`.

mod with_fred;
mod with_redis;

use std::error::Error;

pub type Done = Result<(), Box<dyn Error>>;

/// Where the server is.
pub struct Place {
    pub host: String,
    pub port: u16,
    pub key: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let client = arguments.next().ok_or("a client is missing")?;
    let host = arguments.next().ok_or("a host is missing")?;
    let port = arguments.next().ok_or("a port is missing")?.parse()?;
    let place = Place { host, port, key: arguments.next() };
    match client.as_str() {
        "redis-rs" => with_redis::use_it(&place).await?,
        "fred" => with_fred::use_it(&place).await?,
        "reconnect-redis-rs" => with_redis::reconnect(&place).await?,
        "reconnect-fred" => with_fred::reconnect(&place).await?,
        other => return Err(format!("there is no client {other}").into()),
    }
    println!("ok");
    Ok(())
}

/// Tells the test to start the server anew, and waits until it has.
pub async fn restart() -> Done {
    use tokio::io::{AsyncBufReadExt, BufReader, stdin};
    println!("restart");
    BufReader::new(stdin()).read_line(&mut String::new()).await?;
    Ok(())
}
