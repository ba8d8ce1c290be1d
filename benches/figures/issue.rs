//! Issue, synced before the answer, against `appendfsync always`.

use crate::bulk;
use crate::failure::Result;
use crate::load::Pace;
use crate::process::Server;
use crate::report::{LATENCY_HEADER, Table, count, latency_cells_us};
use crate::rounds::{Contender, interleave};
use crate::servers::{self, Peer};
use crate::settings::Settings;
use crate::work::Issues;

const CONNECTIONS: [usize; 3] = [1, 64, 256];
const TTL_MS: u64 = 60 * 60 * 1000;
/// Rewriting the file would only slow the peer down; it is left out of this figure.
const REDIS_SYNCED: [&str; 8] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
    "--auto-aof-rewrite-percentage",
    "0",
];

/// One table over all connection counts.
pub fn run(settings: &Settings) -> Result<Table> {
    settings.insist_on_a_disk()?;
    let peers = Peer::redis_like();
    let mut servers =
        vec![servers::jeton("jeton", &settings.folder("jeton"), &["--sync", "always"])?];
    for peer in peers.iter().filter(|peer| peer.missing().is_none()) {
        servers.push(peer.start(&settings.folder(peer.name), &REDIS_SYNCED)?);
    }
    let mut header =
        vec!["server", "connections", "issues/s", "× redis", "× valkey", "CPU µs per issue"];
    header.extend(LATENCY_HEADER);
    let mut table = Table::new("Issue: on the disk before the answer", &header);
    let mut issued = vec![0; servers.len()];
    for connections in CONNECTIONS {
        measure(settings, &servers, connections, &mut issued, &mut table)?;
    }
    for (server, issued) in servers.iter().zip(&issued) {
        bulk::insist_on_count(server, *issued)?;
    }
    for peer in &peers {
        if let Some(why) = peer.missing() {
            table.row(vec![peer.name.to_owned(), why]);
        }
    }
    table.note(format!(
        "jeton with `--sync always`, the peers with `--appendonly yes --appendfsync always --save \
         ''` and no rewriting, on the same file system; medians of {} rounds of {:?}, in turn. At \
         the end every server counts exactly what it acknowledged.",
        settings.rounds,
        settings.window()
    ));
    Ok(table)
}

fn measure(
    settings: &Settings,
    servers: &[Server],
    connections: usize,
    issued: &mut [u64],
    table: &mut Table,
) -> Result<()> {
    let mut contenders = Vec::new();
    for (server, issued) in servers.iter().zip(issued.iter()) {
        let issues = Issues::new(&server.target, None, usize::MAX, Box::new(|_| TTL_MS));
        let issues = issues.starting_at(*issued as usize);
        contenders.push(Contender::new(server, connections, Box::new(issues))?);
    }
    interleave(&mut contenders, Pace::closed(1), settings)?;
    for (contender, issued) in contenders.iter().zip(issued) {
        *issued += contender.operations;
    }
    let ratio = |contender: &Contender<'_>, name: &str| {
        let other = contenders.iter().find(|other| other.name == name);
        other.map_or("–".to_owned(), |other| contender.rate_ratio(other).show(2))
    };
    for contender in &contenders {
        let mut cells = vec![
            contender.name.clone(),
            connections.to_string(),
            count(contender.per_second().median),
            ratio(contender, "redis"),
            ratio(contender, "valkey"),
            contender.cpu_us().show(1),
        ];
        cells.extend(latency_cells_us(&contender.latency_ns()));
        table.row(cells);
    }
    Ok(())
}
