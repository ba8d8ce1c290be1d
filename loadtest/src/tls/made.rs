//! The certificate of a server that is started here: for this machine alone, and for one run.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result, at};

/// Names that it is for.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// A certificate that signs itself, and its private key, as PEM files.
#[derive(Clone, Debug)]
pub struct Made {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key, which its owner alone can read.
    pub key: PathBuf,
}

/// Makes one in `folder`.
///
/// # Errors
/// The folder takes no files.
pub fn make(folder: &Path) -> Result<Made> {
    let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned));
    let made = made.map_err(|error| Failure::Input(format!("a certificate: {error}")))?;
    let files = Made { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    private_file(&files.cert, &made.cert.pem())?;
    private_file(&files.key, &made.signing_key.serialize_pem())?;
    Ok(files)
}

/// Writes a new file that its owner alone can read.
///
/// # Errors
/// It can't be written, or is there already.
pub fn private_file(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(at(path))
}
