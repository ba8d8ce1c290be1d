//! Memory for a token: everything the process holds, divided by the tokens in it.

use crate::bulk;
use crate::failure::Result;
use crate::process::Server;
use crate::report::{Table, count, mebibytes};
use crate::resolve::start_peer;
use crate::servers::{self, Peer};
use crate::settings::Settings;

/// One row for each server and size; one server at a time.
pub fn run(settings: &Settings) -> Result<Table> {
    let header = ["server", "tokens", "bytes per token", "of these anonymous", "VmRSS", "loaded/s"];
    let mut table =
        Table::new("Memory for a token, payloads of 128 bytes, with deadlines", &header);
    let sizes: &[usize] = settings.size.pick(&[20_000], &[1_000_000], &[1_000_000, 10_000_000]);
    let mut peers = Peer::redis_like();
    peers.push(Peer::memcached());
    for &tokens in sizes {
        let logged = servers::jeton("jeton", &settings.folder("jeton"), &["--sync", "never"])?;
        measure(logged, tokens, &mut table)?;
        let folder = settings.folder("jeton");
        let unlogged = servers::jeton("jeton, --memory-only", &folder, &["--memory-only"])?;
        measure(unlogged, tokens, &mut table)?;
        for peer in &peers {
            match peer.missing() {
                Some(why) => table.row(vec![peer.name.to_owned(), count(tokens as f64), why]),
                None => measure(start_peer(settings, peer)?, tokens, &mut table)?,
            }
        }
    }
    table.note(
        "Nothing is subtracted: the empty process is in it. Keys of the peers are as long as a \
         token is when shown, 32 characters.",
    );
    Ok(table)
}

fn measure(server: Server, tokens: usize, table: &mut Table) -> Result<()> {
    let started = std::time::Instant::now();
    drop(bulk::load(&server, tokens)?);
    let rate = tokens as f64 / started.elapsed().as_secs_f64();
    let memory = server.settled_memory()?;
    let each = |bytes: u64| format!("{:.1}", bytes as f64 / tokens as f64);
    table.row(vec![
        server.name.clone(),
        count(tokens as f64),
        each(memory.resident),
        each(memory.anonymous),
        mebibytes(memory.resident as f64),
        count(rate),
    ]);
    server.stop()
}
