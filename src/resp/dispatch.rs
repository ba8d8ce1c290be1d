//! From the words of a command to its answer: who may, what is queued, and what is performed.
//!
//! Changes of a pipeline wait for the disk together: one that does not depend on others, such as a
//! plain `SET`, is queued with the committer before the answer to the one before it is there. Any
//! other command waits until they are answered, so a connection sees its own changes, and its answers
//! come in the order of its commands. A change that came alone is committed by this thread, if that may
//! ([`Here`]).

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;

use crate::engine::Here;
use crate::net::buffer::Buffer;
use crate::resp::conn::{Conn, Worker};
use crate::resp::connect::{self, Connect, Desk};
use crate::resp::data::table::Command;
use crate::resp::named::{Named, Verb};
use crate::resp::performer::Performer;
use crate::resp::refusal;
use crate::resp::reply::Reply;
use crate::resp::session::{Replies, Session};
use crate::resp::transaction::{Item, Transaction};
use crate::service::audit_events;
use crate::service::authentication::Denied;
use crate::service::counters::Class;
use crate::service::operation::Operation;
use crate::service::principal::{Principal, demand};
use crate::service::refusal::Refusal;

/// Changes of one connection that wait for the disk at once.
const OVERLAP_MAX: usize = 256;

/// Performs the commands of one connection.
pub(in crate::resp) struct Dispatcher {
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    pub(in crate::resp) session: Session,
    transaction: Option<Transaction>,
    /// Answers of changes that are being performed, in the order of their commands.
    running: FuturesOrdered<LocalBoxFuture<'static, Vec<u8>>>,
}

impl Dispatcher {
    pub(in crate::resp) fn new(worker: Rc<Worker>, conn: Rc<Conn>) -> Self {
        let session = Session::new(worker.next_id());
        Self { worker, conn, session, transaction: None, running: FuturesOrdered::new() }
    }

    /// Whether a `GET` may be answered by itself: nothing waits, and it has an answer.
    pub(in crate::resp) fn is_plain(&self) -> bool {
        self.running.is_empty() && self.transaction.is_none() && self.session.replies == Replies::On
    }

    fn admit(&self) -> Result<Principal, Denied> {
        let service = &self.worker.service;
        let (credentials, now) = (&self.conn.credentials, service.now());
        service.authenticator.admit(credentials, self.session.presented(), now)
    }

    /// Who is at the other end, as far as that is known.
    pub(in crate::resp) fn principal(&self) -> Option<Principal> {
        self.admit().ok()
    }

    /// Whether the client must authenticate and has not done so.
    pub(in crate::resp) fn is_stranger(&self) -> bool {
        self.worker.service.authenticator.has_keys() && self.admit().is_err()
    }

    /// Waits for the changes that are being performed. One that came alone may be committed by this
    /// thread; several of a pipeline wait for the disk together.
    pub(in crate::resp) async fn settle(&mut self, output: &mut Buffer) {
        let Self { worker, running, .. } = self;
        let caller = &worker.service.caller;
        let is_alone = running.len() == 1;
        let mut next = async || {
            poll_fn(|cx| {
                caller.commit_here(if is_alone { worker.commits() } else { Here::Never });
                let polled = running.poll_next_unpin(cx);
                caller.commit_here(Here::Never);
                polled
            })
            .await
        };
        while let Some(answer) = next().await {
            output.push(&answer);
        }
    }

    /// Performs a command, or begins to: [`settle`](Self::settle) waits for what has begun.
    pub(in crate::resp) async fn perform(&mut self, mut words: Vec<Bytes>, output: &mut Buffer) {
        self.session.replies = self.session.replies.next();
        let name = words.remove(0);
        if is_http(&name) {
            // A page in a browser can make it send this, with commands in the body.
            self.session.is_closing = true;
            return;
        }
        let named = Named::find(&name);
        let (is_change, is_unconditional) = match named {
            Some(Named::Data(command)) => {
                (command.operation.changes(), command.is_unconditional(&words))
            }
            _ => (false, false),
        };
        let may_overlap =
            is_change && self.transaction.is_none() && self.worker.service.reads.is_none();
        if !(may_overlap && is_unconditional) || self.running.len() >= OVERLAP_MAX {
            self.settle(output).await;
        }
        let mut answer = Vec::new();
        let begun = self.answer(&name, named, words, may_overlap, &mut answer).await;
        if self.session.replies.are_heard() {
            match begun {
                Some(running) => self.running.push_back(running),
                None if self.running.is_empty() => output.push(&answer),
                None => self.running.push_back(Box::pin(async move { answer })),
            }
        } else if let Some(running) = begun {
            let silent = async move {
                running.await;
                Vec::new()
            };
            self.running.push_back(Box::pin(silent));
        }
    }

