//! The shop, the payment app and its rivals: the requests of each, and the expected answers.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::Outcome;
use crate::client::{Answer, Client, Request};
use crate::orders::Order;
use crate::report::{Check, Report};

/// The number of apps that try to pay for each order at once.
pub const RIVALS: usize = 64;
/// The life of the tokens that are issued to see them expire.
pub const SHORT_TTL: &str = "250ms";

/// All parties except the platform, each with a connection of its own.
pub struct Parties {
    shop: Party,
    app: Party,
    rivals: Vec<Party>,
}

/// A client with keys of its own for what it changes.
struct Party {
    client: Client,
    /// Begin of its keys, which no other party of any checkout has.
    name: String,
    requests: u64,
}

impl Party {
    /// Number `n`, which asks another server first than its neighbours.
    fn connect(servers: &[String], n: usize) -> Outcome<Self> {
        let client = Client::connect(servers, n)
            .map_err(|error| format!("cannot connect to http://{}: {error}", servers.join(", ")))?;
        let begin = Timestamp::now().as_nanosecond();
        let name = format!("checkout-{}-{begin}-{n}", std::process::id());
        Ok(Self { client, name, requests: 0 })
    }

    /// A request that can be repeated as it is.
    fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        self.client.send(Request { method, path, body, key: None })
    }

    /// A request that must happen once, also if it is repeated.
    fn once(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.requests += 1;
        let key = format!("{}-{}", self.name, self.requests);
        self.client.send(Request { method: "POST", path, body, key: Some(&key) })
    }
}

/// A token issued to be seen expiring.
pub struct ShortLived {
    path: String,
    expires_at: Timestamp,
}

impl Parties {
    /// Connects all of them to the platform.
    pub fn connect(servers: &[String]) -> Outcome<Self> {
        let rivals = (0..RIVALS).map(|n| Party::connect(servers, n)).collect::<Outcome<_>>()?;
        let [shop, app] = [RIVALS, RIVALS + 1].map(|n| Party::connect(servers, n));
        Ok(Self { shop: shop?, app: app?, rivals })
    }

    /// The steps of one order from the shop to the payment, and the requests that must fail after
    /// it. Leaves a token that expires soon.
    pub fn check_out(&mut self, order: &Order, report: &mut Report) -> Outcome<ShortLived> {
        if let Some(token) = self.issue(order, report)? {
            self.resolve(order, &token, report)?;
            self.issue_again(order, &token, report)?;
            self.issue_other(order, report)?;
            self.pay(order, &token, report)?;
            self.replay(order, &token, report)?;
        }
        self.revoke(order, report)?;
        self.issue_short_lived(order, report)
    }

    fn issue(&mut self, order: &Order, report: &mut Report) -> Outcome<Option<String>> {
        let issued = self.shop.send("POST", "/v1/tokens", &order.issue(&order.text))?;
        report.done(Check::Issued);
        let what = match issued.status {
            _ if issued.has_status(201) => return Ok(Some(issued.token()?)),
            200 => "issue (known to this server already)",
            409 => "issue (paid on this server already, or known to it with other content)",
            _ => "issue",
        };
        report.expect(Check::Issued, what, &issued, 201);
        Ok(None)
    }

    /// The app finds the shop's payload, by the token and by the order's reference.
    fn resolve(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        report.done(Check::Resolved);
        let by_token = self.app.send("GET", &format!("/v1/tokens/{token}"), "")?;
        report.compare(Check::Resolved, "resolve by token", &by_token, &order.text);
        let by_reference = self.app.send("POST", "/v1/resolve", &order.list())?;
        let list = format!("[{}]", order.text);
        report.compare(Check::Resolved, "resolve by reference", &by_reference, &list);
        Ok(())
    }

    /// The shop sends the order twice.
    fn issue_again(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        report.done(Check::Again);
        let again = self.shop.send("POST", "/v1/tokens", &order.issue(&order.text))?;
        report.expect(Check::Again, "the same order again", &again, 200);
        if again.status == 200 && again.token()? != token {
            report.differ(Check::Again, "the same order again has another token".to_owned());
        }
        Ok(())
    }

    /// The shop sends another order under the same reference; the first one stays.
    fn issue_other(&mut self, order: &Order, report: &mut Report) -> Outcome<()> {
        report.done(Check::Other);
        let list = format!("[{}]", order.text);
        let conflict = self.shop.send("POST", "/v1/tokens", &order.issue(&list))?;
        report.expect(Check::Other, "other content under the same reference", &conflict, 409);
        let kept = self.app.send("POST", "/v1/resolve", &order.list())?;
        report.compare(Check::Other, "resolve after a conflict", &kept, &list);
        Ok(())
    }

