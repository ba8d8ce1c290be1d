//! Tests of the commands of a connection. The answers are those of a real server, except where
//! jeton has its own.

use std::time::Duration;

use bytes::Bytes;

use super::desk::REDIS_VERSION;
use super::words::is_accepted;
use super::*;
use crate::engine::{Config, Engine, Op};
use crate::keys::{Keys, file};
use crate::model::time::UnixMillis;
use crate::resp::reply::Reply;
use crate::resp::session::Session;
use crate::service::authentication::CachedCredentials;
use crate::service::memory_budget::Budget;
use crate::service::miss_limiter::{MissLimiter, MissLimits};
use crate::service::quotas::Quotas;
use crate::service::state::{Service, Shared, TokenLimits};

/// A server with one connection.
struct Server {
    service: Service,
    credentials: CachedCredentials,
    session: Session,
    keys: Option<(tempfile::TempDir, String)>,
}

impl Server {
    fn open() -> Self {
        Self::new(false)
    }

    fn with_keys() -> Self {
        Self::new(true)
    }

    fn new(has_keys: bool) -> Self {
        let engine = Engine::open(Config::memory_only()).unwrap();
        let kept = has_keys.then(|| {
            let dir = tempfile::tempdir().unwrap();
            let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
            let now = UnixMillis(1_769_860_800_000);
            let (key, entry) = file::new_key(namespace, scopes, String::new(), now, None).unwrap();
            file::add(&dir.path().join("keys.toml"), &entry).unwrap();
            (dir, key.text().to_string())
        });
        let keys = kept.as_ref().map(|(dir, _)| {
            let path = dir.path().join("keys.toml");
            Keys::open(&path, engine.digester(), Default::default()).unwrap()
        });
        let limits = TokenLimits {
            default_ttl: Duration::from_secs(60),
            max_ttl: Duration::from_secs(600),
            max_payload: 1_000,
            max_batch: 10,
        };
        let shared = Shared {
            quotas: Quotas::new(&[], &engine, keys.as_ref()),
            engine,
            limits,
            budget: Budget::new(1 << 20, 1 << 18, has_keys),
            miss_limiter: MissLimiter::new(MissLimits::default()),
            keys,
            anonymous: None,
            audit: None,
            tracer: None,
            reads: None,
        };
        Self {
            service: shared.service(),
            credentials: CachedCredentials::default(),
            session: Session::new(7),
            keys: kept,
        }
    }

    fn key(&self) -> String {
        self.keys.as_ref().unwrap().1.clone()
    }

    /// The answer to a command, whose words are between spaces.
    fn ask(&mut self, command: &str) -> String {
        let words: Vec<Bytes> =
            command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        self.ask_words(&words)
    }

    fn ask_words(&mut self, words: &[Bytes]) -> String {
        let desk = Desk {
            service: &self.service,
            credentials: &self.credentials,
            peer: ([127, 0, 0, 1], 4_000).into(),
            local: Some(([127, 0, 0, 1], 7_452).into()),
            connections: 3,
            connects: CONNECTS,
        };
        let connect = command(&words[0]).unwrap();
        assert!(is_accepted(connect.arity, words.len()), "{words:?}");
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.session.is_3);
        (connect.run)(&desk, &mut self.session, &words[1..], &mut reply);
        String::from_utf8(out).unwrap()
    }
}

const OK: &str = "+OK\r\n";
const NO_AUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

#[test]
fn every_command_is_found_in_any_case_and_has_its_own_documentation() {
    assert!(CONNECTS.is_sorted_by(|one, next| one.name < next.name));
    for connect in CONNECTS {
        let lower = connect.name.to_ascii_lowercase();
        assert_eq!(command(lower.as_bytes()).map(|found| found.name), Some(connect.name));
    }
    let mut summaries = Vec::new();
    for listed in super::command::all(CONNECTS) {
        let (group, summary) = docs::of(listed.name);
        assert!(!summary.is_empty(), "{} has no sentence in docs.rs", listed.name);
        summaries.push((listed.name, group));
    }
    summaries.sort_unstable();
    assert!(summaries.windows(2).all(|two| two[0].0 != two[1].0), "a command is listed twice");
}

