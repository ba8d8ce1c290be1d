//! Reloads the TLS files when they have changed.

use std::sync::Arc;

use super::file_watch::{self, Seen};
use crate::clock::{Clock, SystemClock};
use crate::tls::{Tls, TlsError, TlsFiles, TlsRead};

/// Keeps the TLS settings of new connections up to date with the files.
pub(super) struct Certificates {
    tls: Tls,
    clock: Arc<dyn Clock>,
    /// How certificate, key and client CA looked at the last read; `None` forces the next read.
    seen: Option<[Seen; 3]>,
    /// The error of the last read.
    failed: Option<TlsError>,
}

impl Certificates {
    /// Reads `files` for the first time.
    ///
    /// # Errors
    /// The files cannot be read or do not match.
    pub(super) fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let clock = Arc::new(SystemClock::new());
        let seen = Some(seen(files));
        let (tls, read) = Tls::open(files.clone(), clock.wall())?;
        tell(&read);
        Ok(Self { tls, clock, seen, failed: None })
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reads the files again if one has changed or the last read failed: a renewal writes one file
    /// after the other, and in between they do not match. Returns whether they were loaded, or could
    /// not be; `None` if there is no news.
    pub(super) fn look(&mut self) -> Option<bool> {
        let found = Some(seen(self.tls.files()));
        let has_changed = self.seen != found;
        if !has_changed && self.failed.is_none() {
            return None;
        }
        self.seen = found;
        let is_loaded = self.read(has_changed);
        (is_loaded || has_changed).then_some(is_loaded)
    }

    /// Reads the files again. An error is logged if `is_news` is set or if it differs from the last
    /// one. Returns whether the files were loaded.
    pub(super) fn read(&mut self, is_news: bool) -> bool {
        match self.tls.reload(self.clock.wall()) {
            Ok(read) => {
                self.failed = None;
                tell(&read);
                true
            }
            Err(error) => {
                if is_news || self.failed.as_ref() != Some(&error) {
                    tracing::error!(%error, "can't load the certificate: the previous one stays \
                        in use; will retry");
                }
                self.failed = Some(error);
                false
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
        Some(not_after) => tracing::info!(%not_after, "certificate loaded"),
        None => tracing::info!("certificate loaded"),
    }
}