    /// All rivals consume at the same moment, half of them by token and half by reference.
    fn pay(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        report.done(Check::Paid);
        let answers = self.race(order, token);
        let list = format!("[{}]", order.text);
        for (n, answer) in answers.into_iter().enumerate() {
            let answer = answer?;
            let (won, lost) = match n % 2 {
                0 => (answer.is(200, &order.text), answer.status == 404),
                _ => (answer.is(200, &list), answer.is(200, "[null]")),
            };
            report.winners += usize::from(won);
            if !won && !lost {
                let (status, bytes) = (answer.status, answer.body.len());
                let difference = format!("rival {n} was answered with {status}, {bytes} bytes");
                report.differ(Check::Paid, difference);
            }
        }
        if report.winners != 1 {
            report.differ(Check::Paid, format!("{} rivals have paid", report.winners));
        }
        Ok(())
    }

    /// The answer to each rival, in their order.
    fn race(&mut self, order: &Order, token: &str) -> Vec<io::Result<Answer>> {
        let start = Barrier::new(self.rivals.len());
        let (by_token, by_list) = (format!("/v1/tokens/{token}/consume"), order.list());
        thread::scope(|scope| {
            let rivals = self.rivals.iter_mut().enumerate();
            let threads: Vec<_> = rivals
                .map(|(n, rival)| {
                    let (start, by_token, by_list) = (&start, &by_token, &by_list);
                    scope.spawn(move || {
                        start.wait();
                        match n % 2 {
                            0 => rival.once(by_token, ""),
                            _ => rival.once("/v1/consume", by_list),
                        }
                    })
                })
                .collect();
            let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
            ended
                .map(|end| end.unwrap_or_else(|_| Err(io::Error::other("a rival panicked"))))
                .collect()
        })
    }

    /// A paid order is not paid again, not found and not issued again.
    fn replay(&mut self, order: &Order, token: &str, report: &mut Report) -> Outcome<()> {
        report.done(Check::Replay);
        let path = format!("/v1/tokens/{token}");
        let consumed = self.app.once(&format!("{path}/consume"), "")?;
        report.expect(Check::Replay, "a replay", &consumed, 404);
        let resolved = self.app.send("GET", &path, "")?;
        report.expect(Check::Replay, "resolve after the payment", &resolved, 404);
        let found = self.app.send("POST", "/v1/resolve", &order.list())?;
        report.compare(Check::Replay, "resolve by reference after the payment", &found, "[null]");
        let issued = self.shop.send("POST", "/v1/tokens", &order.issue(&order.text))?;
        report.expect(Check::Replay, "a paid order issued again", &issued, 409);
        Ok(())
    }

    /// The shop revokes an offer before it is paid.
    fn revoke(&mut self, order: &Order, report: &mut Report) -> Outcome<()> {
        report.done(Check::Revoked);
        let body = format!(r#"{{"payload":{}}}"#, order.text);
        let issued = self.shop.once("/v1/tokens", &body)?;
        report.expect(Check::Revoked, "issue of a random token", &issued, 201);
        let path = format!("/v1/tokens/{}", issued.token()?);
        let found = self.app.send("GET", &path, "")?;
        report.compare(Check::Revoked, "resolve before a revocation", &found, &order.text);
        let revoked = self.shop.send("DELETE", &path, "")?;
        report.expect(Check::Revoked, "revoke", &revoked, 204);
        self.app.client.learn(&self.shop.client);
        let resolved = self.app.send("GET", &path, "")?;
        report.expect(Check::Revoked, "resolve after a revocation", &resolved, 404);
        let consumed = self.app.once(&format!("{path}/consume"), "")?;
        report.expect(Check::Revoked, "consume after a revocation", &consumed, 404);
        Ok(())
    }

    fn issue_short_lived(&mut self, order: &Order, report: &mut Report) -> Outcome<ShortLived> {
        report.done(Check::ShortLived);
        let body = format!(r#"{{"payload":{},"ttl":"{SHORT_TTL}"}}"#, order.text);
        let issued = self.shop.once("/v1/tokens", &body)?;
        report.expect(Check::ShortLived, "issue of a token that expires soon", &issued, 201);
        let path = format!("/v1/tokens/{}", issued.token()?);
        let expires_at = issued.json()?["expires_at"].as_str().unwrap_or_default().parse()?;
        let found = self.app.send("GET", &path, "")?;
        // On a slow machine the deadline may have come before the answer.
        if Timestamp::now() < expires_at {
            report.compare(Check::ShortLived, "resolve before the expiry", &found, &order.text);
        }
        Ok(ShortLived { path, expires_at })
    }

    /// The number of these that are still found when the last of their deadlines has passed.
    /// Assumes that the platform has this machine's clock.
    pub fn still_there_after_expiry(&mut self, short: &[ShortLived]) -> Outcome<usize> {
        let last = short.iter().map(|token| token.expires_at).max().unwrap_or_default();
        while Timestamp::now() < last {
            thread::sleep(Duration::from_millis(1));
        }
        let mut still_there = 0;
        for token in short {
            still_there += usize::from(self.app.send("GET", &token.path, "")?.status != 404);
        }
        Ok(still_there)
    }
}
