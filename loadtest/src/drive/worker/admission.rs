//! Whether the server accepts requests, and why it rejects them.

use crate::denial::Denial;
use crate::traffic::verdict::Wrong;

/// What is known of that.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// When a request was last answered as it should be; at first when the phase began.
    granted_ns: u64,
    /// What the server said since.
    denial: Option<Denial>,
    /// Why a connection ended since, or was not made.
    last: Option<String>,
}

impl Admission {
    /// Before the first request.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { granted_ns: now_ns, ..Self::default() }
    }

    /// A request was answered as it should be.
    pub(super) fn grant(&mut self, now_ns: u64) {
        self.granted_ns = now_ns;
        (self.denial, self.last) = (None, None);
    }

    /// The harness paused for so long, until now: the server could answer nothing.
    pub(super) fn excuse(&mut self, pause_ns: u64, now_ns: u64) {
        self.granted_ns = (self.granted_ns + pause_ns).min(now_ns);
    }

    /// A request or a connection failed.
    pub(super) fn note(&mut self, wrong: &Wrong) {
        if wrong.denial.is_some() {
            self.denial.clone_from(&wrong.denial);
        }
        self.last = Some(wrong.what.clone());
    }

    /// Why all requests since then were rejected; none if one was accepted, or if the server gave no
    /// reason.
    pub(super) fn denial_since(&self, since_ns: u64) -> Option<&Denial> {
        self.denial.as_ref().filter(|_| self.granted_ns < since_ns)
    }

    /// The reason, to be appended to a sentence; empty if there is none.
    pub(super) fn why(&self) -> String {
        let denial = self.denial.as_ref().map(Denial::to_string);
        let why = denial.or_else(|| self.last.clone());
        why.map(|why| format!(": {why}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::verdict::Kind;

    #[test]
    fn what_passes_is_no_reason() {
        let wrong =
            Wrong { denial: Some(Denial::KeyWanted), ..Wrong::new(Kind::Refused(401), "x") };
        let mut admission = Admission::new(100);
        assert_eq!(admission.denial_since(150), None, "nobody said anything");
        admission.note(&wrong);
        assert_eq!(admission.denial_since(100), None);
        assert_eq!(admission.denial_since(101), Some(&Denial::KeyWanted));
        admission.note(&Wrong::new(Kind::Connect, "refused"));
        assert_eq!(admission.denial_since(101), Some(&Denial::KeyWanted), "it still holds");
        assert!(admission.why().contains("valid key"));
        admission.grant(200);
        assert_eq!((admission.denial_since(1_000), admission.why()), (None, String::new()));
        admission.note(&Wrong::new(Kind::Connect, "refused"));
        assert_eq!((admission.denial_since(1_000), &*admission.why()), (None, ": refused"));
    }
}
