//! `HELLO` and `AUTH`: which version of the protocol, and which key.
//!
//! A key of jeton takes the place of a password; the user is `default`. A key is checked when it is
//! shown, and again with each command, so a key that was revoked meanwhile ends where it is used.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::client;
use super::desk::{Desk, REDIS_VERSION};
use super::words::{is, shown};
use crate::resp::parse::number;
use crate::resp::refusal;
use crate::resp::reply::Reply;
use crate::resp::session::Session;
use crate::service::audit_events;
use crate::service::authentication::Presented;
use crate::service::operation::Operation;
use crate::service::refusal::Refusal;

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
                           default user. Are you sure your configuration is correct?";

const NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, \
                       otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
                       authenticate the client and select the RESP protocol version at the same \
                       time";

/// Why a key is not accepted.
enum NotAccepted {
    /// The server has no keys, and no user was named.
    NoPassword,
    Refused(Refusal),
}

impl NotAccepted {
    fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Self::NoPassword => reply.error(NO_PASSWORD),
            Self::Refused(refusal) => refusal::write(refusal, reply),
        }
    }
}

/// Accepts the key of `user`; a failure leaves the session as it was.
fn accept(
    desk: &Desk<'_>,
    session: &mut Session,
    user: Option<&[u8]>,
    key: &[u8],
) -> Result<(), NotAccepted> {
    let authenticator = &desk.service.authenticator;
    let is_default = user.is_none_or(|user| user == b"default");
    if !authenticator.has_keys() {
        return match (user, is_default) {
            (None, _) => Err(NotAccepted::NoPassword),
            (Some(_), true) => Ok(()),
            (Some(_), false) => Err(NotAccepted::Refused(Refusal::WrongKey)),
        };
    }
    let presented = if is_default { Presented::Key(key) } else { Presented::Malformed };
    match authenticator.admit(desk.credentials, presented, desk.service.now()) {
        Ok(_) => {
            session.key = Some(Zeroizing::new(key.to_vec()));
            Ok(())
        }
        Err(denied) => {
            let refusal = desk.service.denied(denied, desk.peer.ip());
            audit_events::refused(desk.service, desk.peer, Operation::Session, None, &refusal);
            Err(NotAccepted::Refused(refusal))
        }
    }
}

/// `AUTH [default] key`
pub(super) fn auth(desk: &Desk<'_>, session: &mut Session, words: &[Bytes], reply: &mut Reply<'_>) {
    let accepted = match words {
        [key] => accept(desk, session, None, key),
        [user, key] => accept(desk, session, Some(user), key),
        _ => return reply.error("ERR syntax error"),
    };
    match accepted {
        Ok(()) => reply.simple("OK"),
        Err(not) => not.write(reply),
    }
}

/// What `HELLO` asks for.
struct Asked<'a> {
    is_3: bool,
    /// User and key.
    credentials: Option<(&'a Bytes, &'a Bytes)>,
    name: Option<&'a Bytes>,
}

impl<'a> Asked<'a> {
    fn of(session: &Session, words: &'a [Bytes]) -> Result<Self, String> {
        let mut asked = Self { is_3: session.is_3, credentials: None, name: None };
        let [version, options @ ..] = words else { return Ok(asked) };
        let mut options = options;
        asked.is_3 = match number(version) {
            Some(2) => false,
            Some(3) => true,
            Some(_) => return Err("NOPROTO unsupported protocol version".into()),
            None => return Err("ERR Protocol version is not an integer or out of range".into()),
        };
        while let [option, values @ ..] = options {
            options = match values {
                [user, key, rest @ ..] if is(option, "AUTH") => {
                    asked.credentials = Some((user, key));
                    rest
                }
                [name, rest @ ..] if is(option, "SETNAME") => {
                    client::check_name(name)?;
                    asked.name = Some(name);
                    rest
                }
                _ => return Err(format!("ERR Syntax error in HELLO option '{}'", shown(option))),
            };
        }
        Ok(asked)
    }
}

/// `HELLO [version [AUTH default key] [SETNAME name]]`
pub(super) fn hello(
    desk: &Desk<'_>,
    session: &mut Session,
    words: &[Bytes],
    reply: &mut Reply<'_>,
) {
    let Asked { is_3, credentials, name } = match Asked::of(session, words) {
        Ok(asked) => asked,
        Err(error) => return reply.error(&error),
    };
    if let Some((user, key)) = credentials
        && let Err(not) = accept(desk, session, Some(user), key)
    {
        return not.write(reply);
    }
    if desk.admit(session).is_err() {
        return reply.error(NO_AUTH);
    }
    if let Some(name) = name {
        session.name = Bytes::copy_from_slice(name);
    }
    session.is_3 = is_3;
    reply.speak(is_3);
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if is_3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(i64::try_from(session.id).unwrap_or(i64::MAX));
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}
