//! The commands of a connection answer as a real server does, byte for byte.

use super::peer::Peer;
use crate::resp_data::redis::{Jeton, Redis};

const END: &[u8] = b"$7\r\nthe-end\r\n";

/// Inline commands, each script on a connection of its own.
const SCRIPTS: &[&[&str]] = &[
    &[
        "PING",
        "ping a",
        "PING a b",
        "PING \"a\\x41\\n\"",
        "PING 'a\\'b\\n'",
        "  PING  ",
        "",
        "PING \"\"",
    ],
    &["ECHO", "ECHO a b", "ECHO \"\""],
    &["SELECT 0", "SELECT 16", "SELECT x", "SELECT -1", "SELECT 99999999999999999999"],
    &["SELECT", "SELECT +0", "SELECT 00", "SELECT \" 0\""],
    &["HELLO 4", "HELLO 1", "HELLO x", "HELLO 3 AUTH a b", "HELLO 3 FOO", "HELLO 2 AUTH"],
    &["HELLO 3 SETNAME", "HELLO 3 SETNAME \"a b\"", "HELLO 3 AUTH default", "CLIENT GETNAME"],
    &["AUTH", "AUTH a", "AUTH default x", "AUTH foo x", "AUTH a b c"],
    &["RESET a", "CLIENT SETNAME n", "RESET", "CLIENT GETNAME"],
    &["CLIENT", "CLIENT FOO", "CLIENT ID x", "client foo", "CLIENT \"a\\nb\""],
    &["CLIENT GETNAME", "CLIENT SETNAME \"a b\"", "CLIENT SETNAME ab", "CLIENT GETNAME"],
    &["CLIENT SETNAME ab", "CLIENT SETNAME \"\"", "CLIENT GETNAME", "CLIENT SETNAME"],
    &["CLIENT NO-EVICT on", "CLIENT NO-EVICT OFF", "CLIENT NO-EVICT x", "CLIENT NO-EVICT"],
    &["CLIENT REPLY x", "CLIENT REPLY", "CLIENT REPLY ON"],
    &["CLIENT REPLY SKIP", "PING 1", "PING 2", "CLIENT REPLY OFF", "PING 3", "CLIENT REPLY ON"],
    &["CLIENT REPLY OFF", "FOO", "RESET", "PING 4"],
    &["CLIENT REPLY SKIP", "MULTI", "PING", "EXEC"],
    &["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON"],
    &["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING 1", "PING 2"],
    &["CLIENT MAINT_NOTIFICATIONS on"],
    &["COMMAND FOO", "COMMAND COUNT x", "COMMAND DOCS nope", "COMMAND INFO nope"],
    &["COMMAND LIST x", "COMMAND LIST FILTERBY X y", "COMMAND LIST FILTERBY MODULE x"],
    &["CONFIG", "CONFIG GET", "CONFIG GET save", "CONFIG GET save nope SAVE", "CONFIG GET nope"],
    &["CONFIG FOO", "CONFIG GET s[aA]v?", "CONFIG GET timeou*", "CONFIG GET [^a-rt-z]ave"],
    &["DBSIZE x", "TIME x", "UNWATCH", "UNWATCH a", "WATCH"],
    &["FOO", "\"\"", "\"F\\nO\"", "CLIENT|ID"],
    &["MULTI", "MULTI", "WATCH a", "FOO", "EXEC", "EXEC", "DISCARD"],
    &["MULTI", "PING", "ECHO x", "CLIENT GETNAME", "EXEC"],
    &["MULTI", "GET", "EXEC"],
    &["MULTI", "CLIENT FOO", "EXEC"],
    &["MULTI", "CLIENT ID x", "EXEC"],
    &["MULTI", "RESET", "EXEC"],
    &["MULTI", "AUTH x", "EXEC"],
    &["MULTI", "UNWATCH", "SELECT 0", "SELECT x", "EXEC"],
    &["MULTI", "DISCARD", "EXEC", "MULTI a", "EXEC a"],
    &["MULTI", "GET nothing", "PING", "EXEC"],
    &["MULTI", "EXEC"],
    &["MULTI", "QUIT"],
    &["QUIT"],
    &["QUIT a"],
    &["POST / HTTP/1.1", "PING"],
    &["host: a", "PING"],
    &["INFO nope"],
];

/// What versions before 7.2 do not have.
const SINCE_7_2: &[&[&str]] = &[
    &["CLIENT NO-TOUCH on", "CLIENT NO-TOUCH x", "CLIENT SETINFO LIB-NAME x"],
    &["CLIENT SETINFO LIB-VER \"a b\"", "CLIENT SETINFO FOO x", "CLIENT SETINFO LIB-NAME"],
];

/// Bytes as they are, each on a connection of its own.
const RAW: &[&[u8]] = &[
    b"*\r\n",
    b"*0\r\nPING\r\n",
    b"*-1\r\nPING\r\n",
    b"*x\r\n",
    b"*+1\r\n",
    b"*01\r\n",
    b"*2147483648\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$+4\r\nPING\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$4\r\nPING\r\n$2\r\n\r\n\r\n",
    b"\r\n\r\nPING\r\n",
    b"PING\n",
    b"PING \"a\n",
    b"PING \"a\"b\n",
    b"PING 'a\n",
];

/// What a server answers to `script`, until it closes the connection or has answered all.
fn answers(address: std::net::SocketAddr, protocol: u8, script: &[u8]) -> String {
    let mut peer = Peer::open(address);
    if protocol == 3 {
        peer.send(b"HELLO 3\r\n");
        peer.until(b"$7\r\nmodules\r\n*0\r\n");
    }
    peer.send(&[script, b"ECHO the-end\r\n"].concat());
    peer.until(END).escape_ascii().to_string()
}

fn compare(redis: &Redis, jeton: &Jeton, script: &[u8], wrong: &mut String) {
    for protocol in [2, 3] {
        let theirs = answers(redis.address, protocol, script);
        let ours = answers(jeton.address, protocol, script);
        if theirs != ours {
            let script = script.escape_ascii();
            wrong.push_str(&format!("  {script}, RESP{protocol}:\n    {theirs}\n    {ours}\n"));
        }
    }
}

#[test]
fn what_clients_say_when_they_connect_is_answered_as_by_redis() {
    let Some(redis) = Redis::start("commands of a connection of the Redis protocol") else {
        return;
    };
    let jeton = Jeton::start();
    let mut wrong = String::new();
    let newer = if redis.version >= (7, 2) { SINCE_7_2 } else { &[] };
    for script in SCRIPTS.iter().chain(newer) {
        let script: String = script.iter().map(|line| format!("{line}\r\n")).collect();
        compare(&redis, &jeton, script.as_bytes(), &mut wrong);
    }
    assert!(wrong.is_empty(), "redis {:?} answers something else:\n{wrong}", redis.version);
}

#[test]
fn p8_bytes_that_are_no_command_are_answered_as_by_redis() {
    let Some(redis) = Redis::start("errors of the Redis protocol") else { return };
    let jeton = Jeton::start();
    let mut wrong = String::new();
    for script in RAW {
        compare(&redis, &jeton, script, &mut wrong);
    }
    assert!(wrong.is_empty(), "redis {:?} answers something else:\n{wrong}", redis.version);
}
