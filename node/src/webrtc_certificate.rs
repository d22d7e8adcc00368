//! The certificate that browsers recognise this node by: kept in the data directory, so that addresses with its hash stay
//! true.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use p2c2r_swarm::{SwarmError, WebrtcCertificate};
use tracing::warn;

use crate::data_dir::write_private;

/// Largest file that is read as a certificate, bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The one that is kept, or a new one. What cannot be kept serves for this run; what is damaged, or was there for others to
/// read, is replaced.
///
/// # Errors
/// No certificate can be made.
pub fn kept(path: &Path) -> Result<WebrtcCertificate, SwarmError> {
    match read(path) {
        Ok(Some(certificate)) => return Ok(certificate),
        Ok(None) => {}
        Err(reason) => {
            warn!(path = %path.display(), %reason, "browsers need new addresses: the certificate is replaced");
        }
    }
    let certificate = WebrtcCertificate::generate()?;
    if let Err(error) = write_private(path, certificate.pem().as_bytes()) {
        warn!(path = %path.display(), %error, "the certificate for browsers cannot be kept");
    }
    Ok(certificate)
}

/// The one in the file, if there is a file.
fn read(path: &Path) -> Result<Option<WebrtcCertificate>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mode = file.metadata().map_err(|error| error.to_string())?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("others can read it (mode {mode:o})"));
    }
    let mut pem = String::new();
    file.take(MAX_BYTES).read_to_string(&mut pem).map_err(|error| error.to_string())?;
    let certificate = WebrtcCertificate::from_pem(pem);
    if certificate.is_usable() { Ok(Some(certificate)) } else { Err("it is damaged".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn it_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate");
        let first = kept(&path).unwrap();
        assert_eq!(kept(&path).unwrap().pem(), first.pem());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn b38_a_damaged_or_readable_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate");
        let mut known = vec![kept(&path).unwrap()];
        let spoil: [fn(&Path); 2] = [
            |path| fs::write(path, "-----BEGIN EXPIRES-----\nAA==\n-----END EXPIRES-----\n").unwrap(),
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap(),
        ];
        for spoil in spoil {
            spoil(&path);
            let replaced = kept(&path).unwrap();
            assert!(known.iter().all(|known| known.pem() != replaced.pem()));
            assert_eq!(kept(&path).unwrap().pem(), replaced.pem());
            known.push(replaced);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_node_starts_where_it_cannot_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(kept(&folder.path().join("missing/certificate")).unwrap().is_usable());
    }
}
