//! redis-rs: a multiplexed connection over RESP2 and RESP3, pipelines, transactions, deadpool's pool.

use std::time::Duration;

use deadpool_redis::{Manager, Pool};
use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, ExistenceCheck, SetExpiry, SetOptions};
use tokio::time::sleep;

use crate::{Done, Place, restart};

fn url(place: &Place, protocol: &str) -> String {
    let key = place.key.as_ref().map_or_else(String::new, |key| format!(":{key}@"));
    format!("redis://{key}{}:{}/?protocol={protocol}", place.host, place.port)
}

/// redis-rs waits half a second for an answer unless it is told otherwise; a busy machine needs longer.
fn patient() -> AsyncConnectionConfig {
    let long = Some(Duration::from_secs(30));
    AsyncConnectionConfig::new().set_response_timeout(long).set_connection_timeout(long)
}

pub async fn use_it(place: &Place) -> Done {
    for protocol in ["resp2", "resp3"] {
        let client = Client::open(url(place, protocol))?;
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&patient()).await?;
        values(&mut connection, protocol).await?;
        pipelines(&mut connection, protocol).await?;
    }
    pool(place).await
}

async fn values(connection: &mut (impl AsyncCommands + ConnectionLike), name: &str) -> Done {
    let key = format!("redis-rs:{name}");
    let bytes = vec![0_u8, 13, 10, 255];
    let () = connection.set_ex(&key, &bytes, 100).await?;
    assert_eq!(connection.get::<_, Vec<u8>>(&key).await?, bytes);
    let options = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::EX(100));
    assert_eq!(connection.set_options::<_, _, Option<String>>(&key, "2", options).await?, None);
    assert!((90..=100).contains(&connection.ttl::<_, i64>(&key).await?));
    assert!(connection.expire::<_, bool>(&key, 50).await?);
    assert!(connection.exists::<_, bool>(&key).await?);
    assert_eq!(connection.get_del::<_, Vec<u8>>(&key).await?, bytes);
    assert_eq!(connection.get::<_, Option<String>>(&key).await?, None);
    let () = connection.mset(&[(&key, "1"), (&format!("{key}:2"), "2")]).await?;
    let found: Vec<Option<String>> =
        connection.mget(&[&key, &format!("{key}:2"), &format!("{key}:none")]).await?;
    assert_eq!(found, [Some("1".to_owned()), Some("2".to_owned()), None]);
    assert_eq!(connection.del::<_, i64>(&[&key, &format!("{key}:2")]).await?, 2);
    let unknown = redis::cmd("PERSIST").arg(&key).exec_async(connection).await;
    assert!(unknown.is_err_and(|error| error.to_string().contains("unknown command")));
    Ok(())
}

async fn pipelines(connection: &mut impl ConnectionLike, name: &str) -> Done {
    for is_atomic in [false, true] {
        let mut pipeline = redis::pipe();
        if is_atomic {
            pipeline.atomic();
        }
        for n in 0..300 {
            pipeline.set_ex(format!("redis-rs:{name}:{n}"), n, 100).ignore();
            pipeline.get(format!("redis-rs:{name}:{n}"));
        }
        let found: Vec<u32> = pipeline.query_async(connection).await?;
        assert!(found.iter().copied().eq(0..300), "atomic: {is_atomic}");
    }
    Ok(())
}

async fn pool(place: &Place) -> Done {
    let pool = Pool::builder(Manager::new_with_config(url(place, "resp3"), patient())?)
        .max_size(4)
        .build()?;
    let mut held = Vec::new();
    for n in 0..4_u32 {
        let mut connection = pool.get().await?;
        let () = connection.set_ex(format!("deadpool:{n}"), n, 100).await?;
        held.push(connection);
    }
    drop(held);
    for n in 0..4_u32 {
        let found: u32 = pool.get().await?.get(format!("deadpool:{n}")).await?;
        assert_eq!(found, n);
    }
    Ok(())
}

/// A connection that goes on after the server was killed and started anew.
pub async fn reconnect(place: &Place) -> Done {
    let client = Client::open(url(place, "resp3"))?;
    let mut connection = ConnectionManager::new(client).await?;
    let () = connection.set_ex("redis-rs:kept", "1", 1000).await?;
    restart().await?;
    // The first calls meet the connection that has died.
    for _ in 0..200 {
        match connection.get::<_, Option<String>>("redis-rs:kept").await {
            Ok(found) => {
                assert_eq!(found.as_deref(), Some("1"));
                return Ok(());
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    Err("redis-rs does not connect again".into())
}
