//! The commands about tokens.
//!
//! A command is found in the [`table`], its words become a [plan](plan::Plan), and the plan is
//! [performed](perform) by the operations of the service: by itself, or together with the others of
//! its [transaction]. What came of it is written as an [`answer`].
//!
//! | file | what |
//! |---|---|
//! | `table` | names, arities, keys, and what reads each command |
//! | `asked`, `words`, `expiry` | the words of a command: keys, values, numbers, options, expire times |
//! | `strings`, `set`, `keys`, `token` | read the commands, a family each |
//! | `plan` | what a command asks for, and how its outcomes are answered |
//! | `perform`, `transaction` | perform one command, or those of an `EXEC` |
//! | `answer`, `mistake` | write what came of it, or why it was not performed |

mod answer;
mod asked;
mod expiry;
mod keys;
mod mistake;
mod perform;
mod plan;
mod set;
mod strings;
pub(in crate::resp) mod table;
mod token;
pub(in crate::resp) mod transaction;
mod words;

use bytes::Bytes;

pub(in crate::resp) use self::asked::KEY_LEN_MAX;

use self::asked::Asked;
use self::mistake::Mistake;
use self::plan::Got;
use self::table::Command;
use crate::audit::EventOutcome;
use crate::resp::reply::Reply;
use crate::service::context::Context;
use crate::service::counters::Class;
use crate::service::refusal::Refusal;

/// What a command came to, for the audit log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) struct Came {
    pub(in crate::resp) outcome: EventOutcome,
    pub(in crate::resp) class: Class,
}

impl Came {
    /// What the service has refused.
    pub(in crate::resp) fn refused(refusal: &Refusal) -> Self {
        let class = if refusal.is_of_server() { Class::Failed } else { Class::Refused };
        Self { outcome: refusal.meaning(), class }
    }

    fn mistaken(mistake: &Mistake) -> Self {
        match mistake {
            Mistake::Refused(refusal) => Self::refused(refusal),
            other => Self { outcome: other.meaning(), class: Class::Refused },
        }
    }

    fn got(got: &[Got]) -> Self {
        match got {
            [Got::Missing | Got::Hidden] => {
                Self { outcome: EventOutcome::NotFound, class: Class::Refused }
            }
            _ => Self { outcome: EventOutcome::Ok, class: Class::Done },
        }
    }
}

/// Performs a command with these words after its name, whose number was checked, and writes its
/// answer. The caller has checked the scope of its operation.
pub(in crate::resp) async fn run(
    context: &Context<'_>,
    command: &'static Command,
    words: &[Bytes],
    reply: &mut Reply<'_>,
) -> Came {
    let asked = Asked { context, name: command.name, words, is_queued: false };
    let plan = match (command.read)(&asked) {
        Ok(plan) => plan,
        Err(mistake) => {
            answer::error(&mistake, reply);
            return Came::mistaken(&mistake);
        }
    };
    match perform::perform(context, plan.ask).await {
        Ok(got) => {
            answer::write(&plan.answer, &got, context.service.token_time(), reply);
            Came::got(&got)
        }
        Err(mistake) => {
            answer::error(&mistake, reply);
            Came::mistaken(&mistake)
        }
    }
}