    /// Writes the answer, or returns what will give it.
    async fn answer(
        &mut self,
        name: &Bytes,
        named: Option<Named>,
        words: Vec<Bytes>,
        may_overlap: bool,
        out: &mut Vec<u8>,
    ) -> Option<LocalBoxFuture<'static, Vec<u8>>> {
        let mut reply = Reply::new(out, self.session.is_3);
        let Some(named) = named else {
            self.refuse(&unknown(name), &mut reply);
            return None;
        };
        if let Err(text) = named.check(&words) {
            self.refuse(&text, &mut reply);
            if named.is_exec() {
                self.transaction = None;
            }
            return None;
        }
        let is_for_strangers =
            matches!(named, Named::Connect(Connect { is_for_strangers: true, .. }));
        let principal = match self.admit() {
            Ok(principal) => Some(principal),
            Err(_) if is_for_strangers => None,
            Err(denied) => {
                self.break_transaction();
                let refused = self.worker.service.denied(denied, self.conn.peer.ip());
                self.refused(Operation::Unknown, None, &refused);
                refusal::write(&refused, &mut reply);
                return None;
            }
        };
        let (Some(transaction), false) = (&mut self.transaction, named.is_never_queued()) else {
            return self.perform_now(named, words, principal, may_overlap, &mut reply).await;
        };
        let allowed = match (named, &principal) {
            (Named::Data(Command { operation, .. }), Some(principal)) => {
                operation.scope().map_or(Ok(()), |scope| demand(principal, scope))
            }
            _ => Ok(()),
        };
        match allowed {
            Err(refused) => {
                transaction.is_broken = true;
                refusal::write(&refused, &mut reply);
                if let Named::Data(Command { operation, .. }) = named {
                    self.refused(*operation, principal.as_ref(), &refused);
                }
            }
            Ok(()) => {
                let service = &self.worker.service;
                let holder = || self.conn.holder(principal.clone());
                let item = Item::new(named, words);
                transaction.queue(item, service, holder, &mut reply);
            }
        }
        None
    }

    async fn perform_now(
        &mut self,
        named: Named,
        words: Vec<Bytes>,
        principal: Option<Principal>,
        may_overlap: bool,
        reply: &mut Reply<'_>,
    ) -> Option<LocalBoxFuture<'static, Vec<u8>>> {
        match (named, principal) {
            (Named::Data(command), Some(principal)) => {
                let performer = self.performer(principal);
                let running = performer.perform(command, words, self.session.is_3);
                if may_overlap {
                    return Some(Box::pin(running));
                }
                let answer = Box::pin(running).await;
                reply.raw(&answer);
            }
            (Named::Transaction(verb), Some(principal)) => {
                self.transact(verb, principal, reply).await;
            }
            (Named::Connect(command), _) => {
                self.connect(command, &words, reply);
                if command.name == "RESET" {
                    self.transaction = None;
                }
            }
            (_, None) => reply.error(refusal::NO_AUTH),
        }
        None
    }

    fn performer(&self, principal: Principal) -> Performer {
        Performer { worker: self.worker.clone(), conn: self.conn.clone(), principal }
    }

    fn connect(&mut self, command: &Connect, words: &[Bytes], reply: &mut Reply<'_>) {
        let desk = Desk {
            service: &self.worker.service,
            credentials: &self.conn.credentials,
            peer: self.conn.peer,
            local: self.conn.local,
            connections: self.worker.places.taken(),
            connects: connect::CONNECTS,
        };
        (command.run)(&desk, &mut self.session, words, reply);
        self.worker.counters.count(Operation::Session, Class::Done);
    }

    async fn transact(&mut self, verb: Verb, principal: Principal, reply: &mut Reply<'_>) {
        use Verb::{Discard, Exec, Multi, Watch};
        match (verb, self.transaction.take()) {
            (Multi, None) => {
                self.transaction = Some(Transaction::default());
                reply.simple("OK");
            }
            (Multi, open) => {
                reply.error("ERR MULTI calls can not be nested");
                self.transaction = open;
            }
            (Watch, open @ Some(_)) => {
                reply.error("ERR WATCH inside MULTI is not allowed");
                self.transaction = open;
            }
            (Watch, None) => reply.error(
                "ERR WATCH is not supported: send a condition with the change, such as SET with NX",
            ),
            (Exec, None) => reply.error("ERR EXEC without MULTI"),
            (Discard, None) => reply.error("ERR DISCARD without MULTI"),
            (Discard, Some(_)) => reply.simple("OK"),
            (Exec, Some(open)) if open.is_broken => {
                reply.error("EXECABORT Transaction discarded because of previous errors.");
            }
            (Exec, Some(open)) => self.execute(open, principal, reply).await,
        }
    }

    async fn execute(&mut self, open: Transaction, principal: Principal, reply: &mut Reply<'_>) {
        let performer = self.performer(principal);
        let (data, others, _charge) = open.parts();
        match performer.execute(&data).await {
            Err(refused) => refusal::write(&refused, reply),
            Ok(mut executed) => {
                reply.array(data.len() + others.len());
                let mut others = others.into_iter().peekable();
                for place in 0..data.len() + others.len() {
                    match others.next_if(|(at, ..)| *at == place) {
                        Some((_, command, words)) => self.connect(command, &words, reply),
                        None => executed.write_next(reply),
                    }
                }
            }
        }
    }

    /// A command that cannot be performed; a transaction that it is in cannot either.
    fn refuse(&mut self, text: &str, reply: &mut Reply<'_>) {
        self.break_transaction();
        self.worker.counters.count(Operation::Unknown, Class::Refused);
        reply.error(text);
    }

    /// Counts a command that was refused before it was looked at, and records it in the audit log.
    fn refused(&self, operation: Operation, principal: Option<&Principal>, refused: &Refusal) {
        self.worker.counters.count(operation, Class::Refused);
        audit_events::refused(&self.worker.service, self.conn.peer, operation, principal, refused);
    }

    fn break_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_broken = true;
        }
    }
}

/// Whether a command is the first line of a request over HTTP, or its header `Host`.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"HOST:")
}

/// The error for a name that no command has. The words behind it are not repeated: one of them may
/// be a token (promise P9).
fn unknown(name: &[u8]) -> String {
    const SHOWN: usize = 128;
    let name = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]);
    format!("ERR unknown command '{name}', with args beginning with: ")
}

#[cfg(test)]
mod tests;
