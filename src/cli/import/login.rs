//! Logs in to a server.

use super::failure::{ImportError, Side};
use super::link::Link;
use super::patience::Hitch;
use super::place::Place;

/// Maximum length of an answer to a login.
const ANSWER_LEN_MAX: usize = 1 << 10;

/// Shows user and password, and chooses the database.
pub(super) fn log_in(link: &mut Link, place: &Place, side: Side) -> Result<(), Hitch> {
    let database = place.database.to_string();
    let mut logins: Vec<Vec<&[u8]>> = Vec::new();
    match (&place.user, &place.password) {
        (Some(user), password) => {
            let password = password.as_ref().map_or("", |password| password.as_str());
            logins.push(vec![b"AUTH", user.as_bytes(), password.as_bytes()]);
        }
        (None, Some(password)) => logins.push(vec![b"AUTH", password.as_bytes()]),
        (None, None) => {}
    }
    if place.database != 0 {
        logins.push(vec![b"SELECT", database.as_bytes()]);
    }
    for login in logins {
        let reply = link.ask(&login, ANSWER_LEN_MAX)?;
        match reply.code() {
            None => {}
            Some("LOADING" | "MASTERDOWN") => Hitch::check(&reply, "AUTH")?,
            Some(code) => {
                let code = format!("{}: {code}", String::from_utf8_lossy(login[0]));
                return Err(Hitch::Fatal(ImportError::Login { side, code }));
            }
        }
    }
    Ok(())
}
