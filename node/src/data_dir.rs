//! The directory in which a node keeps what is its own: key, store, scenes, control socket.
//!
//! Mode 0700, one node at a time (an advisory lock on `lock`, released by the system when the process ends, however
//! it ends).

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use etcetera::{AppStrategy, AppStrategyArgs};
use p2c2r_protocol::sign::SecretKey;

/// Bytes of the key file: an ed25519 seed.
const SEED_BYTES: usize = 32;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The platform names no home directory to put it in.
    #[error("found no home directory for the node's data; name a directory with --data-dir")]
    NoHome,
    /// Making, reading or writing something in it failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("data directory {} is in use by another p2c2r-node; stop that node or give this one its own --data-dir", .0.display())]
    InUse(PathBuf),
    /// Others could read the key.
    #[error("key file {} can be read by other users (mode {mode:o}); run `chmod 600` on it", path.display())]
    KeyMode {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is damaged.
    #[error("key file {} is damaged ({length} bytes, expected {SEED_BYTES}); restore it, or delete it to get a new identity", path.display())]
    KeyDamaged {
        /// The key file.
        path: PathBuf,
        /// Bytes found.
        length: usize,
    },
}

/// The platform's data directory for p2c2r, or the one named.
pub fn resolve(named: Option<&Path>) -> Result<PathBuf, DataDirError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => strategy()?.data_dir(),
    };
    std::path::absolute(&path).map_err(|source| DataDirError::Io { action: "resolve", path, source })
}

/// The platform's configuration file for p2c2r.
pub fn default_config_file() -> Result<PathBuf, DataDirError> {
    Ok(strategy()?.config_dir().join("config.toml"))
}

fn strategy() -> Result<impl AppStrategy, DataDirError> {
    let args =
        AppStrategyArgs { top_level_domain: "org".into(), author: "p2c2r".into(), app_name: "p2c2r".into() };
    etcetera::choose_app_strategy(args).map_err(|_| DataDirError::NoHome)
}

/// Where the control socket of the node with this data directory lies.
pub fn control_socket(root: &Path) -> PathBuf {
    root.join("control.sock")
}

/// A data directory that this process holds alone.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    /// Kept open: closing it gives the lock up.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing and takes its lock.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let failed = |action, path: &Path, source| DataDirError::Io { action, path: path.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|source| failed("make data directory", root, source))?;
        let lock_path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| failed("open", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(root.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", &lock_path, source)),
        }
    }

    /// The store's directory.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The directory of cached scenes.
    pub fn scenes(&self) -> PathBuf {
        self.root.join("scenes")
    }

    /// The directory of compiled GPU kernels.
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// The file of the certificate that browsers recognise the node by.
    #[cfg(feature = "webrtc")]
    pub fn webrtc_certificate(&self) -> PathBuf {
        self.root.join("webrtc-certificate")
    }

    /// The node's key: read, or made on the first run.
    pub fn secret_key(&self) -> Result<SecretKey, DataDirError> {
        let path = self.root.join("key");
        match File::open(&path) {
            Ok(file) => read_key(&path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path),
            Err(source) => Err(DataDirError::Io { action: "open key file", path, source }),
        }
    }
}

fn read_key(path: &Path, mut file: File) -> Result<SecretKey, DataDirError> {
    let failed = |source| DataDirError::Io { action: "read key file", path: path.to_owned(), source };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::KeyMode { path: path.to_owned(), mode });
    }
    let mut seed = Vec::with_capacity(SEED_BYTES + 1);
    Read::by_ref(&mut file).take(SEED_BYTES as u64 + 1).read_to_end(&mut seed).map_err(failed)?;
    let length = seed.len();
    let seed: [u8; SEED_BYTES] =
        seed.try_into().map_err(|_| DataDirError::KeyDamaged { path: path.to_owned(), length })?;
    Ok(SecretKey::from_seed(seed))
}

/// Written beside and renamed: a crash leaves a whole key or none.
fn make_key(path: &Path) -> Result<SecretKey, DataDirError> {
    let failed = |source| DataDirError::Io { action: "write key file", path: path.to_owned(), source };
    let mut seed = [0_u8; SEED_BYTES];
    getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error.to_string())))?;
    write_private(path, &seed).map_err(failed)?;
    Ok(SecretKey::from_seed(seed))
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("partial");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    // An older left-over keeps its own mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("node")).unwrap();
        let first = data.secret_key().unwrap().node_id();
        assert_eq!(data.secret_key().unwrap().node_id(), first);
        let mode = fs::metadata(folder.path().join("node/key")).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn b38_world_readable_or_damaged_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let key = folder.path().join("key");
        fs::write(&key, [7; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(data.secret_key(), Err(DataDirError::KeyMode { mode: 0o644, .. })));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, [7; 31]).unwrap();
        assert!(matches!(data.secret_key(), Err(DataDirError::KeyDamaged { length: 31, .. })));
    }

    #[test]
    fn second_node_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::InUse(_))));
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }
}
