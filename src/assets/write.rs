//! Files onto the disk, each whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::AssetsError;

/// Prometheus, Alertmanager and Grafana run as users of their own.
const MODE: u32 = 0o644;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are new or changed.
    pub written: usize,
    /// Files that were there as they should be.
    pub unchanged: usize,
}

/// Writes all files; none, if one is there that differs and may not be overwritten.
pub(super) fn write(
    folder: &Path,
    files: &[(&str, String)],
    force: bool,
) -> Result<Written, AssetsError> {
    let mut done = Written::default();
    let (mut open, mut in_the_way) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let path = folder.join(name);
        match is_same(&path, text) {
            Ok(Some(true)) => done.unchanged += 1,
            Ok(Some(false)) if !force => in_the_way.push(path),
            Ok(_) => open.push((path, text)),
            Err(source) => return Err(AssetsError::Read { path, source }),
        }
    }
    if !in_the_way.is_empty() {
        let names: Vec<String> = in_the_way.iter().map(|p| format!("  {}", p.display())).collect();
        return Err(AssetsError::Differ { names: names.join("\n") });
    }
    for (path, text) in open {
        replace(&path, text).map_err(|source| AssetsError::Write { path, source })?;
        done.written += 1;
    }
    Ok(done)
}

/// Whether a file holds that text, if there is one.
fn is_same(path: &PathBuf, text: &str) -> io::Result<Option<bool>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(there) if !there.is_file() => Err(io::Error::other("is no file")),
        // Nobody reads what cannot be the same.
        Ok(there) if there.len() != text.len() as u64 => Ok(Some(false)),
        Ok(_) => Ok(Some(fs::read(path)? == text.as_bytes())),
    }
}

/// Whoever looks sees the old file or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".mozaiks-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_kept_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("a/x", "one\n".to_owned()), ("b", "two\n".to_owned())];
        let all = |force| write(dir.path(), &files, force);
        assert_eq!(all(false).unwrap(), Written { written: 2, unchanged: 0 });
        assert_eq!(all(false).unwrap(), Written { written: 0, unchanged: 2 });
        let mode = fs::metadata(dir.path().join("b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);

        fs::write(dir.path().join("b"), "mine").unwrap();
        fs::remove_file(dir.path().join("a/x")).unwrap();
        let said = all(false).unwrap_err().to_string();
        assert!(said.contains("/b") && !said.contains("a/x"), "{said}");
        assert!(!dir.path().join("a/x").exists(), "nothing is written then");
        assert_eq!(all(true).unwrap(), Written { written: 2, unchanged: 0 });
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "two\n");

        fs::remove_file(dir.path().join("b")).unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        assert!(matches!(all(true), Err(AssetsError::Read { .. })));
    }
}
