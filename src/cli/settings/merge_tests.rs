//! Tests of the file and of the merge, on text alone.

use clap::{Arg, ArgAction, Command, FromArgMatches};

use super::*;
use crate::config::file::{ConfigFile, MISTAKES_MAX, Place, VALUE_LEN_MAX, Value};
use crate::config::flags::{Kind, command_without_environment};
use crate::config::merge::{Source, as_flags};
use crate::config::rejected::refusal;

fn file(text: &str) -> ConfigFile {
    ConfigFile::parse("f.toml".to_owned(), text, flags())
}

fn given(args: &[&str], environment: &[(&str, &str)]) -> Given {
    let matches = command_without_environment::<ServeArgs>().try_get_matches_from(args).unwrap();
    let mut given = Given::of(&matches);
    for (key, text) in environment {
        let value = match given.values[*key].0 {
            Value::Switch(_) => Value::Switch(!["", "0", "false"].contains(text)),
            Value::Texts(_) => Value::Texts(vec![text.into()]),
        };
        if given.values[*key].1 == Source::Default {
            given.values.insert((*key).to_owned(), (value, Source::Environment));
        }
    }
    given
}

fn told_of(args: &[&str], environment: &[(&str, &str)], text: &str) -> Vec<String> {
    let settings = Settings::merge(&given(args, environment), Some(file(text)));
    let mistakes = settings.check().err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
}

/// For each flag a valid value that is not its default. A flag that is missing here has not been
/// tested in a file.
fn another_value(key: &str) -> String {
    let text = match key {
        "listen" => "127.0.0.1:1",
        "admin-listen" => "127.0.0.1:2",
        "anonymous" => "shop-a:resolve",
        "sync" => "100ms",
        "log-level" => "jeton=debug,warn",
        "log-format" => "json",
        "max-batch" | "max-connections" | "workers" | "queue" => "77",
        "segment-size" => "32MiB",
        "log-min-size" => "2GiB",
        "max-memory" | "max-inflight" => "512MiB",
        "max-payload" => "32KiB",
        "max-ttl" | "log-max-age" => "20d",
        "remember-consumed" => "0s",
        "quota" => "shop-a:tokens=5",
        key if key.ends_with("-ttl") => "14m",
        key if key.ends_with("-timeout") || key == "drain-delay" => "7s",
        _ => "another",
    };
    text.to_owned()
}

#[test]
fn every_flag_of_serve_can_be_set_by_the_file() {
    let known = flags();
    for flag in known.iter().filter(|flag| flag.key != "config") {
        let text = another_value(&flag.key);
        let (line, wanted) = match flag.kind {
            Kind::Switch => ("true".to_owned(), Value::Switch(true)),
            Kind::One => (format!("{text:?}"), Value::Texts(vec![text.into()])),
            Kind::Many => (format!("[{text:?}]"), Value::Texts(vec![text.into()])),
        };
        let read = file(&format!("# one\n{} = {line}\n", flag.key));
        assert_eq!(read.mistakes, [], "{}", flag.key);
        let column = flag.key.len() + 4;
        let place = Place { line: 2, column };
        let settings = Settings::merge(&Given::nothing(), Some(read));
        let setting = settings.get(&flag.key).unwrap();
        assert_eq!((&setting.value, setting.source), (&wanted, Source::File(place)));
        // clap parses it as it parses the flag itself.
        let parsed = settings.parse();
        assert_eq!(parsed.refused, [], "{}", flag.key);
        let matches =
            command_without_environment::<ServeArgs>().try_get_matches_from(as_flags(setting));
        let by_flag = ServeArgs::from_arg_matches(&matches.unwrap()).unwrap();
        let by_default = Settings::merge(&Given::nothing(), None).parse().flags.unwrap();
        let by_file = format!("{:?}", parsed.flags.unwrap());
        assert_eq!(by_file, format!("{by_flag:?}"), "{}", flag.key);
        assert_ne!(by_file, format!("{by_default:?}"), "{}", flag.key);
    }
}

