//! Why a server does not let the harness in, as values, and what to do about each: all advice stands
//! here. Which value it is, the place decides that speaks the protocol: an alert of TLS, a status of
//! HTTP, the first word of an error.

use std::fmt;
use std::time::Duration;

/// Why a server does not let the harness in. Its text says what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// Nothing of TLS is common to both sides.
    NoCommonTls,
    /// The port does not speak TLS.
    NotTls,
    /// The port speaks TLS, and was asked without.
    SpeaksTls,
    /// TLS alone was agreed on, and not HTTP/2 inside of it.
    NoHttp2,
    /// The server shows no certificate.
    NoCertificate,
    /// The server's certificate does not count.
    Certificate(Flaw),
    /// A client's certificate is asked for.
    CertificateWanted,
    /// The client's certificate does not count.
    CertificateRefused,
    /// The private key is not the certificate's.
    KeyOfAnother,
    /// The handshake of TLS was not done in this time.
    TlsSlow(Duration),
    /// The connection was closed in the handshake of TLS.
    TlsClosed,
    /// Another alert.
    TlsAlert,
    /// Something else of TLS, or of what it needs.
    Tls(String),
    /// HTTP 401.
    KeyWanted,
    /// HTTP 403.
    ScopeWanted,
    /// Redis: NOAUTH.
    PasswordWanted,
    /// Redis: WRONGPASS.
    PasswordRefused,
    /// Redis: a password is shown where none is asked for.
    PasswordUnasked,
    /// Redis: NOPERM.
    CommandForbidden,
    /// Redis: DENIED.
    Protected,
    /// Redis: another error to AUTH.
    AuthRefused,
    /// Redis and memcached: the limit of connections is reached.
    Crowded,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// By this machine's clock.
    Expired,
    /// By this machine's clock.
    NotYetValid,
    /// A CA of the trusted name did not sign it.
    OtherSigner,
    /// Nobody who is trusted signed it.
    UnknownSigner,
    /// It is for these names.
    OtherName(Vec<String>),
    /// It was revoked.
    Revoked,
    /// It cannot be read.
    Damaged,
    /// It is for another purpose than a server's.
    OtherPurpose,
    /// It is a CA's own.
    SignersOwn,
    /// Anything else.
    Other,
}

impl Denial {
    /// Whether TLS failed, and not what is spoken inside of it.
    pub fn is_of_tls(&self) -> bool {
        matches!(
            self,
            Self::NoCommonTls
                | Self::NotTls
                | Self::NoHttp2
                | Self::NoCertificate
                | Self::Certificate(_)
                | Self::CertificateWanted
                | Self::CertificateRefused
                | Self::KeyOfAnother
                | Self::TlsSlow(_)
                | Self::TlsClosed
                | Self::TlsAlert
                | Self::Tls(_)
        )
    }

    fn of_tls(&self) -> &str {
        match self {
            Self::NoCommonTls => {
                "the server and the harness have no version, cipher or protocol of TLS in common (the \
                 harness has TLS 1.2 and 1.3; --http chooses between http/1.1 and h2)"
            }
            Self::NotTls => {
                "the server does not speak TLS on that port: use the port that does, or http:// or \
                 redis:// for this one"
            }
            Self::SpeaksTls => {
                "this port speaks TLS: the target begins with https://, rediss:// or valkeys://"
            }
            Self::NoHttp2 => "the server does not speak HTTP/2 over TLS: leave --http out",
            Self::NoCertificate => "the server shows no certificate",
            Self::CertificateWanted => {
                "the server asks for a client's certificate: give --cert FILE and --key FILE"
            }
            Self::CertificateRefused => {
                "the server does not accept the certificate of --cert: it must be signed by a CA that \
                 the server trusts, and not be expired"
            }
            Self::KeyOfAnother => "the private key is not the certificate's",
            Self::TlsClosed => "the server closed the connection during the TLS handshake",
            Self::TlsAlert => "the server ended TLS with an alert",
            Self::Tls(text) => text,
            _ => "TLS failed",
        }
    }

    fn of_protocol(&self) -> &'static str {
        match self {
            Self::KeyWanted => {
                "the server wants a valid key (401): give --key-file FILE, with a key of this server \
                 that is neither revoked nor expired"
            }
            Self::ScopeWanted => {
                "the key may not issue tokens (403): the key of --key-file needs the scopes of all \
                 operations in the mix, such as issue,resolve,consume,revoke; tokens are issued \
                 before the load begins"
            }
            Self::PasswordWanted => {
                "the server asks for a password (NOAUTH): give --auth-file FILE, with the password, \
                 or with user and password in two lines"
            }
            Self::PasswordRefused => {
                "the server refuses the user or the password of --auth-file (WRONGPASS): the file \
                 must hold the password, or user and password in two lines"
            }
            Self::PasswordUnasked => {
                "the server has no password, and --auth-file gives one: leave it out"
            }
            Self::CommandForbidden => {
                "the user of --auth-file may not run what the workload needs (NOPERM): its ACL must \
                 allow SET, GET, MGET, GETDEL, DEL and PEXPIRE on all keys, and PING"
            }
            Self::Protected => {
                "the server is in protected mode (DENIED): it takes callers of its own machine only"
            }
            Self::AuthRefused => {
                "the server refuses AUTH for a reason of its own: is the command renamed, or is a \
                 proxy there that does not know it?"
            }
            Self::Crowded => {
                "the server takes no more connections: raise its limit, or give fewer with \
                 --connections"
            }
            _ => "the server lets nobody in",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(flaw) => flaw.fmt(f),
            Self::TlsSlow(limit) => write!(
                f,
                "the TLS handshake was not done within {} s: does that port speak TLS?",
                limit.as_secs_f64()
            ),
            other if other.is_of_tls() || *other == Self::SpeaksTls => f.write_str(other.of_tls()),
            other => f.write_str(other.of_protocol()),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Expired => {
                "has expired, by this machine's clock: it must be renewed at the server"
            }
            Self::NotYetValid => {
                "is not valid yet, by this machine's clock: one of the two clocks is wrong"
            }
            Self::OtherSigner => {
                "is not signed by the CA that is trusted here, though by one of that name: give the \
                 CA that signed it with --ca FILE"
            }
            Self::UnknownSigner => {
                "is signed by nobody who is trusted here: give the CA that signed it with --ca FILE"
            }
            Self::OtherName(names) if !names.is_empty() => {
                return write!(
                    f,
                    "the server's certificate is for another name: it has {}; --target must use one \
                     of its names",
                    names.join(", ")
                );
            }
            Self::OtherName(_) => "is for another name: --target must use one of its names",
            Self::Revoked => "is revoked",
            Self::Damaged => "is damaged",
            Self::OtherPurpose => "is for another purpose than a server's",
            Self::SignersOwn => {
                "is for signing others, not for a server (basicConstraints must be CA:FALSE)"
            }
            Self::Other => "has a signature or a form that does not count",
        };
        write!(f, "the server's certificate {what}")
    }
}
