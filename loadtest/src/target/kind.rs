//! The kinds of servers.

use crate::protocol::Protocol;
use crate::workload::Http;

/// What kind of server it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// jeton, or a server with its contract.
    Jeton,
    /// jeton, asked in the protocol of Redis.
    JetonResp,
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// memcached.
    Memcached,
    /// pogocache, asked in memcached's protocol.
    Pogocache,
    /// The harness's own responder of fixed bytes.
    Floor,
}

impl Kind {
    /// All of them.
    const ALL: [Self; 7] = [
        Self::Jeton,
        Self::JetonResp,
        Self::Redis,
        Self::Valkey,
        Self::Memcached,
        Self::Pogocache,
        Self::Floor,
    ];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jeton => "jeton",
            Self::JetonResp => "jeton-resp",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Memcached => "memcached",
            Self::Pogocache => "pogocache",
            Self::Floor => "floor",
        }
    }

    /// The protocol that is spoken to it; `http` is the version towards jeton.
    pub fn protocol(self, http: Http) -> Protocol {
        match (self, http) {
            (Self::Jeton, Http::One) => Protocol::Http1,
            (Self::Jeton, Http::Two) => Protocol::Http2,
            (Self::JetonResp | Self::Redis | Self::Valkey, _) => Protocol::Resp,
            (Self::Memcached | Self::Pogocache, _) => Protocol::Memcached,
            (Self::Floor, _) => Protocol::Floor,
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word)
    }

    /// What a URL's scheme names: the kind, whether TLS is spoken, and the port where the URL has
    /// none.
    pub(super) fn from_scheme(scheme: &str) -> Option<(Self, bool, u16)> {
        match scheme {
            "http" => Some((Self::Jeton, false, 80)),
            "https" => Some((Self::Jeton, true, 443)),
            "resp" => Some((Self::JetonResp, false, 7452)),
            "resps" => Some((Self::JetonResp, true, 7452)),
            "redis" => Some((Self::Redis, false, 6379)),
            "rediss" => Some((Self::Redis, true, 6379)),
            "valkey" => Some((Self::Valkey, false, 6379)),
            "valkeys" => Some((Self::Valkey, true, 6379)),
            "memcached" => Some((Self::Memcached, false, 11211)),
            "pogocache" => Some((Self::Pogocache, false, 9401)),
            _ => None,
        }
    }

    pub(super) fn scheme(self, is_tls: bool) -> &'static str {
        match (self, is_tls) {
            (Self::Jeton | Self::Floor, false) => "http",
            (Self::Jeton | Self::Floor, true) => "https",
            (Self::JetonResp, false) => "resp",
            (Self::JetonResp, true) => "resps",
            (Self::Redis, true) => "rediss",
            (Self::Valkey, true) => "valkeys",
            (Self::Redis | Self::Valkey | Self::Memcached | Self::Pogocache, _) => self.name(),
        }
    }
}