#[test]
fn flags_win_then_environment_then_file_then_default() {
    let text = "queue = 3\nsync = \"never\"\nhuge-pages = true\ndata-dir = \"of file\"\n";
    let env = [("queue", "2"), ("sync", "2ms"), ("huge-pages", "0"), ("data-dir", "of env")];
    let flags = ["--queue=1", "--sync=always", "--huge-pages", "--data-dir=of flag"];
    let shown = |args: &[&str], env: &[(&str, &str)], text: &str| {
        let settings = Settings::merge(&given(args, env), Some(file(text)));
        ["queue", "sync", "huge-pages", "data-dir"].map(|key| {
            let setting = settings.get(key).unwrap();
            format!("{} {}", setting.shown(), settings.origin(setting))
        })
    };
    assert_eq!(
        shown(&flags, &env, text),
        ["1 --queue", "always --sync", "true --huge-pages", "of flag --data-dir"]
    );
    assert_eq!(
        shown(&[], &env, text),
        ["2 JETON_QUEUE", "2ms JETON_SYNC", "false JETON_HUGE_PAGES", "of env JETON_DATA_DIR"]
    );
    assert_eq!(
        shown(&[], &[], text),
        ["3 f.toml:1", "never f.toml:2", "true f.toml:3", "of file f.toml:4"]
    );
    assert_eq!(
        shown(&[], &[], ""),
        ["8192 default", "always default", "false default", "jeton-data default"]
    );
    // A default that depends on another setting, wherever that one is set.
    let node = "1s default";
    assert_eq!(shown(&["--cluster=nats://a"], &[], "")[1], node);
    assert_eq!(shown(&[], &[], "cluster = [\"nats://a\"]\n")[1], node);
    assert_eq!(shown(&["--cluster=nats://a"], &[], "sync = \"always\"\n")[1], "always f.toml:1");
    // The server gets the value that is shown.
    let settings = Settings::merge(&given(&["--queue=5"], &env), Some(file(text)));
    let config = settings.check().unwrap();
    assert_eq!((config.engine.queue_len, config.huge_pages), (5, false));
    assert_eq!(config.engine.data_dir, Some("of env".into()));
}

#[test]
fn every_mistake_of_form_has_its_line_and_column() {
    let text = "\
listen = \"nowhere\"
admin_listen = \"127.0.0.1:1\"
workers = true
max-ttl = soon
huge-pages = \"yes\"
keys = 5
max-batch = \"none\"
queue = 1.5
queue = 2
  memory-onyl = true
config = \"other.toml\"
help = true
größe = 1
sync = 99999999999999999999
data-dir = \"ä\"; idle-timeout = 1
[tls]
cert = \"c\"
";
    let said = told_of(&[], &[], text);
    let begins = [
        "f.toml:1:10: listen: must be an address with a port",
        "f.toml:2:1: admin_listen: unknown key; did you mean admin-listen?",
        "f.toml:3:11: workers: must be text or an integer, not true or false",
        "f.toml:4:11: ",
        "f.toml:5:14: huge-pages: must be true or false, not text",
        "f.toml:6:8: keys: must be text, the path of a file, not an integer",
        "f.toml:7:13: max-batch: must be a whole number, not \"none\"",
        "f.toml:8:9: queue: must be text or an integer, not a fraction",
        "f.toml:9:1: queue: is repeated",
        "f.toml:10:3: memory-onyl: unknown key; did you mean memory-only?",
        "f.toml:11:1: config: can't be set in a file",
        "f.toml:12:1: help: can only be used on the command line",
        "f.toml:13:1: ",
        "f.toml:14:8: sync: must be an integer of 64 bits",
        "f.toml:15:15: ",
        "f.toml:16:2: tls: unknown key; the keys are the flags of serve, without tables",
    ];
    for (n, begin) in begins.iter().enumerate() {
        let count = said.iter().filter(|said| said.starts_with(begin)).count();
        assert!(count >= 1, "{n}: {begin}: {said:#?}");
    }
    let lines = said.iter().map(|said| said.split(':').nth(1).unwrap().parse::<usize>().unwrap());
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_sorted(), "{said:#?}");
    let mut each = lines.clone();
    each.dedup();
    assert_eq!(each, (1..=16).collect::<Vec<_>>(), "{said:#?}");
    assert!(said.iter().all(|said| !said.contains('\n')), "{said:#?}");
}

