//! fred: RESP2 and RESP3, pipelines, transactions, a pool.

use std::time::Duration;

use fred::prelude::*;
use fred::types::RespVersion;
use tokio::time::sleep;

use crate::{Done, Place, restart};

fn config(place: &Place, version: RespVersion) -> Config {
    Config {
        server: ServerConfig::new_centralized(&place.host, place.port),
        password: place.key.clone(),
        version,
        ..Config::default()
    }
}

pub async fn use_it(place: &Place) -> Done {
    for version in [RespVersion::RESP2, RespVersion::RESP3] {
        let name = format!("{version:?}");
        let client = Builder::from_config(config(place, version)).build()?;
        client.init().await?;
        values(&client, &name).await?;
        together(&client, &name).await?;
        client.quit().await?;
    }
    let pool = Builder::from_config(config(place, RespVersion::RESP3)).build_pool(4)?;
    pool.init().await?;
    for n in 0..20_u32 {
        let () =
            pool.set(format!("fred:pool:{n}"), n, Some(Expiration::EX(100)), None, false).await?;
        assert_eq!(pool.get::<u32, _>(format!("fred:pool:{n}")).await?, n);
    }
    pool.quit().await?;
    Ok(())
}

async fn values(client: &Client, name: &str) -> Done {
    let key = format!("fred:{name}");
    let () = client.set(&key, "1", Some(Expiration::EX(100)), None, false).await?;
    assert_eq!(client.get::<String, _>(&key).await?, "1");
    let not: Option<String> =
        client.set(&key, "2", Some(Expiration::EX(100)), Some(SetOptions::NX), false).await?;
    assert_eq!(not, None);
    assert!((90..=100).contains(&client.ttl::<i64, _>(&key).await?));
    assert_eq!(client.exists::<i64, _>(vec![key.clone(), key.clone()]).await?, 2);
    assert_eq!(client.getdel::<String, _>(&key).await?, "1");
    assert_eq!(client.get::<Option<String>, _>(&key).await?, None);
    assert_eq!(client.del::<i64, _>(&key).await?, 0);
    Ok(())
}

async fn together(client: &Client, name: &str) -> Done {
    let pipeline = client.pipeline();
    for n in 0..300_u32 {
        let key = format!("fred:{name}:{n}");
        let () = pipeline.set(&key, n, Some(Expiration::EX(100)), None, false).await?;
        let () = pipeline.get(&key).await?;
    }
    let answers: Vec<Value> = pipeline.all().await?;
    assert_eq!(answers.len(), 600);
    for (n, found) in answers.into_iter().skip(1).step_by(2).enumerate() {
        assert_eq!(found.convert::<usize>()?, n);
    }
    let transaction = client.multi();
    let key = format!("fred:{name}:multi");
    let () = transaction.set(&key, 1, Some(Expiration::EX(100)), None, false).await?;
    let () = transaction.getdel(&key).await?;
    let () = transaction.get(&key).await?;
    let (set, taken, gone): (String, String, Option<String>) = transaction.exec(true).await?;
    assert_eq!((set.as_str(), taken.as_str(), gone), ("OK", "1", None));
    Ok(())
}

/// A connection that goes on after the server was killed and started anew.
pub async fn reconnect(place: &Place) -> Done {
    let client = Builder::from_config(config(place, RespVersion::RESP3))
        .set_policy(ReconnectPolicy::new_constant(0, 50))
        .build()?;
    client.init().await?;
    let () = client.set("fred:kept", "1", Some(Expiration::EX(1000)), None, false).await?;
    restart().await?;
    for _ in 0..200 {
        match client.get::<Option<String>, _>("fred:kept").await {
            Ok(found) => {
                assert_eq!(found.as_deref(), Some("1"));
                client.quit().await?;
                return Ok(());
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    Err("fred does not connect again".into())
}
