//! Resolve: CPU time of the server for one token, singly, pipelined and in batches.

use crate::bulk;
use crate::failure::{Failure, Result};
use crate::load::Pace;
use crate::process::Server;
use crate::report::{LATENCY_HEADER, Table, count, latency_cells_us};
use crate::requests::Key;
use crate::rounds::{Contender, cpu_clock_note, interleave};
use crate::servers::{self, Peer, REDIS_IN_MEMORY};
use crate::settings::Settings;
use crate::wire;
use crate::work::Reads;

/// What one resolve figure is.
struct Shape {
    title: &'static str,
    connections: usize,
    depth: usize,
    batch: Option<usize>,
    tokens: usize,
    with_floor: bool,
    with_memcached: bool,
}

/// 64 connections, one request at a time on each.
pub fn single(settings: &Settings) -> Result<Table> {
    let tokens = settings.size.pick(2_000, 100_000, 100_000);
    let title = "Resolve: 64 keep-alive connections, no pipelining";
    run(
        settings,
        &Shape {
            title,
            connections: 64,
            depth: 1,
            batch: None,
            tokens,
            with_floor: true,
            with_memcached: false,
        },
    )
}

/// 64 connections, sixteen requests at a time on each.
pub fn pipelined(settings: &Settings) -> Result<Table> {
    let tokens = settings.size.pick(2_000, 100_000, 100_000);
    let title = "Resolve: 64 connections, pipelined 16 deep";
    run(
        settings,
        &Shape {
            title,
            connections: 64,
            depth: 16,
            batch: None,
            tokens,
            with_floor: true,
            with_memcached: false,
        },
    )
}

/// 100 tokens in a request.
pub fn batch(settings: &Settings) -> Result<Table> {
    let tokens = settings.size.pick(5_000, 1_000_000, 1_000_000);
    let title = "Resolve: 100 tokens in a request, 16 connections";
    run(
        settings,
        &Shape {
            title,
            connections: 16,
            depth: 1,
            batch: Some(100),
            tokens,
            with_floor: false,
            with_memcached: true,
        },
    )
}

/// A loaded server with its keys.
struct Side {
    server: Server,
    keys: Vec<Key>,
}

fn run(settings: &Settings, shape: &Shape) -> Result<Table> {
    let peers = peers(shape);
    let mut sides = Vec::new();
    for &workers in &settings.workers {
        sides.push(start_jeton(settings, shape, workers)?);
    }
    if shape.with_floor {
        let answer = answer_to_first(&sides[0])?;
        let server = servers::floor(&settings.folder("floor"), &answer)?;
        sides.insert(0, Side { server, keys: sides[0].keys.clone() });
    }
    for peer in peers.iter().filter(|peer| peer.missing().is_none()) {
        let server = start_peer(settings, peer)?;
        let keys = bulk::load(&server, shape.tokens)?;
        sides.push(Side { server, keys });
    }
    let mut contenders = Vec::new();
    for side in &sides {
        let mut reads = Reads::new(&side.server.target, &side.keys, shape.batch);
        if side.server.name == "floor" {
            reads = reads.always(0);
        }
        contenders.push(Contender::new(&side.server, shape.connections, Box::new(reads))?);
    }
    interleave(&mut contenders, Pace::closed(shape.depth), settings)?;
    table(settings, shape, &contenders, &peers)
}

fn peers(shape: &Shape) -> Vec<Peer> {
    let mut peers = Peer::redis_like();
    if shape.with_memcached {
        peers.push(Peer::memcached());
    }
    peers
}

fn start_jeton(settings: &Settings, shape: &Shape, workers: usize) -> Result<Side> {
    let plural = if workers == 1 { "" } else { "s" };
    let name = format!("jeton, {workers} worker{plural}");
    let arguments = ["--sync", "never", "--workers", &workers.to_string()];
    let server = servers::jeton(&name, &settings.folder("jeton"), &arguments)?;
    let keys = bulk::load(&server, shape.tokens)?;
    Ok(Side { server, keys })
}

/// Starts a peer with everything in memory and one serving thread.
pub fn start_peer(settings: &Settings, peer: &Peer) -> Result<Server> {
    let folder = settings.folder(peer.name);
    match peer.name {
        "memcached" => peer.start(&folder, &["-m", "16384", "-t", "1", "-c", "2048"]),
        _ => peer.start(&folder, &REDIS_IN_MEMORY),
    }
}

/// What jeton answers to a resolve of the first token, byte for byte: the floor answers the same.
fn answer_to_first(side: &Side) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    side.server.target.encode_get(&[&side.keys[0]], false, &mut request);
    let answer = side.server.ask(&request)?;
    let asked = [(&side.keys[0], 0)];
    let checked = side.server.target.check_payloads(&answer, &asked, false);
    checked.map_err(|what| side.server.failed(&what))?;
    Ok(answer)
}

fn table(
    settings: &Settings,
    shape: &Shape,
    contenders: &[Contender<'_>],
    peers: &[Peer],
) -> Result<Table> {
    let mut header =
        vec!["server", "CPU µs per token", "× floor", "× redis", "× valkey", "tokens/s"];
    header.extend(LATENCY_HEADER);
    let mut table = Table::new(shape.title, &header);
    let named = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let ratio = |contender: &Contender<'_>, other: &str| {
        named(other).map_or("–".to_owned(), |other| contender.cpu_ratio(other).show(2))
    };
    for contender in contenders {
        let mut cells = vec![
            contender.name.clone(),
            contender.cpu_us().show(3),
            ratio(contender, "floor"),
            ratio(contender, "redis"),
            ratio(contender, "valkey"),
            count(contender.per_second().median),
        ];
        cells.extend(latency_cells_us(&contender.latency_ns()));
        table.row(cells);
    }
    for peer in peers {
        if let Some(why) = peer.missing() {
            table.row(vec![peer.name.to_owned(), why]);
        }
    }
    table.note(format!(
        "{} tokens loaded, chosen evenly; medians of {} rounds of {:?}, in turn, with the least \
         and the greatest; latency is that of a whole request.",
        count(shape.tokens as f64),
        settings.rounds,
        settings.window()
    ));
    table.note(cpu_clock_note(contenders));
    if shape.with_floor {
        let size = wire::excerpt(&answer_head(contenders)?);
        table.note(format!("The floor answers jeton's own bytes, with this head: `{size}`."));
    }
    Ok(table)
}

fn answer_head(contenders: &[Contender<'_>]) -> Result<Vec<u8>> {
    let floor = contenders.iter().find(|contender| contender.name == "floor");
    let floor = floor.ok_or_else(|| Failure::Unusable("there is no floor".to_owned()))?;
    let mut answer = floor.server.ask(b"GET / HTTP/1.1\r\nHost: floor\r\n\r\n")?;
    let end = wire::find_end(&answer, b"\r\n\r\n").unwrap_or(answer.len());
    answer.truncate(end);
    Ok(answer)
}
