//! Reads the TLS files again when they have changed.

use std::sync::Arc;

use super::file_watch::{self, Seen};
use crate::clock::{Clock, SystemClock};
use crate::tls::{Tls, TlsError, TlsFiles, TlsRead};

/// Keeps what new connections begin with as the files have it.
pub(super) struct Certificates {
    tls: Tls,
    clock: Arc<dyn Clock>,
    /// Certificate, key and client CA; nothing where they are to be read whatever they look like.
    seen: Option<[Seen; 3]>,
    /// Why the last reading failed.
    failed: Option<TlsError>,
}

impl Certificates {
    /// Reads `files` for the first time.
    ///
    /// # Errors
    /// A mistake in them.
    pub(super) fn open(files: &TlsFiles) -> Result<Certificates, TlsError> {
        let clock = Arc::new(SystemClock::new());
        let seen = Some(seen(files));
        let (tls, read) = Tls::open(files.clone(), clock.wall())?;
        tell(&read);
        Ok(Certificates { tls, clock, seen, failed: None })
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reads them again where one has changed, or where the last reading failed: who renews them
    /// writes one after the other, and in between they do not match.
    pub(super) fn look(&mut self) {
        let found = Some(seen(self.tls.files()));
        let has_changed = self.seen != found;
        if has_changed || self.failed.is_some() {
            self.seen = found;
            self.read(has_changed);
        }
    }

    /// Reads them again. What went wrong is told where it `is_news`, and where it is something else
    /// than the last time.
    pub(super) fn read(&mut self, is_news: bool) {
        match self.tls.reload(self.clock.wall()) {
            Ok(read) => {
                self.failed = None;
                tell(&read);
            }
            Err(error) => {
                if is_news || self.failed.as_ref() != Some(&error) {
                    tracing::error!(%error, "the certificate stays as it was; tried again");
                }
                self.failed = Some(error);
            }
        }
    }
}

/// How the files look now.
fn seen(files: &TlsFiles) -> [Seen; 3] {
    let client_ca = files.client_ca.as_deref();
    [Some(&*files.cert), Some(&*files.key), client_ca].map(|file| file.and_then(file_watch::seen))
}

fn tell(read: &TlsRead) {
    for warning in &read.warnings {
        tracing::warn!("{warning}");
    }
    match read.not_after {
        Some(not_after) => tracing::info!(%not_after, "the certificate was read"),
        None => tracing::info!("the certificate was read"),
    }
}
