//! The servers, and what is measured against them.

use std::cell::RefCell;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use jeton_client::{Client, Issue};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::sync::{Mutex, oneshot};

const PAYLOAD: &str = concat!(
    r#"{"order":"A-17","pay":"139.10","shop":"example","#,
    r#""lines":[{"sku":"8441","n":2},{"sku":"1017","n":1}]}"#,
);
const TOKENS: usize = 1_000;
const CONNECTIONS: usize = 100;
const PIPELINE_MAX: usize = 100;

/// One resolve of the caller with this number.
pub type One = Rc<dyn Fn(usize) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Something that resolves tokens.
pub struct Side {
    pub name: &'static str,
    pub callers: usize,
    pub one: One,
    /// Whether the others are compared with it.
    pub is_measure: bool,
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The servers, with the same tokens in both.
pub struct Setup {
    url: String,
    tokens: Rc<Vec<String>>,
    redis: Option<redis::Client>,
    _processes: Vec<Process>,
    _folder: TempDir,
}

impl Setup {
    pub async fn begin(jeton: &str) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let flags =
            "serve --memory-only --workers 1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
        let mut server = Command::new(std::path::absolute(jeton)?);
        server.args(flags.split(' ')).current_dir(folder.path());
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut ready = String::new();
        BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut ready)?;
        let mut processes = vec![Process(server)];
        let url = ready.split_whitespace().find_map(|word| word.strip_prefix("data="));
        let url = url.ok_or("jeton serve did not start")?.to_owned();
        let client = Client::new(&url)?;
        let mut tokens = Vec::new();
        for _ in 0..TOKENS {
            let issued = client.issue(&Issue::new(PAYLOAD)?.ttl("1h")).await?;
            tokens.push(issued.token.as_str().to_owned());
        }
        let redis = match redis_server(&folder) {
            Err(error) => {
                println!("NOT RUN: redis-rs: {error}");
                None
            }
            Ok((process, port)) => {
                processes.push(process);
                Some(filled(port, &tokens).await?)
            }
        };
        let tokens = Rc::new(tokens);
        Ok(Self { url, tokens, redis, _processes: processes, _folder: folder })
    }

    pub async fn sides(&self, callers: usize) -> Result<Vec<Side>, Box<dyn Error>> {
        let together =
            || -> Result<One, Box<dyn Error>> { Ok(self.jeton(Client::new(&self.url)?)) };
        let alone = Client::builder([&self.url]).coalesce(false).connections_max(CONNECTIONS);
        let alone = self.jeton(alone.build()?);
        let side = |name, callers, one| Side { name, callers, one, is_measure: false };
        let mut sides = vec![
            side("jeton-client", callers, together()?),
            side("jeton-client, coalesce(false)", callers, alone.clone()),
            side("jeton-client, one caller", 1, together()?),
            side("jeton-client, one caller, coalesce(false)", 1, alone),
        ];
        if let Some(redis) = &self.redis {
            let connection = connected(redis).await?;
            let pipelines = self.pipelines(connection.clone());
            let each = self.multiplexed(vec![connection.clone()]);
            let mut many = Vec::new();
            for _ in 0..CONNECTIONS {
                many.push(connected(redis).await?);
            }
            sides.extend([
                Side {
                    is_measure: true,
                    ..side("redis-rs, pipelines of up to 100", callers, pipelines)
                },
                side("redis-rs, one connection for all", callers, each),
                side(
                    "redis-rs, one GET at a time on each of 100 connections",
                    callers,
                    self.one_at_a_time(many),
                ),
                side("redis-rs, one caller", 1, self.multiplexed(vec![connection])),
            ]);
        }
        Ok(sides)
    }

    fn jeton(&self, client: Client) -> One {
        let tokens = self.tokens.clone();
        Rc::new(move |number| {
            let (client, tokens) = (client.clone(), tokens.clone());
            Box::pin(async move {
                let payload = client.resolve(&*tokens[number % TOKENS]).await;
                assert!(payload.is_ok_and(|it| it.raw() == PAYLOAD.as_bytes()), "another answer");
            })
        })
    }

    /// redis-rs gathers what callers of one connection send by itself.
    fn multiplexed(&self, connections: Vec<MultiplexedConnection>) -> One {
        let tokens = self.tokens.clone();
        Rc::new(move |number| {
            let mut connection = connections[number % connections.len()].clone();
            let tokens = tokens.clone();
            Box::pin(async move { check(get(&mut connection, &tokens[number % TOKENS]).await) })
        })
    }

    fn one_at_a_time(&self, connections: Vec<MultiplexedConnection>) -> One {
        let tokens = self.tokens.clone();
        let connections: Rc<Vec<_>> = Rc::new(connections.into_iter().map(Mutex::new).collect());
        Rc::new(move |number| {
            let (connections, tokens) = (connections.clone(), tokens.clone());
            Box::pin(async move {
                let mut connection = connections[number % connections.len()].lock().await;
                check(get(&mut connection, &tokens[number % TOKENS]).await);
            })
        })
    }

    /// A pipeline is the caller's work: here the questions of up to 100 callers go together.
    fn pipelines(&self, connection: MultiplexedConnection) -> One {
        let tokens = self.tokens.clone();
        let gathered: Rc<RefCell<Vec<Asked>>> = Rc::default();
        Rc::new(move |number| {
            let (gathered, tokens) = (gathered.clone(), tokens.clone());
            let connection = connection.clone();
            Box::pin(async move {
                let (sender, value) = oneshot::channel();
                gathered.borrow_mut().push((tokens[number % TOKENS].clone(), sender));
                if gathered.borrow().len() == 1 {
                    // What the other callers of this turn add goes along.
                    tokio::task::yield_now().await;
                    while !gathered.borrow().is_empty() {
                        let count = gathered.borrow().len().min(PIPELINE_MAX);
                        let batch = gathered.borrow_mut().drain(..count).collect();
                        tokio::task::spawn_local(flush(connection.clone(), batch));
                    }
                }
                check(value.await.unwrap_or_default());
            })
        })
    }
}

type Asked = (String, oneshot::Sender<Vec<u8>>);

async fn flush(mut connection: MultiplexedConnection, batch: Vec<Asked>) {
    let mut pipeline = redis::pipe();
    for (token, _) in &batch {
        pipeline.cmd("GET").arg(token);
    }
    let values: Vec<Vec<u8>> = pipeline.query_async(&mut connection).await.unwrap_or_default();
    for ((_, sender), value) in batch.into_iter().zip(values) {
        let _ = sender.send(value);
    }
}

async fn get(connection: &mut MultiplexedConnection, token: &str) -> Vec<u8> {
    redis::cmd("GET").arg(token).query_async(connection).await.unwrap_or_default()
}

fn check(value: Vec<u8>) {
    assert!(value == PAYLOAD.as_bytes(), "another answer");
}

/// A connection whose answers may take as long as those of jeton.
async fn connected(client: &redis::Client) -> redis::RedisResult<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new();
    let config = config.set_response_timeout(Some(Duration::from_secs(10)));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// A Redis without a disk, and its port.
fn redis_server(folder: &TempDir) -> Result<(Process, u16), Box<dyn Error>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    server.current_dir(folder.path()).stdout(Stdio::null());
    let server = Process(server.spawn()?);
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok((server, port));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("redis-server did not start".into())
}

async fn filled(port: u16, tokens: &[String]) -> Result<redis::Client, Box<dyn Error>> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
    let mut connection = connected(&client).await?;
    for token in tokens {
        let () = redis::cmd("SET").arg(token).arg(PAYLOAD).query_async(&mut connection).await?;
    }
    Ok(client)
}
