//! The side that is read: a Redis or Valkey, alone, as a replica, or as a cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use super::failure::{ImportError, Side};
use super::found::{Address, Elsewhere, Found, queue_read, read_one, unreadable};
use super::link::{Link, Reply};
use super::login::log_in;
use super::patience::{Hitch, Patience};
use super::place::{Place, host_and_port};
use crate::cli::out::tell;
use crate::model::token::NAME_LEN_MAX;

/// Keys that one SCAN asks for.
const SCAN_COUNT: &str = "500";
/// Bytes of values that are read at once.
const READ_LEN_MAX: usize = 4 << 20;
/// Maximum length of an INFO or of a small answer.
const ANSWER_LEN_MAX: usize = 1 << 20;
/// Times that a key is looked for on another node of a cluster.
const HOPS_MAX: usize = 5;

/// Some keys, and where to go on.
pub(super) struct Page {
    pub(super) cursor: u64,
    pub(super) keys: Vec<Vec<u8>>,
    /// Keys that are longer than a name can be.
    pub(super) too_long: u64,
}

/// A server to be scanned.
pub(super) struct Primary {
    pub(super) address: Address,
    /// Its slots of the cluster; none without a cluster.
    pub(super) slots: BTreeSet<u16>,
}

impl Primary {
    /// Whether a scan of `self` has found what `now` has: it is the same server, with no other slot.
    pub(super) fn has_all_of(&self, now: &Self) -> bool {
        self.address == now.address && now.slots.is_subset(&self.slots)
    }
}

/// An open connection.
struct Open {
    link: Link,
    run_id: String,
}

/// The source.
pub(super) struct Source {
    place: Place,
    /// Maximum length of a key in bytes: that of a name, and that of the prefix that is cut off.
    key_len_max: usize,
    open: HashMap<Address, Open>,
    patience: Patience,
}

impl Source {
    pub(super) fn new(place: Place, strip_len: usize, patience: Patience) -> Self {
        Self { place, key_len_max: NAME_LEN_MAX + strip_len, open: HashMap::new(), patience }
    }

    fn seed(&self) -> Address {
        format!("{}:{}", self.place.host, self.place.port)
    }

    /// The servers to be scanned: one, or each primary of a cluster.
    pub(super) fn primaries(&mut self) -> Result<Vec<Primary>, ImportError> {
        let seed = self.seed();
        // Without another try, so that a wrong address is an error at once.
        if !self.open.contains_key(&seed) {
            let opened = self.connect(&seed).map_err(|hitch| hitch.of_connecting(&self.place))?;
            self.open.insert(seed.clone(), opened);
        }
        let info = self.info(&seed)?;
        if field(&info, "cluster_enabled") == Some("1") {
            return self.cluster(&seed);
        }
        if matches!(field(&info, "role"), Some("slave" | "replica")) {
            if field(&info, "master_link_status") != Some("up") {
                return Err(ImportError::Orphan);
            }
            tell!(
                "warning: the source is a replica: what its primary has just consumed may still \
                 be there; stop the consumers, or import from the primary"
            );
        }
        Ok(vec![Primary { address: seed, slots: BTreeSet::new() }])
    }

    fn info(&mut self, node: &Address) -> Result<String, ImportError> {
        self.with(node, |open| {
            let reply = open.link.ask(&[b"INFO"], ANSWER_LEN_MAX)?;
            Hitch::check(&reply, "INFO")?;
            reply.text().ok_or_else(unreadable)
        })
    }

