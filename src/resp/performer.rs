//! Performs commands about tokens on behalf of a caller: with its scopes, in the audit log, and
//! counted.

use std::rc::Rc;

use bytes::Bytes;

use crate::audit::EventOutcome;
use crate::resp::conn::{Conn, Worker};
use crate::resp::data::table::Command;
use crate::resp::data::transaction::{self, Executed, Queued};
use crate::resp::data::{self, Came};
use crate::resp::refusal;
use crate::resp::reply::Reply;
use crate::service::audit_trail::Trail;
use crate::service::audit_words::Ending;
use crate::service::context::Context;
use crate::service::counters::Class;
use crate::service::memory_budget::Holder;
use crate::service::operation::Operation;
use crate::service::principal::{Principal, demand};
use crate::service::reads::Demand;
use crate::service::refusal::Refusal;
use crate::service::request_span::Arrival;

/// What commands of one caller are performed with.
pub(in crate::resp) struct Performer {
    pub(in crate::resp) worker: Rc<Worker>,
    pub(in crate::resp) conn: Rc<Conn>,
    pub(in crate::resp) principal: Principal,
}

impl Performer {
    /// Performs one command; gives its answer.
    pub(in crate::resp) async fn perform(
        self,
        command: &'static Command,
        words: Vec<Bytes>,
        is_3: bool,
    ) -> Vec<u8> {
        let mut answer = Vec::new();
        let mut reply = Reply::new(&mut answer, is_3);
        let (trail, holder) = self.begin();
        let context = self.context(&trail, &holder);
        let operation = command.operation;
        let came = match self.enter(operation, &trail) {
            Ok(()) => data::run(&context, command, &words, &mut reply).await,
            Err(refused) => {
                refusal::write(&refused, &mut reply);
                Came::refused(&refused)
            }
        };
        self.end(operation, &trail, came).await;
        answer
    }

    /// Performs the commands of a transaction together.
    pub(in crate::resp) async fn execute(&self, queued: &[Queued]) -> Result<Executed, Refusal> {
        let operation = Operation::Together;
        let (trail, holder) = self.begin();
        let context = self.context(&trail, &holder);
        let executed = match self.enter(operation, &trail) {
            Ok(()) => transaction::execute(&context, queued).await,
            Err(refused) => Err(refused),
        };
        let came = match &executed {
            Ok(_) => Came { outcome: EventOutcome::Ok, class: Class::Done },
            Err(refused) => Came::refused(refused),
        };
        self.end(operation, &trail, came).await;
        executed
    }

    fn begin(&self) -> (Trail, Holder) {
        let arrival = Arrival { protocol: "resp", drawn: self.conn.draw.take() };
        let trail = Trail::begin(&self.worker.service, self.conn.peer, Some(arrival));
        trail.admitted(&self.principal);
        (trail, self.conn.holder(Some(self.principal.clone())))
    }

    fn context<'a>(&'a self, trail: &'a Trail, holder: &'a Holder) -> Context<'a> {
        Context {
            service: &self.worker.service,
            access: &self.principal,
            peer: self.conn.peer.ip(),
            trail,
            holder,
            demand: Demand { at_least: None, is_linear: self.worker.is_linear() },
        }
    }

    /// Checks the scope, and reserves a place in the audit log.
    fn enter(&self, operation: Operation, trail: &Trail) -> Result<(), Refusal> {
        operation.scope().map_or(Ok(()), |scope| demand(&self.principal, scope))?;
        trail.may(operation)
    }

    /// Counts the command and ends its trail; where the audit log is required, waits for it.
    async fn end(&self, operation: Operation, trail: &Trail, came: Came) {
        self.worker.counters.count(operation, came.class);
        let ending = || Ending { outcome: came.outcome, status: None };
        if let Some(written) = trail.end(operation, ending) {
            // An error means that the writer has ended, because the server is shutting down.
            let _ = written.await;
        }
    }
}