#[test]
fn values_that_contradict_each_other_name_both_places() {
    let text = "segment-size = \"1MiB\"\nlog-min-size = \"2MiB\"\n";
    let said = told_of(&[], &[], text);
    assert_eq!(said.len(), 1, "{said:?}");
    let begin = "f.toml:2:16: log-min-size: must be at least 4 times segment-size (f.toml:1),";
    assert!(said[0].starts_with(begin), "{said:?}");
    let said = told_of(&[], &[], "\nlisten = \"0.0.0.0:1\"");
    assert!(said[0].starts_with("f.toml:2:10: listen: is not a loopback address"), "{said:?}");
    assert!(said[0].contains("give --keys FILE, or --insecure"), "{said:?}");
    assert_eq!(told_of(&[], &[], "listen = \"0.0.0.0:1\"\nkeys = \"k\""), [""; 0]);
    assert_eq!(told_of(&["--insecure"], &[], "listen = \"0.0.0.0:1\""), [""; 0]);
    let said = told_of(&[], &[], "anonymous = \"a:resolve\"");
    assert!(said[0].starts_with("f.toml:1:13: anonymous: needs --keys"), "{said:?}");
    // The message names the value in the file, not the default.
    let said = told_of(&[], &[], "segment-size = \"1MiB\"\nlog-min-size = \"4MiB\"");
    assert_eq!(said, [""; 0]);
    let said = told_of(&[], &[], "max-ttl = \"1m\"");
    assert!(said[0].starts_with("f.toml:1:11: max-ttl: --default-ttl must be 1ms to"), "{said:?}");
}

#[test]
fn each_flag_of_a_cluster_needs_the_cluster_wherever_it_is_set() {
    let is_of_cluster = |key: &str| key.starts_with("cluster-") || key == "node-address";
    let keys: Vec<_> = flags().into_iter().filter(|flag| is_of_cluster(&flag.key)).collect();
    assert!(keys.len() >= 9, "{keys:?}");
    for flag in keys {
        let value = match &*flag.key {
            "cluster-monitor" => "http://n1:8222",
            "cluster-answer-within" | "cluster-staleness" | "cluster-keep" => "5m",
            _ => "1",
        };
        let (by_flag, in_file) = match flag.kind {
            Kind::Switch => (format!("--{}", flag.key), format!("{} = true", flag.key)),
            Kind::One => (format!("--{}={value}", flag.key), format!("{} = {value:?}", flag.key)),
            Kind::Many => {
                (format!("--{}={value}", flag.key), format!("{} = [{value:?}]", flag.key))
            }
        };
        let by_environment = (&*flag.key, value);
        let each = [
            told_of(&[&by_flag], &[], ""),
            told_of(&[], &[by_environment], ""),
            told_of(&[], &[], &in_file),
        ];
        for said in each {
            let is_told = said.len() == 1 && said[0].contains(" needs --cluster");
            assert!(is_told, "{}: {said:?}", flag.key);
        }
        let whole = ["--cluster=nats://a", "--secret-file=s", &by_flag];
        assert_eq!(told_of(&whole, &[], ""), [""; 0], "{}", flag.key);
    }
}

#[test]
fn each_text_of_an_array_has_its_own_place() {
    let said = told_of(&[], &[], "quota = [\n  'a:tokens=1',\n  'b:tokens=x',\n  'b:ttl=0s']");
    assert_eq!(said.len(), 2, "{said:?}");
    let begin = "f.toml:3:3: quota: must have a whole number";
    assert!(said[0].starts_with(begin) && said[1].starts_with("f.toml:4:3: quota: "), "{said:?}");
    let said = told_of(&[], &[], "quota = ['a:ttl=1h', 5,\n true]");
    let begins =
        ["f.toml:1:22: quota: must be an array of text, not an", "f.toml:2:2: quota: must"];
    assert!(said.iter().zip(begins).all(|(said, begin)| said.starts_with(begin)), "{said:?}");
    let said = told_of(&[], &[], "quota = 'a:ttl=1h'");
    assert!(said[0].starts_with("f.toml:1:9: quota: must be an array of text"), "{said:?}");
    let settings = Settings::merge(&given(&[], &[]), Some(file("quota = ['a:ttl=1h;b:ttl=2h']")));
    assert_eq!(settings.check().unwrap().quotas.len(), 2, "the same form as the flag");
}