    fn cluster(&mut self, seed: &Address) -> Result<Vec<Primary>, ImportError> {
        let host = self.place.host.clone();
        self.with(seed, |open| {
            let reply = open.link.ask(&[b"CLUSTER", b"SLOTS"], ANSWER_LEN_MAX)?;
            Hitch::check(&reply, "CLUSTER SLOTS")?;
            let mut found: BTreeMap<Address, BTreeSet<u16>> = BTreeMap::new();
            for slots in reply.array().ok_or_else(unreadable)? {
                let Some([first, last, primary, ..]) = slots.array() else {
                    return Err(unreadable());
                };
                let (name, port) = match primary.array() {
                    Some([name, port, ..]) => (name.text(), port.integer()),
                    _ => return Err(unreadable()),
                };
                let slot = |reply: &Reply| u16::try_from(reply.integer()?).ok();
                let (Some(first), Some(last)) = (slot(first), slot(last)) else {
                    return Err(unreadable());
                };
                // A node that does not know its own address leaves it out.
                let name = name.filter(|name| !matches!(name.as_str(), "" | "?"));
                let name = name.unwrap_or_else(|| host.clone());
                let address = format!("{name}:{}", port.ok_or_else(unreadable)?);
                found.entry(address).or_default().extend(first..=last);
            }
            let primary = |(address, slots)| Primary { address, slots };
            Ok(found.into_iter().map(primary).collect())
        })
    }

    /// The run id of a server, which changes with each start.
    pub(super) fn run_id(&mut self, node: &Address) -> Result<String, ImportError> {
        self.with(node, |open| Ok(open.run_id.clone()))
    }

    /// The next keys. `None` if the server was started again: its cursors mean nothing now.
    pub(super) fn scan(
        &mut self,
        node: &Address,
        run_id: &str,
        cursor: u64,
        pattern: Option<&str>,
    ) -> Result<Option<Page>, ImportError> {
        let (cursor, key_len_max) = (cursor.to_string(), self.key_len_max);
        self.with(node, |open| {
            if open.run_id != run_id {
                return Ok(None);
            }
            let mut words: Vec<&[u8]> = vec![b"SCAN", cursor.as_bytes()];
            if let Some(pattern) = pattern {
                words.extend([&b"MATCH"[..], pattern.as_bytes()]);
            }
            words.extend([&b"COUNT"[..], SCAN_COUNT.as_bytes()]);
            let reply = open.link.ask(&words, key_len_max)?;
            Hitch::check(&reply, "SCAN")?;
            let Some([next, keys]) = reply.array() else { return Err(unreadable()) };
            let cursor = next.text().and_then(|text| text.parse().ok()).ok_or_else(unreadable)?;
            let mut page = Page { cursor, keys: Vec::new(), too_long: 0 };
            for key in keys.array().ok_or_else(unreadable)? {
                match key {
                    Reply::Bulk(key) => page.keys.push(key.clone()),
                    _ => page.too_long += 1,
                }
            }
            Ok(Some(page))
        })
    }

    /// What is under each key, at most `len_max` bytes of it.
    pub(super) fn read(
        &mut self,
        node: &Address,
        keys: &[&[u8]],
        len_max: usize,
    ) -> Result<Vec<Found>, ImportError> {
        let lens = self.lengths(node, keys)?;
        let mut found = Vec::with_capacity(keys.len());
        let mut from = 0;
        while from < keys.len() {
            let (mut to, mut len) = (from, 0);
            while to < keys.len() && (to == from || len + lens[to].min(len_max) <= READ_LEN_MAX) {
                len += lens[to].min(len_max);
                to += 1;
            }
            let part: Vec<_> = (from..to).map(|i| (keys[i], lens[i] > len_max)).collect();
            for (key, read) in keys[from..to].iter().zip(self.values(node, &part, len_max)?) {
                found.push(match read {
                    Ok(found) => found,
                    Err(elsewhere) => self.follow(elsewhere.from(node), key, len_max)?,
                });
            }
            from = to;
        }
        Ok(found)
    }

    /// The length of each string. 0 for what is no string, or elsewhere in a cluster.
    fn lengths(&mut self, node: &Address, keys: &[&[u8]]) -> Result<Vec<usize>, ImportError> {
        self.with(node, |open| {
            keys.iter().for_each(|key| open.link.queue(&[b"STRLEN", key]));
            open.link.send()?;
            let replies: Vec<_> =
                keys.iter().map(|_| open.link.reply(0)).collect::<io::Result<_>>()?;
            let length = |reply: Reply| match reply.code() {
                Some("WRONGTYPE" | "MOVED" | "ASK") => Ok(0),
                _ => {
                    Hitch::check(&reply, "STRLEN")?;
                    usize::try_from(reply.integer().unwrap_or_default()).map_err(|_| unreadable())
                }
            };
            replies.into_iter().map(length).collect()
        })
    }

