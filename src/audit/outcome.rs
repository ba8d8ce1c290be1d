//! The outcomes of events.

use serde::Serialize;

/// Makes [`EventOutcome`] and the list of its values.
macro_rules! outcomes {
    ($($(#[$doc:meta])+ $outcome:ident,)+) => {
        /// The outcome of an event, as its line shows it in snake case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum EventOutcome {
            $($(#[$doc])+ $outcome,)+
        }

        impl EventOutcome {
            /// All outcomes.
            pub const ALL: &[Self] = &[$(Self::$outcome,)+];
        }
    };
}

outcomes! {
    /// The operation was performed.
    Ok,
    /// The token was issued before, with the same content.
    Exists,
    /// The change may have been performed: the client disconnected before the answer.
    Unanswered,
    /// The token is unknown, or of another namespace.
    NotFound,
    /// The token was consumed before.
    AlreadyConsumed,
    /// The reference or key was issued with other content; or a second backup at the same time.
    Conflict,
    /// The request has no valid key.
    Unauthorized,
    /// The key lacks the scope, or a page of another site sent the request.
    Forbidden,
    /// The request has the wrong form.
    Malformed,
    /// A value is out of its limits.
    OutOfLimits,
    /// The body is too long.
    TooLarge,
    /// The client has reached a rate limit.
    TooMany,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The request was not complete in time.
    Timeout,
    /// The position that the request demands is of an earlier stream of the cluster.
    PositionLost,
    /// The server cannot answer at the moment.
    Unavailable,
    /// A limit of memory or disk was reached.
    Full,
    /// The limit of memory was reached.
    MemoryFull,
    /// A limit of the namespace was reached.
    QuotaFull,
    /// The disk is full.
    DiskFull,
    /// The log accepts no changes at the moment.
    LogUnavailable,
    /// The server's clock cannot be right.
    ClockWrong,
    /// The log could not be synced before.
    ReadOnly,
    /// The log could not be synced, or the cluster has not answered in time; the change may have taken
    /// effect.
    Unknown,
    /// Any other failure.
    Error,
    /// A connection to a TLS port spoke plain HTTP.
    PlainHttp,
    /// The TLS handshake failed.
    TlsRefused,
}

impl EventOutcome {
    /// Whether the event changed nothing and revealed nothing: the request was refused, or its
    /// token is unknown.
    pub(super) fn is_refusal(self) -> bool {
        !matches!(self, Self::Ok | Self::Exists | Self::Unanswered | Self::Unknown)
    }
}