#[test]
fn a_mistake_is_told_of_where_the_value_comes_from() {
    let said = told_of(&["--queue=0"], &[("sync", "often")], "max-batch = 0");
    assert!(said[0].starts_with("f.toml:1:13: max-batch: must be 1 to"), "{said:?}");
    assert!(said[1].starts_with("JETON_SYNC must be always"), "{said:?}");
    assert!(said[2].starts_with("--queue must be from 1 to"), "{said:?}");
    assert_eq!(said.len(), 3, "{said:?}");
}

#[test]
fn what_follows_from_a_mistake_is_not_told_as_another() {
    let open = "listen = \"0.0.0.0:1\"\n";
    for other in ["kyes = \"k\"", "keys = 5", "[keys]", "[other]", "keys = k"] {
        let said = told_of(&[], &[], &format!("{open}{other}"));
        assert!(said.iter().all(|said| said.starts_with("f.toml:2:")), "{said:?}");
        assert!(!said.is_empty());
    }
}

#[test]
fn what_a_flags_own_parser_refuses_is_told_of_its_place() {
    let command = || {
        let number = |id: &'static str| {
            Arg::new(id).long(id).value_name("N").value_parser(clap::value_parser!(u8))
        };
        Command::new("x").no_binary_name(true).arg(number("num-ber"))
    };
    let error = command().try_get_matches_from(["--num-ber=400"]).unwrap_err();
    let refused = refusal(&error).unwrap();
    assert_eq!(refused.setting(), "num-ber");
    assert_eq!(refused.to_string(), "--num-ber has an invalid value '400': 400 is not in 0..=255");
    let error = command().try_get_matches_from(["--num-ber=\u{1b}[2J"]).unwrap_err();
    let refused = refusal(&error).unwrap().to_string();
    assert!(!refused.contains('\u{1b}'), "{refused:?}");
    let among = Arg::new("m").long("m").value_parser(["a", "b"]).action(ArgAction::Set);
    let error = command().arg(among).try_get_matches_from(["--m=c"]).unwrap_err();
    let refused = refusal(&error).unwrap();
    assert_eq!(refused.to_string(), "--m has an invalid value 'c': must be one of a, b");
}

#[test]
fn hostile_files_are_read_within_bounds() {
    let long = "x".repeat(VALUE_LEN_MAX + 1);
    let said = told_of(&[], &[], &format!("data-dir = \"{long}\"\n{long} = 1\n\"a\\nb\" = 2"));
    assert_eq!(said[0], "f.toml:1:12: data-dir: must have at most 4096 bytes");
    assert!(said[1].starts_with("f.toml:2:1: xxx") && said[1].len() < 200, "{}", said[1]);
    assert!(said[2].starts_with("f.toml:3:1: a\\nb: unknown key"), "{}", said[2]);
    let many: String = (0..100_000).map(|n| format!("k{n}=1\n")).collect();
    let said = told_of(&[], &[], &many);
    assert_eq!(said.len(), MISTAKES_MAX + 1);
    assert!(said[1000].starts_with("f.toml:1001:1: 99000 more mistakes"), "{}", said[1000]);
    let deep = format!("workers = {}", "[".repeat(100_000));
    assert!(!told_of(&[], &[], &deep).is_empty());
    for text in ["=", "a = ", "\"", "'''", "[", "[[", "a.b.c", "\u{0}", "\u{feff}queue = 0", "\r"] {
        let _ = told_of(&[], &[], text);
    }
    let said = told_of(&[], &[], "\u{feff}queue = 0");
    assert!(said[0].starts_with("f.toml:1:9: queue: must be from 1 to"), "{said:?}");
}

#[test]
fn the_forms_of_values() {
    let config = |text| Settings::merge(&Given::nothing(), Some(file(text))).check().unwrap();
    assert_eq!(config("max-ttl = 90_000").engine.max_ttl.as_secs(), 90_000);
    assert_eq!(config("workers = 0x2").http.workers, 2);
    assert_eq!(config("workers = '3'").http.workers, 3);
    assert_eq!(config("max-payload = 1024").http.max_payload, 1024);
    assert!(!config("huge-pages = false").huge_pages);
    assert_eq!(config("data-dir = '-x'").engine.data_dir, Some("-x".into()), "no flag");
    assert_eq!(config("data-dir = ''' a=b '''").engine.data_dir, Some(" a=b ".into()));
}
