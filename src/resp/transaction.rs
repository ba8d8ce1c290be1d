//! `MULTI`: commands that wait for their `EXEC`.

use bytes::Bytes;

use crate::resp::connect::Connect;
use crate::resp::data::transaction::Queued;
use crate::resp::named::Named;
use crate::resp::reply::Reply;
use crate::service::memory_budget::{Charge, Holder};
use crate::service::state::{ANSWER_LEN_MAX, Service};

/// Memory of a queued command besides its words, in bytes.
const BESIDE: usize = 64;
/// Memory of a word besides its bytes.
const BESIDE_WORD: usize = 32;

/// What waits for `EXEC`.
#[derive(Default)]
pub(in crate::resp) struct Transaction {
    items: Vec<Item>,
    /// A command could not be queued, so none will be performed.
    pub(in crate::resp) is_broken: bool,
    len: usize,
    charge: Option<Charge>,
}

/// A command that waits.
pub(in crate::resp) struct Item {
    named: Named,
    words: Vec<Bytes>,
}

/// A command of the connection, and its place in the transaction.
pub(in crate::resp) type Other = (usize, &'static Connect, Vec<Bytes>);

impl Item {
    pub(in crate::resp) fn new(named: Named, words: Vec<Bytes>) -> Self {
        Self { named, words }
    }

    fn len(&self) -> usize {
        let words = self.words.iter().map(|word| word.len() + BESIDE_WORD).sum::<usize>();
        BESIDE + words
    }
}

impl Transaction {
    /// Queues a command, as far as there is room for it, and says so.
    pub(in crate::resp) fn queue(
        &mut self,
        item: Item,
        service: &Service,
        holder: impl Fn() -> Holder,
        reply: &mut Reply<'_>,
    ) {
        let max = service.limits.max_batch;
        let len = self.len + item.len();
        if self.is_broken {
            return reply.simple("QUEUED");
        }
        if self.items.len() >= max || len > ANSWER_LEN_MAX {
            self.give_up();
            return reply.error(&format!(
                "ERR a transaction has at most {max} commands (--max-batch) of together 16 MiB"
            ));
        }
        let charge = self.charge.get_or_insert_with(|| service.budget.charge(&holder()));
        if !charge.grow_to(len) {
            self.give_up();
            return reply.error(
                "OOM no memory for a longer transaction at the moment (--max-inflight); try again",
            );
        }
        self.len = len;
        self.items.push(item);
        reply.simple("QUEUED");
    }

    /// Nothing will be performed, so nothing is kept.
    fn give_up(&mut self) {
        *self = Self { is_broken: true, ..Self::default() };
    }

    /// The commands about tokens, the others with their places among all, and their memory.
    pub(in crate::resp) fn parts(self) -> (Vec<Queued>, Vec<Other>, Option<Charge>) {
        let (mut data, mut others) = (Vec::new(), Vec::new());
        for (place, Item { named, words }) in self.items.into_iter().enumerate() {
            match named {
                Named::Data(command) => data.push(Queued::new(command, words)),
                Named::Connect(command) => others.push((place, command, words)),
                // These are never queued.
                Named::Transaction(_) => {}
            }
        }
        (data, others, self.charge)
    }
}