#[test]
fn small_commands_answer_as_redis_does() {
    let mut server = Server::open();
    for (command, answer) in [
        ("PING", "+PONG\r\n"),
        ("ping a", "$1\r\na\r\n"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("ECHO a", "$1\r\na\r\n"),
        ("SELECT 0", OK),
        ("SELECT 16", "-ERR DB index is out of range\r\n"),
        ("SELECT -1", "-ERR DB index is out of range\r\n"),
        ("SELECT x", "-ERR value is not an integer or out of range\r\n"),
        ("SELECT 99999999999999999999", "-ERR value is not an integer or out of range\r\n"),
        ("SELECT 99999999999", "-ERR value is not an integer or out of range\r\n"),
        ("UNWATCH", OK),
        ("DBSIZE", ":0\r\n"),
    ] {
        assert_eq!(server.ask(command), answer, "{command}");
    }
    let time = server.ask("TIME");
    assert!(time.starts_with("*2\r\n$10\r\n"), "{time}");
    assert_eq!(server.ask("QUIT now"), OK);
    assert!(server.session.is_closing);
}

#[test]
fn without_keys_auth_is_answered_as_by_a_server_without_a_password() {
    let mut server = Server::open();
    let no_password = "-ERR AUTH <password> called without any password configured for the \
                       default user. Are you sure your configuration is correct?\r\n";
    for (command, answer) in [
        ("AUTH x", no_password),
        ("AUTH default x", OK),
        ("AUTH other x", WRONG),
        ("AUTH Default x", WRONG),
        ("AUTH a b c", "-ERR syntax error\r\n"),
    ] {
        assert_eq!(server.ask(command), answer, "{command}");
    }
}

#[test]
fn hello_chooses_the_version_and_answers_in_it() {
    let mut server = Server::open();
    let fields = "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:";
    let rest = "\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\
                \r\n$7\r\nmodules\r\n*0\r\n";
    assert_eq!(server.ask("HELLO"), format!("*14\r\n{fields}2{rest}"));
    assert_eq!(server.ask("CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(server.ask("HELLO 3 SETNAME pool"), format!("%7\r\n{fields}3{rest}"));
    assert_eq!(server.ask("hello"), format!("%7\r\n{fields}3{rest}"), "the version stays");
    assert_eq!(server.ask("CLIENT GETNAME"), "$4\r\npool\r\n");
    assert_eq!(server.ask("HELLO 2"), format!("*14\r\n{fields}2{rest}"));
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let mut server = Server::open();
    for (command, answer) in [
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 1", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO +3", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 3 AUTH a b", WRONG),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"),
        ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'\r\n"),
        ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
        ("HELLO 3 SETNAME a AUTH a b", WRONG),
        ("HELLO 3 HELLO", "-ERR Syntax error in HELLO option 'HELLO'\r\n"),
    ] {
        assert_eq!(server.ask(command), answer, "{command}");
        assert!(!server.session.is_3 && server.session.name.is_empty(), "{command}");
    }
    let words =
        ["HELLO", "3", "SETNAME", "a b"].map(|word| Bytes::copy_from_slice(word.as_bytes()));
    let error = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    assert_eq!(server.ask_words(&words), error);
}

#[test]
fn a_key_is_shown_by_auth_or_hello_and_until_then_little_is_told() {
    let mut server = Server::with_keys();
    let key = server.key();
    let hello = server.ask("HELLO 3");
    assert!(hello.starts_with("-NOAUTH HELLO must be called with the client already"), "{hello}");
    assert!(!server.session.is_3);
    assert_eq!(server.ask("CLIENT ID"), NO_AUTH);
    assert_eq!(server.ask("CLIENT SETNAME early"), OK);
    assert_eq!(server.ask("CLIENT SETINFO LIB-NAME lib"), OK);
    assert_eq!(server.ask("AUTH wrong"), WRONG);
    assert_eq!(server.ask(&format!("AUTH other {key}")), WRONG);
    assert!(server.session.key.is_none());
    assert!(server.ask(&format!("HELLO 3 AUTH default {key}")).starts_with("%7\r\n"));
    assert_eq!(server.ask("CLIENT ID"), ":7\r\n");
    assert_eq!(server.ask("CLIENT GETNAME"), "$5\r\nearly\r\n");
    assert_eq!(server.ask("AUTH wrong"), WRONG);
    assert_eq!(server.ask("CLIENT ID"), ":7\r\n", "a failure takes nothing away");
    assert_eq!(server.ask("RESET"), "+RESET\r\n");
    assert_eq!(server.ask("CLIENT ID"), NO_AUTH, "RESET takes the key away");
    for auth in [format!("AUTH {key}"), format!("AUTH default {key}")] {
        server.session.reset();
        assert_eq!(server.ask(&auth), OK);
        assert_eq!(server.ask("CLIENT ID"), ":7\r\n");
    }
}

#[test]
fn a_client_says_who_it_is() {
    let mut server = Server::open();
    let special = "cannot contain spaces, newlines or special characters.\r\n";
    for (command, answer) in [
        ("CLIENT GETNAME", "$-1\r\n".to_owned()),
        ("CLIENT SETNAME ab", OK.to_owned()),
        ("CLIENT GETNAME", "$2\r\nab\r\n".to_owned()),
        ("CLIENT SETNAME é", format!("-ERR Client names {special}")),
        ("CLIENT SETNAME ", OK.to_owned()),
        ("CLIENT GETNAME", "$-1\r\n".to_owned()),
        ("CLIENT SETINFO lib-name lib", OK.to_owned()),
        ("CLIENT SETINFO LIB-VER é", format!("-ERR LIB-VER {special}")),
        ("CLIENT SETINFO FOO x", "-ERR Unrecognized option 'FOO'\r\n".to_owned()),
        ("CLIENT NO-EVICT on", OK.to_owned()),
        ("CLIENT NO-TOUCH OFF", OK.to_owned()),
        ("CLIENT NO-EVICT x", "-ERR syntax error\r\n".to_owned()),
        ("CLIENT REPLY x", "-ERR syntax error\r\n".to_owned()),
    ] {
        assert_eq!(server.ask(command), answer, "{command}");
    }
    let info = server.ask("CLIENT INFO");
    for field in ["id=7 ", "addr=127.0.0.1:4000 ", " laddr=127.0.0.1:7452 ", " lib-name=lib "] {
        assert!(info.contains(field), "{field} {info}");
    }
    server.session.is_3 = true;
    assert!(server.ask("CLIENT INFO").starts_with('='), "a text for people");
}

#[test]
fn p8_the_names_of_a_client_are_bounded() {
    let mut server = Server::open();
    let long = "x".repeat(513);
    for command in ["CLIENT SETNAME", "CLIENT SETINFO LIB-NAME", "HELLO 3 SETNAME"] {
        let answer = server.ask(&format!("{command} {long}"));
        assert!(answer.contains("cannot have more than 512 bytes"), "{answer}");
    }
    assert_eq!(server.ask(&format!("CLIENT SETNAME {}", &long[..512])), OK);
}

#[test]
fn subcommands_that_are_unknown_or_wrong_are_errors_also_before_they_are_performed() {
    let mut server = Server::open();
    for (command, answer) in [
        ("CLIENT FOO", "ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
        ("CLIENT TRACKING on", "ERR unknown subcommand 'TRACKING'. Try CLIENT HELP."),
        (
            "CLIENT MAINT_NOTIFICATIONS on",
            "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
        ),
        ("CLIENT ID x", "ERR wrong number of arguments for 'client|id' command"),
        ("CLIENT REPLY", "ERR wrong number of arguments for 'client|reply' command"),
        ("COMMAND FOO", "ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
        ("COMMAND COUNT x", "ERR wrong number of arguments for 'command|count' command"),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command"),
        ("CONFIG SET a b", "ERR unknown subcommand 'SET'. Try CONFIG HELP."),
    ] {
        assert_eq!(server.ask(command), format!("-{answer}\r\n"), "{command}");
        let words: Vec<Bytes> =
            command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let connect = super::command(&words[0]).unwrap();
        assert_eq!(connect.check(&words[1..]), Err(answer.to_owned()), "{command}");
    }
    for alone in [&b"PING"[..], b"COMMAND"] {
        assert_eq!(super::command(alone).unwrap().check(&[]), Ok(()));
    }
    let long = "x".repeat(1_000);
    let answer = server.ask(&format!("CLIENT {long}"));
    assert_eq!(answer.len(), "-ERR unknown subcommand ''. Try CLIENT HELP.\r\n".len() + 128);
}

#[test]
fn answers_are_switched_off_and_on_and_skipped() {
    let mut server = Server::open();
    assert_eq!(server.ask("CLIENT REPLY SKIP"), "");
    assert_eq!(server.session.replies, crate::resp::session::Replies::SkipNext);
    assert_eq!(server.ask("CLIENT REPLY OFF"), "");
    assert_eq!(server.ask("CLIENT REPLY SKIP"), "");
    assert_eq!(server.session.replies, crate::resp::session::Replies::Off, "off stays off");
    assert_eq!(server.ask("CLIENT REPLY ON"), OK);
    assert!(server.session.replies.are_heard());
}

#[test]
fn command_lists_what_there_is() {
    let mut server = Server::open();
    let count = super::command::all(CONNECTS).count();
    assert_eq!(server.ask("COMMAND COUNT"), format!(":{count}\r\n"));
    assert!(server.ask("COMMAND").starts_with(&format!("*{count}\r\n*10\r\n")));
    assert!(server.ask("COMMAND LIST").starts_with(&format!("*{count}\r\n")));
    assert!(server.ask("COMMAND DOCS").starts_with(&format!("*{}\r\n", 2 * count)));
    assert_eq!(server.ask("COMMAND DOCS nope"), "*0\r\n");
    assert_eq!(server.ask("COMMAND INFO nope"), "*1\r\n$-1\r\n");
    assert_eq!(server.ask("COMMAND LIST FILTERBY MODULE x"), "*0\r\n");
    assert_eq!(server.ask("COMMAND LIST FILTERBY X y"), "-ERR syntax error\r\n");
    let get = server.ask("COMMAND LIST FILTERBY PATTERN get*");
    assert_eq!(get, "*3\r\n$3\r\nget\r\n$6\r\ngetdel\r\n$5\r\ngetex\r\n");
    let transaction = server.ask("COMMAND LIST FILTERBY ACLCAT Transaction");
    assert!(transaction.starts_with("*4\r\n$5\r\nmulti\r\n"), "{transaction}");
    server.session.is_3 = true;
    let spec = "~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\n\
                type\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n\
                $4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n\
                :1\r\n$5\r\nlimit\r\n:0\r\n";
    let get = server.ask("COMMAND INFO Get");
    assert!(
        get.starts_with("*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n")
    );
    assert!(get.ends_with(&format!("~0\r\n{spec}~0\r\n")), "{get}");
}

#[test]
fn settings_are_found_by_patterns() {
    let mut server = Server::open();
    for (command, answer) in [
        ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET save nope SAVE", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET nope", "*0\r\n"),
        ("CONFIG GET time*", "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n"),
        ("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
        ("CONFIG GET databases", "*2\r\n$9\r\ndatabases\r\n$1\r\n1\r\n"),
        ("CONFIG GET replica-read-only", "*2\r\n$17\r\nreplica-read-only\r\n$3\r\nyes\r\n"),
    ] {
        assert_eq!(server.ask(command), answer, "{command}");
    }
    server.session.is_3 = true;
    assert_eq!(server.ask("CONFIG GET save"), "%1\r\n$4\r\nsave\r\n$0\r\n\r\n");
}

#[test]
fn info_and_hello_tell_one_version_that_clients_can_read() {
    let mut server = Server::open();
    let parts: Vec<u32> = REDIS_VERSION.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(parts.len() == 3 && (parts[0], parts[1]) >= (7, 2), "{REDIS_VERSION}");
    let info = server.ask("INFO");
    for line in [
        &format!("redis_version:{REDIS_VERSION}")[..],
        &format!("jeton_version:{}", build_info()),
        "loading:0",
        "role:master",
        "redis_mode:standalone",
        "cluster_enabled:0",
        "tcp_port:7452",
        "connected_clients:3",
        "# Keyspace",
    ] {
        assert!(info.contains(&format!("{line}\r\n")), "{line} {info}");
    }
    assert!(server.ask("HELLO").contains(REDIS_VERSION));
    for all in ["INFO all", "info EVERYTHING", "INFO nope default"] {
        assert_eq!(server.ask(all).matches("# ").count(), info.matches("# ").count(), "{all}");
    }
    assert_eq!(server.ask("INFO nope"), "$0\r\n\r\n");
    assert_eq!(server.ask("info Cluster"), "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n");
    assert_eq!(
        server.ask("INFO keyspace cluster"),
        "$44\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n\r\n"
    );
    server.session.is_3 = true;
    assert_eq!(server.ask("INFO keyspace"), "=16\r\ntxt:# Keyspace\r\n\r\n");
}

fn build_info() -> &'static str {
    crate::build_info::VERSION
}

#[test]
fn p10_nobody_learns_what_another_namespace_holds() {
    let mut server = Server::with_keys();
    let engine = server.service.engine.clone();
    let digest = |digester: &crate::model::token::Digester, byte| {
        digester.digest(&crate::model::token::Token::from_random(&[byte; 24]))
    };
    let own = engine.digester().of(&"shop".parse().unwrap());
    for digest in [digest(&own, 1), digest(engine.digester(), 2), digest(engine.digester(), 3)] {
        let ttl = Duration::from_secs(60);
        let payload = b"1".to_vec();
        let issue = Op::Issue { digest, payload, ttl, uses: 1, peek: true, derived: false };
        engine.submit(vec![issue]).unwrap().wait().unwrap();
    }
    let key = server.key();
    assert_eq!(server.ask(&format!("AUTH {key}")), OK);
    for _ in 0..200 {
        if server.ask("DBSIZE") == ":1\r\n" {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.ask("DBSIZE"), ":1\r\n");
    assert!(server.ask("INFO").contains("db0:keys=1,expires=1,avg_ttl=0\r\n"));
}
