//! Why a server rejects the harness, as values, and what to do about each: all advice stands here. The
//! code that speaks a protocol chooses the value: by an alert of TLS, a status of HTTP, or the first
//! word of an error.

use std::fmt;
use std::time::Duration;

/// Why a server rejects the harness. Its text says what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// Both sides have no version, cipher or protocol of TLS in common.
    NoCommonTls,
    /// The port does not speak TLS.
    NotTls,
    /// The port speaks TLS, and was asked without.
    SpeaksTls,
    /// TLS was agreed on, but not HTTP/2 inside it.
    NoHttp2,
    /// The server shows no certificate.
    NoCertificate,
    /// The server's certificate is not accepted.
    Certificate(Flaw),
    /// A client's certificate is asked for.
    CertificateWanted,
    /// The client's certificate is not accepted.
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
    /// No trusted CA signed it.
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
    /// Whether TLS itself failed, rather than the protocol inside it.
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
                "the user of --auth-file lacks permissions that the workload needs (NOPERM): its ACL must \
                 allow SET, GET, MGET, GETDEL, DEL and PEXPIRE on all keys, and PING"
            }
            Self::Protected => {
                "the server is in protected mode (DENIED): it accepts connections from its own machine only"
            }
            Self::AuthRefused => {
                "the server rejects AUTH for an unknown reason: the command may be renamed, \
                 or a proxy in between may not know it"
            }
            Self::Crowded => {
                "the server has reached its limit of connections: raise the limit, or lower \
                 --connections"
            }
            _ => "the server rejects every client",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(flaw) => flaw.fmt(f),
            Self::TlsSlow(limit) => write!(
                f,
                "the TLS handshake did not finish within {} s: does that port speak TLS?",
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
                "is signed by another CA than the trusted one of the same name: give the CA that \
                 signed it with --ca FILE"
            }
            Self::UnknownSigner => {
                "is signed by a CA that is not trusted here: give that CA with --ca FILE"
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
            Self::OtherPurpose => "is not meant for servers (extendedKeyUsage)",
            Self::SignersOwn => {
                "is for signing others, not for a server (basicConstraints must be CA:FALSE)"
            }
            Self::Other => "has a signature or a format that is not accepted",
        };
        write!(f, "the server's certificate {what}")
    }
}
