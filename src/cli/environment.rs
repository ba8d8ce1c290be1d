//! Checks of environment variables: empty ones, and unknown ones.
//!
//! An empty variable counts as not set: a template without a value for it leaves it empty. If that
//! would remove a protection (keys, TLS, a limit), the empty variable is reported as a mistake.

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, Command};

use clap::parser::ValueSource;

/// Prefix of all variables of jeton.
pub(super) const PREFIX: &str = "JETON_";
/// Maximum unknown variables that are named; the others are counted.
const NAMED_MAX: usize = 20;
/// Maximum characters of a name in a message.
const NAME_SHOWN_MAX: usize = 60;
/// Flags that are protections although their names do not show it.
const PROTECTIONS: [&str; 12] = [
    "ca",
    "cert",
    "cluster",
    "cluster-ca",
    "cluster-credentials",
    "config",
    "key",
    "keys",
    "quota",
    "secret-command",
    "secret-file",
    "strict-permissions",
];

/// Whether a server or a client is less safe without this flag.
fn is_protection(flag: &str) -> bool {
    ["audit", "max-", "tls-"].iter().any(|begin| flag.starts_with(begin))
        || ["-limit", "-timeout"].iter().any(|end| flag.ends_with(end))
        || PROTECTIONS.contains(&flag)
}

/// The variable of a flag, if it is set and empty.
fn empty_variable(arg: &Arg) -> Option<String> {
    let name = arg.get_env()?;
    let is_empty = std::env::var_os(name).is_some_and(|value| value.is_empty());
    is_empty.then(|| name.to_string_lossy().into_owned())
}

/// The command without the variables that are empty.
pub(super) fn without_empty(command: Command) -> Command {
    let bare = |arg: Arg| match empty_variable(&arg) {
        Some(_) => arg.env(Resettable::Reset),
        None => arg,
    };
    command.mut_args(bare).mut_subcommands(without_empty)
}

/// The mistakes in the environment of the called command: empty variables of protections, unless
/// the flag itself is given.
pub(super) fn mistakes(command: &Command, matches: &ArgMatches) -> Vec<String> {
    if let Some((name, matches)) = matches.subcommand() {
        let command = command.find_subcommand(name);
        return command.map_or_else(Vec::new, |command| mistakes(command, matches));
    }
    let is_given =
        |arg: &Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let refused = |arg: &Arg| {
        let name = empty_variable(arg)?;
        let is_refused = is_protection(arg.get_long()?) && !is_given(arg);
        is_refused.then(|| {
            format!("{name} is empty, which would remove a protection: set a value, or unset it")
        })
    };
    command.get_arguments().filter_map(refused).collect()
}

/// The variables of `command` and all below it.
fn variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(Arg::get_env);
    let mut names: Vec<_> = own.map(|name| name.to_string_lossy().into_owned()).collect();
    names.extend(command.get_subcommands().flat_map(variables));
    names
}

/// One line with the names of variables that begin with `JETON_` and are unknown; `None` if there
/// are none. It never contains their values.
pub(super) fn unknown(command: &Command) -> Option<String> {
    let known = variables(command);
    let mut names: Vec<_> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| is_unknown(name, &known))
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let mut named: Vec<_> = names.iter().map(|name| shown(name, &known)).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    (!named.is_empty()).then(|| named.join(", "))
}

fn is_unknown(name: &str, known: &[String]) -> bool {
    // The variable of failpoints, which only test builds have.
    let is_known = name == "JETON_FAILPOINT" || known.iter().any(|known| known == name);
    name.starts_with(PREFIX) && !is_known && !is_of_kubernetes(name)
}

fn shown(name: &str, known: &[String]) -> String {
    let short: String = name.chars().take(NAME_SHOWN_MAX).collect();
    let distance = |known: &&String| strsim::damerau_levenshtein(&short, known);
    let near = known.iter().min_by_key(distance).filter(|near| distance(near) <= 3);
    let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    let dots = if short.len() < name.len() { "…" } else { "" };
    format!("{}{dots}{hint}", short.escape_debug())
}

/// Whether Kubernetes sets a variable of this name in every container beside a Service called
/// `jeton` or `jeton-…`: `JETON_SERVICE_HOST`, `JETON_SERVICE_PORT`, `JETON_SERVICE_PORT_HTTP`,
/// `JETON_PORT`, `JETON_PORT_7450_TCP`, `JETON_PORT_7450_TCP_ADDR` and so on. No flag may have such
/// a variable: Kubernetes would set its value.
pub(super) fn is_of_kubernetes(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("JETON") else { return false };
    if rest.ends_with("_SERVICE_HOST") || rest.ends_with("_PORT") {
        return true;
    }
    let is_of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.next().is_some_and(is_number)
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
            && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
            && parts.next().is_none()
    };
    rest.contains("_SERVICE_PORT_")
        || rest.match_indices("_PORT_").any(|(at, found)| is_of_port(&rest[at + found.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_kubernetes_sets_is_told_from_a_typing_mistake() {
        for name in [
            "JETON_SERVICE_HOST",
            "JETON_SERVICE_PORT",
            "JETON_SERVICE_PORT_HTTP_ADMIN",
            "JETON_PORT",
            "JETON_PORT_7450_TCP",
            "JETON_PORT_7450_TCP_PROTO",
            "JETON_PORT_7450_TCP_PORT",
            "JETON_PORT_7450_UDP_ADDR",
            "JETON_ADMIN_SERVICE_HOST",
            "JETON_ADMIN_PORT_7451_TCP_ADDR",
        ] {
            assert!(is_of_kubernetes(name), "{name}");
        }
        for name in ["JETON_MAX_TLL", "JETON_PORTS", "JETON_PORT_X_TCP", "JETON_PORT_7450_TCP_X"] {
            assert!(!is_of_kubernetes(name), "{name}");
        }
    }

    #[test]
    fn no_flag_takes_a_variable_that_kubernetes_sets() {
        let known = variables(&crate::cli::Cli::command());
        assert!(known.len() > 40 && known.iter().all(|name| name.starts_with(PREFIX)));
        for name in known {
            assert!(!is_of_kubernetes(&name), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_one_short_line_with_what_may_be_meant() {
        let known = variables(&crate::cli::Cli::command());
        assert!(is_unknown("JETON_MAX_TLL", &known) && !is_unknown("JETON_MAX_TTL", &known));
        assert!(!is_unknown("JETON_PORT", &known) && !is_unknown("PATH", &known));
        assert_eq!(shown("JETON_MAX_TLL", &known), "JETON_MAX_TLL (did you mean JETON_MAX_TTL?)");
        let odd = shown(&format!("JETON_\u{7}{}", "X".repeat(1000)), &known);
        assert!(odd.len() < 80 && !odd.contains('\u{7}'), "{odd}");
    }

    #[test]
    fn limits_keys_tls_audit_secret_and_quotas_are_protections() {
        for flag in ["keys", "tls-cert", "audit", "audit-required", "secret-file", "quota"] {
            assert!(is_protection(flag), "{flag}");
        }
        for flag in ["max-memory", "miss-limit", "anonymous-miss-limit", "idle-timeout", "ca"] {
            assert!(is_protection(flag), "{flag}");
        }
        for flag in ["listen", "workers", "insecure", "anonymous", "server", "key-file"] {
            assert!(!is_protection(flag), "{flag}");
        }
    }
}