    /// GET and PTTL of each key in one MULTI. Those that are too long are not asked for.
    fn values(
        &mut self,
        node: &Address,
        keys: &[(&[u8], bool)],
        len_max: usize,
    ) -> Result<Vec<Result<Found, Elsewhere>>, ImportError> {
        let clock = self.patience.clone();
        self.with(node, |open| {
            let asked = clock.now();
            for (key, _) in keys.iter().filter(|(_, is_too_long)| !is_too_long) {
                queue_read(&mut open.link, key);
            }
            open.link.send()?;
            let mut read = Vec::with_capacity(keys.len());
            for (_, is_too_long) in keys {
                read.push(match is_too_long {
                    true => Ok(Ok(Found::TooLong)),
                    false => read_one(&mut open.link, len_max, asked)?,
                });
            }
            read.into_iter().collect()
        })
    }

    /// Reads a key that a cluster has moved to another node, or is moving.
    fn follow(
        &mut self,
        mut elsewhere: Elsewhere,
        key: &[u8],
        len_max: usize,
    ) -> Result<Found, ImportError> {
        let clock = self.patience.clone();
        for _ in 0..HOPS_MAX {
            let (is_asking, node) = (elsewhere.is_asking, elsewhere.address);
            let found = self.with(&node, |open| {
                let asked = clock.now();
                if is_asking {
                    open.link.queue(&[b"ASKING"]);
                }
                queue_read(&mut open.link, key);
                open.link.send()?;
                if is_asking {
                    open.link.reply(ANSWER_LEN_MAX)?;
                }
                read_one(&mut open.link, len_max, asked)?
            })?;
            match found {
                Ok(found) => return Ok(found),
                Err(next) => elsewhere = next.from(&node),
            }
        }
        Err(ImportError::Moving)
    }

    /// Does something on the connection to a server, and again after what passes: a lost connection,
    /// or a server that is not ready.
    fn with<T>(
        &mut self,
        node: &Address,
        mut work: impl FnMut(&mut Open) -> Result<T, Hitch>,
    ) -> Result<T, ImportError> {
        let mut wait = self.patience.begin(Side::Source);
        loop {
            let open = match self.open.remove(node) {
                Some(open) => Ok(open),
                None => self.connect(node),
            };
            let hitch = match open {
                Err(hitch) => hitch,
                Ok(mut open) => match work(&mut open) {
                    Ok(done) => {
                        self.open.insert(node.clone(), open);
                        return Ok(done);
                    }
                    // The connection is dropped: replies may still be on their way.
                    Err(hitch) => hitch,
                },
            };
            wait.after(hitch)?;
        }
    }

    fn connect(&self, node: &Address) -> Result<Open, Hitch> {
        let (host, port) = host_and_port_of(node).ok_or_else(unreadable)?;
        let place = Place { host, port, ..self.place.clone() };
        let mut link = Link::open(&place)?;
        log_in(&mut link, &place, Side::Source)?;
        let reply = link.ask(&[b"INFO"], ANSWER_LEN_MAX)?;
        Hitch::check(&reply, "INFO")?;
        let info = reply.text().ok_or_else(unreadable)?;
        if field(&info, "loading") == Some("1") {
            return Err(Hitch::Later("LOADING".to_owned(), None));
        }
        let run_id = match field(&info, "run_id") {
            Some(run_id) => run_id.to_owned(),
            // Without a run id nobody sees whether the server was started again. So a cursor is only used
            // on the connection that it came from.
            None => {
                let mut random = [0; 16];
                getrandom::fill(&mut random).map_err(io::Error::other)?;
                const_hex::encode(random)
            }
        };
        Ok(Open { link, run_id })
    }
}

/// A field of an INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `host:port`; here the host of IPv6 has no brackets, as clusters write it.
fn host_and_port_of(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    match host_and_port(address) {
        Some((host, Some(port))) => Some((host, port)),
        _ => Some((host.to_owned(), port.parse().ok()?)),
    }
}
