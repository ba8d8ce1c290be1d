//! Recovery: from starting the process until it is ready, with a log of twice what lives.

use std::path::PathBuf;
use std::time::Instant;

use crate::bulk::{self, BATCH, LONG_TTL_MS};
use crate::failure::{Failure, Result};
use crate::load::{Client, Pace};
use crate::process::Server;
use crate::report::{Spread, Table, count, mebibytes};
use crate::requests::Key;
use crate::servers::{self, Peer, REDIS_IN_MEMORY};
use crate::settings::{Settings, disk_bytes, forget_cached};
use crate::work::{Consumes, Reads};

/// Of the tokens issued, every second one is consumed again; of the others, every this many is
/// kept to be resolved after the restart.
const SAMPLE: usize = 100;
const CONNECTIONS: usize = 8;

/// Something that can be started again on its files.
struct Stored {
    name: String,
    folder: PathBuf,
    peer: Option<Peer>,
    disk_bytes: u64,
    cached: Vec<f64>,
    uncached: Vec<f64>,
}

/// One row for each server, with its files in the page cache and without.
pub fn run(settings: &Settings) -> Result<Table> {
    let living = settings.size.pick(20_000, 1_000_000, 10_000_000);
    let rounds = settings.rounds.min(3);
    let peers = Peer::redis_like();
    let (folder, sample) = prepare_jeton(settings, living)?;
    let mut stored = vec![Stored::new("jeton", folder, None)?];
    for peer in peers.iter().filter(|peer| peer.missing().is_none()) {
        let folder = prepare_peer(settings, peer, living)?;
        stored.push(Stored::new(peer.name, folder, Some(peer.clone()))?);
    }
    for _ in 0..rounds {
        for one in &mut stored {
            let seconds = one.restart(living, &sample)?;
            one.cached.push(seconds);
            forget_cached(&one.folder)?;
            let seconds = one.restart(living, &sample)?;
            one.uncached.push(seconds);
        }
    }
    Ok(table(living, rounds, &stored, &peers))
}

impl Stored {
    fn new(name: &str, folder: PathBuf, peer: Option<Peer>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            disk_bytes: disk_bytes(&folder)?,
            folder,
            peer,
            cached: Vec::new(),
            uncached: Vec::new(),
        })
    }

    /// Starts it, checks what it holds, and stops it; gives the seconds until it was ready.
    fn restart(&self, living: usize, sample: &[Key]) -> Result<f64> {
        let server = match &self.peer {
            None => servers::jeton(&self.name, &self.folder, &["--sync", "never"])?,
            Some(peer) => peer.start(&self.folder, &REDIS_IN_MEMORY)?,
        };
        let seconds = server.start_time.as_secs_f64();
        bulk::insist_on_count(&server, living as u64)?;
        if let Some(said) = server.tokens_at_start {
            if said != living as u64 {
                let what = format!("the ready line says {said} tokens instead of {living}");
                return Err(Failure::Wrong(what));
            }
            resolve_sample(&server, sample)?;
        }
        server.stop()?;
        Ok(seconds)
    }
}

/// Issues twice as many tokens as are to live and consumes every second one, a part at a time, so
/// that the dead lie between the living all over the log.
fn prepare_jeton(settings: &Settings, living: usize) -> Result<(PathBuf, Vec<Key>)> {
    let folder = settings.folder("jeton");
    let server = servers::jeton("jeton", &folder, &["--sync", "never"])?;
    let part = (living / 10).max(BATCH);
    let mut sample = Vec::new();
    for first in (0..living * 2).step_by(part * 2) {
        let issued = (living * 2 - first).min(part * 2);
        let keys = bulk::load_range(&server, first, issued, Box::new(|_| LONG_TTL_MS))?;
        let numbered = keys.into_iter().zip(first..);
        let (alive, dead): (Vec<_>, Vec<_>) = numbered.partition(|(_, number)| number % 2 == 0);
        consume(&server, &dead)?;
        let kept = alive.iter().filter(|(_, number)| number % (2 * SAMPLE) == 0);
        sample.extend(kept.map(|(key, _)| *key));
    }
    bulk::insist_on_count(&server, living as u64)?;
    server.stop()?;
    Ok((folder, sample))
}

fn consume(server: &Server, dead: &[(Key, usize)]) -> Result<()> {
    let target = &server.target;
    let mut client = Client::connect(target.address, target.protocol, CONNECTIONS)?;
    let mut consumes = Consumes::new(target, dead, BATCH);
    let done = client
        .run(&mut consumes, Pace::closed(1), None)
        .map_err(|failure| server.failed(&failure.to_string()))?;
    if done.operations == dead.len() as u64 {
        return Ok(());
    }
    Err(server.failed(&format!("consumed {} of {}", done.operations, dead.len())))
}

fn prepare_peer(settings: &Settings, peer: &Peer, living: usize) -> Result<PathBuf> {
    let folder = settings.folder(peer.name);
    let server = peer.start(&folder, &REDIS_IN_MEMORY)?;
    bulk::load(&server, living)?;
    let answer = server.ask(b"SAVE\r\n")?;
    if answer != b"+OK\r\n" {
        return Err(server.failed("SAVE was refused"));
    }
    server.stop()?;
    Ok(folder)
}

fn resolve_sample(server: &Server, sample: &[Key]) -> Result<()> {
    let target = &server.target;
    let mut client = Client::connect(target.address, target.protocol, CONNECTIONS)?;
    let mut reads = Reads::new(target, sample, None).every(2 * SAMPLE);
    let until = Instant::now() + std::time::Duration::from_millis(200);
    let resolved = client.run(&mut reads, Pace::closed(16), Some(until));
    resolved.map(|_| ()).map_err(|failure| server.failed(&failure.to_string()))
}

fn table(living: usize, rounds: usize, stored: &[Stored], peers: &[Peer]) -> Table {
    let header = [
        "server",
        "tokens",
        "on disk",
        "from the page cache s",
        "tokens/s",
        "from the disk s",
        "tokens/s",
    ];
    let mut table = Table::new("Recovery: from start to ready", &header);
    for one in stored {
        let (cached, uncached) = (one.cached.iter(), one.uncached.iter());
        let (cached, uncached) = (Spread::of(cached.copied()), Spread::of(uncached.copied()));
        table.row(vec![
            one.name.clone(),
            count(living as f64),
            mebibytes(one.disk_bytes as f64),
            cached.show(2),
            count(living as f64 / cached.median),
            uncached.show(2),
            count(living as f64 / uncached.median),
        ]);
    }
    for peer in peers {
        if let Some(why) = peer.missing() {
            table.row(vec![peer.name.to_owned(), count(living as f64), why]);
        }
    }
    table.note(format!(
        "jeton reads a log in which as many tokens were issued and consumed as live; the peers \
         load an RDB file of the living. Medians of {rounds} rounds. Counts are checked after \
         each start, and {} tokens resolved, byte for byte.",
        count((living / SAMPLE) as f64)
    ));
    table
}
