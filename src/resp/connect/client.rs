//! `CLIENT`: what a client says about itself.

use bytes::Bytes;

use super::desk::{Desk, Subcommand};
use super::subcommand;
use super::words::{is, shown};
use crate::resp::refusal::NO_AUTH;
use crate::resp::reply::Reply;
use crate::resp::session::{Replies, Session};

/// Maximum length of the name of a connection, a library or a version, in bytes.
const NAME_LEN_MAX: usize = 512;

/// What a client says that must authenticate and has not done so yet: libraries send it in one
/// pipeline with `AUTH`, in either order.
const FOR_STRANGERS: [&str; 3] = ["GETNAME", "SETINFO", "SETNAME"];

/// The subcommands.
pub(super) const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "GETNAME", arity: 2, run: getname },
    Subcommand { name: "HELP", arity: 2, run: help },
    Subcommand { name: "ID", arity: 2, run: id },
    Subcommand { name: "INFO", arity: 2, run: info },
    Subcommand { name: "NO-EVICT", arity: 3, run: switch },
    Subcommand { name: "NO-TOUCH", arity: 3, run: switch },
    Subcommand { name: "REPLY", arity: 3, run: reply_mode },
    Subcommand { name: "SETINFO", arity: 4, run: setinfo },
    Subcommand { name: "SETNAME", arity: 3, run: setname },
];

/// `CLIENT subcommand …`
pub(super) fn run(desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let found = match subcommand::find("CLIENT", SUBCOMMANDS, words) {
        Ok(found) => found,
        Err(error) => return reply.error(&error),
    };
    if !FOR_STRANGERS.contains(&found.name) && desk.admit(session).is_err() {
        return reply.error(NO_AUTH);
    }
    (found.run)(desk, session, &words[1..], reply);
}

/// Checks the name of a connection.
///
/// # Errors
/// The text of the error.
pub(super) fn check_name(name: &[u8]) -> Result<(), String> {
    check("Client names", name)
}

/// Such a name becomes a part of the line of `CLIENT INFO`, whose fields are between spaces.
fn check(what: &str, name: &[u8]) -> Result<(), String> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters."));
    }
    match name.len() > NAME_LEN_MAX {
        true => Err(format!("ERR {what} cannot have more than {NAME_LEN_MAX} bytes")),
        false => Ok(()),
    }
}

/// `CLIENT GETNAME`
fn getname(_desk: &Desk<'_>, session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    match session.name.is_empty() {
        true => reply.null(),
        false => reply.bulk(&session.name),
    }
}

/// `CLIENT SETNAME name`
fn setname(_desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let name: &[u8] = words.first().map_or(&[], |name| name);
    match check_name(name) {
        Ok(()) => {
            // A copy: the word is a part of a whole command.
            session.name = Bytes::copy_from_slice(name);
            reply.simple("OK");
        }
        Err(error) => reply.error(&error),
    }
}

/// `CLIENT SETINFO LIB-NAME name`, `CLIENT SETINFO LIB-VER version`
fn setinfo(_desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let [option, value] = words else { return reply.error("ERR syntax error") };
    let place = match option {
        _ if is(option, "LIB-NAME") => &mut session.lib_name,
        _ if is(option, "LIB-VER") => &mut session.lib_ver,
        _ => return reply.error(&format!("ERR Unrecognized option '{}'", shown(option))),
    };
    match check(&shown(option), value) {
        Ok(()) => {
            *place = Bytes::copy_from_slice(value);
            reply.simple("OK");
        }
        Err(error) => reply.error(&error),
    }
}

/// `CLIENT ID`
fn id(_desk: &Desk<'_>, session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    reply.integer(i64::try_from(session.id).unwrap_or(i64::MAX));
}

/// `CLIENT NO-EVICT ON|OFF`, `CLIENT NO-TOUCH ON|OFF`: nothing is evicted, and nothing is touched.
fn switch(_desk: &Desk<'_>, _session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    match words {
        [state] if is(state, "ON") || is(state, "OFF") => reply.simple("OK"),
        _ => reply.error("ERR syntax error"),
    }
}

/// `CLIENT REPLY ON|OFF|SKIP`
fn reply_mode(_desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    match words {
        [mode] if is(mode, "ON") => {
            session.replies = Replies::On;
            reply.simple("OK");
        }
        [mode] if is(mode, "OFF") => session.replies = Replies::Off,
        [mode] if is(mode, "SKIP") => {
            if session.replies != Replies::Off {
                session.replies = Replies::SkipNext;
            }
        }
        _ => reply.error("ERR syntax error"),
    }
}

/// `CLIENT INFO`: the fields that clients read, as one line.
fn info(desk: &Desk<'_>, session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    let Session { id, is_3, name, lib_name, lib_ver, .. } = session;
    let local = desk.local.map(|local| local.to_string()).unwrap_or_default();
    let line = format!(
        "id={id} addr={} laddr={local} fd=-1 name={} age=0 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 \
         multi=-1 events=r cmd=client|info user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        desk.peer,
        String::from_utf8_lossy(name),
        if *is_3 { 3 } else { 2 },
        String::from_utf8_lossy(lib_name),
        String::from_utf8_lossy(lib_ver),
    );
    reply.text(&line);
}

/// `CLIENT HELP`
fn help(_desk: &Desk<'_>, _session: &mut Session, _words: &[Bytes], reply: &mut Reply<'_>) {
    let lines = [
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "NO-EVICT (ON|OFF)",
        "    Accepted; no token is ever evicted.",
        "NO-TOUCH (ON|OFF)",
        "    Accepted; no read changes a token.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Set the name or the version of the client's library.",
        "SETNAME <name>",
        "    Assign a name to the current connection.",
    ];
    subcommand::help("CLIENT", &lines, reply);
}
