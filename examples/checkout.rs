//! Three parties and a token: a shop, the platform and a payment app, end to end over HTTP.
//!
//! For each order the shop has the platform issue a token for it, found again by the order's number,
//! time and amount; the app resolves the token, and 64 rivals try to pay with it at the same moment.
//! Every answer is compared with what it must be. The table tells what happened; the exit status is
//! 1 if anything differed.
//!
//! ```text
//! cargo run --release --example checkout
//! cargo run --release --example checkout -- --orders FILE --server http://127.0.0.1:7450
//! ```

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many apps try to pay for each order at once.
const RIVALS: usize = 64;
/// How long a paid order stays known as paid.
const ORDER_TTL: &str = "10m";
/// How long the tokens live that are issued to see them expire.
const SHORT_TTL: &str = "250ms";

/// The server of our own: nothing is kept beyond the checkout.
const SERVE: &str = "serve --memory-only --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";

/// Plays a checkout between a shop, the platform and a payment app.
#[derive(Parser)]
struct Arguments {
    /// Orders, one JSON object a line; each is issued as its line stands
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/orders.jsonl"))]
    orders: PathBuf,
    /// A running server; without it one is started for the time of the checkout
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// The fields that identify an order; `text` is the whole of it, as the shop wrote it.
struct Order {
    identity: Identity,
    text: String,
}

#[derive(Deserialize)]
struct Identity {
    order_number: String,
    created_at: String,
    amount: String,
}

/// What happened to one order, for its row in the table.
#[derive(Default)]
struct Report {
    winners: usize,
    /// Each answer that was not what it must be.
    differences: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("checkout: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every answer was what it must be.
fn run(arguments: &Arguments) -> Outcome<bool> {
    let orders = read_orders(&arguments.orders)?;
    let platform = match &arguments.server {
        Some(url) => Platform::running(url)?,
        None => Platform::start()?,
    };
    let mut parties = Parties::connect(&platform.address)?;
    println!("{} orders from {}", orders.len(), arguments.orders.display());
    println!("platform at http://{}\n", platform.address);
    println!("order                amount   bytes    winners  result");
    let mut short_lived = Vec::new();
    let mut differences = 0;
    for order in &orders {
        let report = parties.check_out(order, &mut short_lived)?;
        print_row(order, &report);
        differences += report.differences.len();
    }
    let still_there = parties.still_there_after_expiry(&short_lived)?;
    let bytes: usize = orders.iter().map(|order| order.text.len()).sum();
    let count = orders.len();
    println!("\n{count} orders, {bytes} bytes, {RIVALS} rivals each");
    println!("{count} tokens issued for {SHORT_TTL}, {still_there} outlived it");
    println!("{} differences", differences + still_there);
    Ok(differences + still_there == 0)
}

fn print_row(order: &Order, report: &Report) {
    let (number, amount) = (&order.identity.order_number, &order.identity.amount);
    let winners = format!("{} of {RIVALS}", report.winners);
    let bytes = order.text.len();
    let result = ["right", "DIFFERS"][usize::from(!report.differences.is_empty())];
    println!("{number:<14} {amount:>12} {bytes:>7}  {winners:>9}  {result}");
    for difference in &report.differences {
        println!("    {difference}");
    }
}

fn read_orders(path: &Path) -> Outcome<Vec<Order>> {
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

    /// An issue of `payload` for this order.
    fn issue(&self, payload: &str) -> String {
        let reference = self.reference();
        format!(r#"{{"payload":{payload},"ttl":"{ORDER_TTL}","reference":{reference}}}"#)
    }

    /// A list of one, for what takes a list of tokens.
    fn list(&self) -> String {
        json!({ "tokens": [{ "reference": self.reference() }] }).to_string()
    }
}

/// The shop, the payment app, and all that would like to be it.
struct Parties {
    shop: Connection,
    app: Connection,
    rivals: Vec<Connection>,
}

/// A token issued to be seen expiring, and when.
type ShortLived = (String, jiff::Timestamp);

impl Parties {
    fn connect(address: &str) -> Outcome<Parties> {
        let open = || Connection::open(address);
        let rivals = (0..RIVALS).map(|_| open()).collect::<io::Result<_>>()?;
        Ok(Parties { shop: open()?, app: open()?, rivals })
    }

    /// One order's way from the shop to the payment, and what must not be possible after it.
    fn check_out(&mut self, order: &Order, short: &mut Vec<ShortLived>) -> Outcome<Report> {
        let mut report = Report::default();
        if let Some(token) = self.issue(order, &mut report)? {
            self.resolve(order, &token, &mut report)?;
            self.issue_again(order, &token, &mut report)?;
            self.pay(order, &token, &mut report)?;
            self.replay(order, &token, &mut report)?;
        }
        self.revoke(order, &mut report)?;
        short.push(self.issue_short_lived(order)?);
        Ok(report)
    }

    fn issue(&mut self, order: &Order, report: &mut Report) -> Outcome<Option<String>> {
        let issued = self.shop.send("POST", "/v1/tokens", &order.issue(&order.text))?;
        report.expect("issue (409: paid on this server already)", &issued, 201);
        if issued.status == 201 { Ok(Some(issued.token()?)) } else { Ok(None) }
    }

    /// The app finds what the shop wrote, by the token and by what identifies the order.
    fn resolve(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        let by_token = self.app.send("GET", &format!("/v1/tokens/{token}"), "")?;
        report.expect("resolve by token", &by_token, 200);
        report.compare("resolve by token", &by_token.body, &order.text);
        let by_reference = self.app.send("POST", "/v1/resolve", &order.list())?;
        report.expect("resolve by reference", &by_reference, 200);
        report.compare("resolve by reference", &by_reference.body, &format!("[{}]", order.text));
        Ok(())
    }

    /// The shop sends the order twice, and then another order under the same reference.
    fn issue_again(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        let again = self.shop.send("POST", "/v1/tokens", &order.issue(&order.text))?;
        report.expect("the same order again", &again, 200);
        if again.status == 200 && again.token()? != token {
            report.differ("the same order again has another token".to_owned());
        }
        let other = format!("[{}]", order.text);
        let conflict = self.shop.send("POST", "/v1/tokens", &order.issue(&other))?;
        report.expect("the same reference with other content", &conflict, 409);
        Ok(())
    }

    /// All rivals consume at the same moment, half of them by token and half by reference.
    fn pay(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        let start = Barrier::new(self.rivals.len());
        let (by_token, by_list) = (format!("/v1/tokens/{token}/consume"), order.list());
        let answers: Vec<io::Result<Answer>> = thread::scope(|scope| {
            let rivals = self.rivals.iter_mut().enumerate();
            let threads: Vec<_> = rivals
                .map(|(n, rival)| {
                    let (start, by_token, by_list) = (&start, &by_token, &by_list);
                    scope.spawn(move || {
                        start.wait();
                        match n % 2 {
                            0 => rival.send("POST", by_token, ""),
                            _ => rival.send("POST", "/v1/consume", by_list),
                        }
                    })
                })
                .collect();
            let ended = threads.into_iter().map(|thread| thread.join());
            ended
                .map(|end| end.unwrap_or_else(|_| Err(io::Error::other("a rival panicked"))))
                .collect()
        });
        let in_list = format!("[{}]", order.text);
        for (n, answer) in answers.into_iter().enumerate() {
            let answer = answer?;
            let (won, lost) = match n % 2 {
                0 => (answer.is(200, &order.text), answer.status == 404),
                _ => (answer.is(200, &in_list), answer.is(200, "[null]")),
            };
            report.winners += usize::from(won);
            if !won && !lost {
                report.differ(format!("rival {n} was answered with {}", answer.status));
            }
        }
        if report.winners != 1 {
            report.differ(format!("{} rivals have paid", report.winners));
        }
        Ok(())
    }

    /// What was paid is not found, not paid and not issued again.
    fn replay(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        let path = format!("/v1/tokens/{token}");
        let consumed = self.app.send("POST", &format!("{path}/consume"), "")?;
        report.expect("a replay", &consumed, 404);
        let resolved = self.app.send("GET", &path, "")?;
        report.expect("resolve after the payment", &resolved, 404);
        let by_reference = self.app.send("POST", "/v1/resolve", &order.list())?;
        report.compare("resolve by reference after the payment", &by_reference.body, "[null]");
        let issued = self.shop.send("POST", "/v1/tokens", &order.issue(&order.text))?;
        report.expect("a paid order issued again", &issued, 409);
        Ok(())
    }

    /// The shop takes an offer back before anybody has paid.
    fn revoke(&mut self, order: &Order, report: &mut Report) -> Outcome<()> {
        let body = format!(r#"{{"payload":{}}}"#, order.text);
        let issued = self.shop.send("POST", "/v1/tokens", &body)?;
        report.expect("issue of a random token", &issued, 201);
        let path = format!("/v1/tokens/{}", issued.token()?);
        report.expect("revoke", &self.shop.send("DELETE", &path, "")?, 204);
        report.expect("resolve after a revocation", &self.app.send("GET", &path, "")?, 404);
        let consumed = self.app.send("POST", &format!("{path}/consume"), "")?;
        report.expect("consume after a revocation", &consumed, 404);
        Ok(())
    }

    fn issue_short_lived(&mut self, order: &Order) -> Outcome<ShortLived> {
        let body = format!(r#"{{"payload":{},"ttl":"{SHORT_TTL}"}}"#, order.text);
        let issued = self.shop.send("POST", "/v1/tokens", &body)?;
        let expires_at = issued.json()?["expires_at"].as_str().unwrap_or_default().parse()?;
        Ok((issued.token()?, expires_at))
    }

    /// How many of these still resolve when the last of their deadlines has passed.
    fn still_there_after_expiry(&mut self, short: &[ShortLived]) -> Outcome<usize> {
        let last = short.iter().map(|(_, at)| *at).max().unwrap_or_default();
        while jiff::Timestamp::now() <= last {
            thread::sleep(Duration::from_millis(1));
        }
        let mut still_there = 0;
        for (token, _) in short {
            let answer = self.app.send("GET", &format!("/v1/tokens/{token}"), "")?;
            still_there += usize::from(answer.status != 404);
        }
        Ok(still_there)
    }
}

impl Report {
    fn differ(&mut self, difference: String) {
        self.differences.push(difference);
    }

    fn expect(&mut self, what: &str, answer: &Answer, status: u16) {
        if answer.status != status {
            self.differ(format!("{what}: {} instead of {status}", answer.status));
        }
    }

    fn compare(&mut self, what: &str, is: &[u8], should_be: &str) {
        if is != should_be.as_bytes() {
            self.differ(format!("{what}: {} bytes that differ", is.len()));
        }
    }
}

/// A blocking HTTP/1.1 connection, just enough to talk to jeton.
struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection { host: address.to_owned(), stream: BufReader::new(stream) })
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status_line = self.line()?;
        let status = status_line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    fn token(&self) -> Outcome<String> {
        let token = self.json()?["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| format!("no token in an answer with status {}", self.status).into())
    }

    fn is(&self, status: u16, body: &str) -> bool {
        self.status == status && self.body == body.as_bytes()
    }
}

/// The server: one that runs anyway, or one of our own that goes with us.
struct Platform {
    address: String,
    child: Option<Child>,
}

impl Platform {
    fn running(url: &str) -> Outcome<Platform> {
        let address = url.strip_prefix("http://").ok_or("--server must begin with http://")?;
        Ok(Platform { address: address.trim_end_matches('/').to_owned(), child: None })
    }

    /// Starts the `jeton` beside this example, in memory, on a free port.
    fn start() -> Outcome<Platform> {
        let own = std::env::current_exe()?;
        let jeton = own.ancestors().nth(2).ok_or("this example has no folder")?.join("jeton");
        if !jeton.is_file() {
            return Err(
                "build the server first (cargo build --release), or name one with --server".into(),
            );
        }
        let mut child = Command::new(jeton)
            .args(SERVE.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = String::new();
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let mut platform = Platform { address: String::new(), child: Some(child) };
        BufReader::new(stdout).read_line(&mut ready)?;
        let address = ready.split_once("data=http://").and_then(|(_, rest)| rest.split(' ').next());
        platform.address = address.ok_or("the server did not start")?.to_owned();
        Ok(platform)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It holds nothing but memory: there is nothing to save, and nobody left to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
