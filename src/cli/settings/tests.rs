//! The flags of `jeton serve`: defaults, mistakes, limits.

use std::time::Duration;

use super::*;
use crate::config::Flags as _;
use crate::config::flags::Kind;
use crate::engine::SyncMode;
use crate::model::scope::Scope;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ServeArgs,
}

fn check(flags: &[&str]) -> Result<ServeConfig, Vec<String>> {
    let line = std::iter::once("serve").chain(flags.iter().copied());
    let checked = Line::parse_from(line).args.check();
    checked.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = check(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:7450".parse().unwrap());
    assert_eq!(config.admin_listen, "127.0.0.1:7451".parse().unwrap());
    assert_eq!(config.engine.data_dir, Some("jeton-data".into()));
    assert_eq!(config.engine.sync, SyncMode::Always);
    assert_eq!(config.engine.max_memory_bytes, None);
    assert_eq!(config.engine.remember_consumed, Duration::from_secs(900));
    assert_eq!(config.engine.queue_len, engine::Config::default().queue_len);
    assert_eq!(config.engine.wal.segment_size, 64 << 20);
    assert_eq!(config.engine.wal.log_min_size, 1 << 30);
    assert_eq!(config.http.default_ttl, Duration::from_secs(900));
    assert_eq!(config.http.max_ttl, Duration::from_secs(30 * 86_400));
    assert_eq!(config.http.max_payload, 64 << 10);
    assert_eq!(config.http.limits, http::Limits::default());
    assert_eq!(config.http.max_inflight, http::Config::default().max_inflight);
}

#[test]
fn all_mistakes_are_reported_at_once_each_with_its_flag() {
    let flags = [
        "--max-ttl",
        "x",
        "--segment-size",
        "y",
        "--listen",
        "here",
        "--sync",
        "often",
        "--workers",
        "-",
        "--log-format",
        "xml",
        "--max-batch",
        "1.5",
    ];
    let mistakes = check(&flags).unwrap_err();
    for flag in flags.iter().step_by(2) {
        let about = mistakes.iter().filter(|mistake| mistake.starts_with(flag));
        assert_eq!(about.count(), 1, "{flag} in {mistakes:?}");
    }
    assert_eq!(mistakes.len(), flags.len() / 2);
}

#[test]
fn all_values_out_of_their_limits_are_reported_at_once() {
    let flags = [
        "--max-payload",
        "2MiB",
        "--segment-size",
        "64KiB",
        "--default-ttl",
        "31d",
        "--workers",
        "0",
        "--max-connections",
        "0",
        "--idle-timeout",
        "1ms",
        "--drain-delay",
        "11m",
        "--queue",
        "0",
    ];
    let mistakes = check(&flags).unwrap_err();
    for flag in flags.iter().step_by(2) {
        let is_named = mistakes.iter().any(|mistake| mistake.starts_with(flag));
        assert!(is_named, "{flag} in {mistakes:?}");
    }
}

#[test]
fn p9_what_libraries_log_of_requests_stays_silent() {
    let config = check(&["--log-level", "trace,h2=trace"]).unwrap();
    let filter = config.log_filter.to_string();
    assert!(filter.contains("h2=off") && !filter.contains("h2=trace"), "{filter}");
    assert!(filter.contains("async_nats=off"), "{filter}");
}

#[test]
fn a_payload_must_fit_a_frame_also_when_it_is_relocated() {
    let small = ["--segment-size", "1MiB", "--log-min-size", "4MiB", "--max-payload"];
    assert!(check(&[&small[..], &["99KiB"]].concat()).is_ok());
    assert!(check(&[&small[..], &["100KiB"]].concat()).is_err());
    assert!(check(&[&small[..], &["256KiB", "--memory-only"]].concat()).is_ok());
}

#[test]
fn p8_the_largest_exchange_fits_into_a_share_or_the_start_names_the_flags() {
    let little = ["--max-inflight", "32MiB"];
    let mistakes = check(&little).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    for word in ["--max-inflight must", "at least 68MiB", "--max-batch", "--max-payload"] {
        assert!(mistakes[0].contains(word), "{word} in {mistakes:?}");
    }
    assert!(check(&["--max-inflight", "68MiB"]).is_ok());
    // A limit that is itself a mistake causes no second message.
    for wrong in [["--max-batch", "18446744073709551615"], ["--max-batch", "0"]] {
        let mistakes = check(&wrong).unwrap_err();
        assert!(mistakes.len() == 1 && mistakes[0].starts_with("--max-batch"), "{mistakes:?}");
    }
    assert!(check(&[&little[..], &["--max-batch", "50"]].concat()).is_ok());
    assert!(check(&[&little[..], &["--max-payload", "1KiB"]].concat()).is_ok());
}

#[test]
fn without_keys_only_loopback_is_listened_on() {
    for address in ["0.0.0.0:1", "[::]:1", "192.0.2.7:1"] {
        for flag in ["--listen", "--admin-listen"] {
            let mistakes = check(&[flag, address]).unwrap_err();
            assert!(mistakes[0].starts_with(flag) && mistakes[0].contains("--keys"));
            assert!(check(&[flag, address, "--insecure"]).is_ok());
            assert!(check(&[flag, address, "--keys", "keys.toml"]).is_ok());
        }
    }
    assert!(check(&["--listen", "[::1]:1"]).is_ok());
    assert!(check(&["--listen", "localhost:1"]).is_ok());
    let mistakes = check(&["--listen", "localhost:1", "--admin-listen", "[::1]:1"]).unwrap_err();
    assert!(mistakes[0].starts_with("--admin-listen must be another address"), "{mistakes:?}");
}

#[test]
fn what_may_be_done_without_a_key_is_little() {
    let check = |text| check(&["--keys", "k", "--anonymous", text]);
    let anonymous = check("shop-a:consume").unwrap().http.anonymous.unwrap();
    assert_eq!(anonymous.namespace.as_str(), "shop-a");
    assert!(anonymous.scopes.has(Scope::Consume) && !anonymous.scopes.has(Scope::Resolve));
    for text in ["shop-a", "shop-a:", ":resolve", "a:issue", "a:resolve,reference", "A:resolve"] {
        assert!(check(text).unwrap_err()[0].starts_with("--anonymous"), "{text}");
    }
    let mistakes = self::check(&["--anonymous", "a:resolve"]).unwrap_err();
    assert!(mistakes[0].contains("--keys"), "{mistakes:?}");
}

#[test]
fn memory_only_and_the_other_forms() {
    let flags = ["--memory-only", "--sync", "100ms", "--max-memory", "2GiB", "--max-ttl", "1h 30m"];
    let config = check(&flags).unwrap();
    assert_eq!(config.engine.data_dir, None);
    assert_eq!(config.engine.sync, SyncMode::Every(Duration::from_millis(100)));
    assert_eq!(config.engine.max_memory_bytes, Some(2 << 30));
    assert_eq!(config.engine.max_ttl, Duration::from_secs(5400));
    assert_eq!(config.http.max_ttl, config.engine.max_ttl);
}

#[test]
fn every_flag_of_serve_has_a_kind_and_so_a_key_in_the_file() {
    let command = flags::command::<ServeArgs>();
    let known = flags();
    let names: Vec<_> = command.get_arguments().map(|arg| arg.get_long().unwrap()).collect();
    let keys: Vec<_> = known.iter().map(|flag| flag.key.as_str()).collect();
    assert_eq!(names, keys, "a flag of another kind: teach Flag::of");
    assert!(known.len() >= 26, "{keys:?}");
    let kind = |key| known.iter().find(|flag| flag.key == key).map(|flag| flag.kind);
    assert_eq!(kind("huge-pages"), Some(Kind::Switch));
    assert_eq!(kind("listen"), Some(Kind::One));
    let paths = ["config", "data-dir", "keys", "secret-file"];
    for flag in known.iter().filter(|flag| paths.contains(&flag.key.as_str())) {
        assert!(flag.is_path, "{}", flag.key);
    }
    assert!(!known.iter().any(|flag| flag.key == "listen" && flag.is_path));
}
