//! The flags of the Redis protocol.

use std::time::Duration;

use clap::Args;

use super::values::Reader;
use crate::model::setting::SettingError;
use crate::model::text::duration_text;
use crate::net::listen::ListenAddress;
use crate::resp::{IDLE_TIMEOUT, ReadLevel};

/// Range of `--resp-idle-timeout`.
const IDLE_LIMITS: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(24 * 60 * 60));

/// The flags of the Redis protocol.
#[derive(Args, Clone, Debug)]
pub struct RespArgs {
    /// Also speak the Redis protocol, at this address in the form of --listen, such as
    /// 127.0.0.1:7452 [default: not]
    #[arg(long, env = "JETON_RESP_LISTEN", value_name = "ADDRESS")]
    resp_listen: Option<String>,

    /// Close connections of the Redis protocol that have sent no command for this long
    #[arg(
        long,
        env = "JETON_RESP_IDLE_TIMEOUT",
        default_value_t = duration_text(IDLE_TIMEOUT),
        value_name = "TIME"
    )]
    resp_idle_timeout: String,

    /// How fresh the answers of the Redis protocol are in a cluster: local or linear (each read waits
    /// until this node knows everything acknowledged before)
    #[arg(long, env = "JETON_RESP_READ", default_value = "local", value_name = "LEVEL")]
    resp_read: String,
}

/// Where the Redis protocol is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespListen {
    /// The address.
    pub address: ListenAddress,
    /// For a connection that sends no further command.
    pub idle_timeout: Duration,
    /// How fresh its answers are, in a cluster.
    pub read: ReadLevel,
}

impl RespArgs {
    pub(super) fn read(&self, reader: &mut Reader) -> Option<RespListen> {
        let idle_timeout = reader.duration("resp-idle-timeout", &self.resp_idle_timeout);
        let read = reader.read_level("resp-read", &self.resp_read);
        let text = self.resp_listen.as_ref()?;
        Some(RespListen { address: reader.address("resp-listen", text), idle_timeout, read })
    }
}

/// All mistakes in them, beside the addresses of the other listeners.
pub(super) fn mistakes(
    resp: Option<&RespListen>,
    others: [(&'static str, &ListenAddress); 2],
    is_in_cluster: bool,
) -> Vec<SettingError> {
    let Some(RespListen { address, idle_timeout, read }) = resp else { return Vec::new() };
    let overlapping = others.into_iter().filter(|(_, other)| address.overlaps(other));
    let mut mistakes: Vec<_> = overlapping
        .map(|(name, _)| {
            SettingError::new("resp-listen", "must be another address than ").name(name)
        })
        .collect();
    let (least, most) = IDLE_LIMITS;
    if !(least..=most).contains(idle_timeout) {
        let text = format!("must be {} to {}", duration_text(least), duration_text(most));
        mistakes.push(SettingError::new("resp-idle-timeout", text));
    }
    if *read == ReadLevel::Linear && !is_in_cluster {
        let mistake = SettingError::new("resp-read", "linear needs ").name("cluster");
        mistakes.push(mistake.text(": a single server always knows everything"));
    }
    mistakes
}
