//! Looks which files there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::pattern::{self, Kind, MATCHING, Pattern, Selector};
use super::place::{FileId, born};
use super::rotation::Age;

/// Folders that globs may name.
const MAX_FOLDERS: usize = 1000;
/// Names that are read at once. Far more than files are followed.
const MAX_NAMES: usize = 20_000;
/// So often names are read again until two readings agree: rotation may be under way.
const READINGS: usize = 10;

/// A file that is to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The path that it has, or had before it was rotated away.
    pub(super) base: String,
    pub(super) age: Age,
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) born: Option<u64>,
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Each file once, even if it has several names.
    pub(super) found: Vec<Found>,
    /// Where to wait for more; they exist.
    pub(super) folders: BTreeSet<PathBuf>,
    /// What could not be looked at, and why.
    pub(super) problems: Vec<(PathBuf, String)>,
}

/// Files by name: the family's path and the age, youngest first within a family.
type Names = BTreeMap<(String, std::cmp::Reverse<Age>), PathBuf>;

/// Looks until two readings of the names agree, so that no file was missed on its way from one
/// name to another.
///
/// Within a family the younger are looked at before the older. So where a file is seen to hold
/// something, whatever its writer wrote before into an older one is seen, too.
pub(super) fn discover(patterns: &[Pattern], exclude: &[PathBuf], max_files: usize) -> Listing {
    let mut before: Option<HashMap<PathBuf, FileId>> = None;
    let mut listing = Listing::default();
    for _ in 0..READINGS {
        listing = read_once(patterns, exclude, max_files);
        let ids = listing.found.iter().map(|found| (found.path.clone(), found.id)).collect();
        if before.as_ref() == Some(&ids) {
            break;
        }
        before = Some(ids);
    }
    listing
}

fn read_once(patterns: &[Pattern], exclude: &[PathBuf], max_files: usize) -> Listing {
    let mut listing = Listing::default();
    let exclude: Vec<_> = exclude.iter().filter_map(|path| resolve(path)).collect();
    let mut wanted = wanted(patterns, &mut listing);
    let mut names = Names::new();
    let mut targets: BTreeMap<PathBuf, Vec<Selector>> = BTreeMap::new();
    for (folder, selectors) in &wanted {
        list(folder, selectors, &exclude, &mut names, Some(&mut targets), &mut listing);
    }
    // What symbolic links name is followed where it is, with the siblings that it has there.
    targets.retain(|folder, selectors| {
        let known = wanted.entry(folder.clone()).or_default();
        selectors.retain(|selector| !known.contains(selector));
        !selectors.is_empty()
    });
    for (folder, selectors) in &targets {
        list(folder, selectors, &exclude, &mut names, None, &mut listing);
    }
    look_at(names, max_files, &mut listing);
    listing
}

/// Which names of which folders are followed.
fn wanted(patterns: &[Pattern], listing: &mut Listing) -> BTreeMap<PathBuf, Vec<Selector>> {
    let mut wanted: BTreeMap<PathBuf, Vec<Selector>> = BTreeMap::new();
    let mut want = |folder: PathBuf, selector: Selector| {
        let selectors = wanted.entry(folder).or_default();
        if !selectors.contains(&selector) {
            selectors.push(selector);
        }
    };
    for Pattern(kind) in patterns {
        match kind {
            Kind::Path(path) if path.is_dir() => match path.canonicalize() {
                Ok(folder) => want(folder, Selector::folder()),
                Err(error) => listing.problems.push((path.clone(), error.to_string())),
            },
            Kind::Path(path) => {
                let path = resolve(path);
                let parts = path.as_deref().and_then(|path| path.parent().zip(path.file_name()));
                if let Some((folder, name)) = parts {
                    want(folder.to_owned(), Selector::Name(name.as_bytes().to_vec()));
                }
            }
            Kind::Glob { folders, names } => {
                // It compiled when the pattern was read.
                let Ok(paths) = glob::glob_with(folders, MATCHING) else { continue };
                let folders = paths.filter_map(Result::ok).filter(|path| path.is_dir());
                for folder in folders.take(MAX_FOLDERS).filter_map(|path| path.canonicalize().ok())
                {
                    want(folder, Selector::Glob(names.clone()));
                }
            }
        }
    }
    wanted
}

/// The path with the links on the way to it resolved, but not its own. `None` where its folder is
/// not there.
fn resolve(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

/// Adds the names of one folder.
fn list(
    folder: &Path,
    selectors: &[Selector],
    exclude: &[PathBuf],
    names: &mut Names,
    mut targets: Option<&mut BTreeMap<PathBuf, Vec<Selector>>>,
    listing: &mut Listing,
) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            listing.problems.push((folder.to_owned(), error.to_string()));
            return;
        }
    };
    listing.folders.insert(folder.to_owned());
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some((base, age)) = pattern::place_of(selectors, name.as_bytes()) else { continue };
        let base = folder.join(OsStr::from_bytes(base));
        if exclude.contains(&base) {
            continue;
        }
        if names.len() >= MAX_NAMES {
            let problem = format!("more than {MAX_NAMES} files match");
            listing.problems.push((folder.to_owned(), problem));
            return;
        }
        let path = folder.join(&name);
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if let Some(targets) = targets.as_deref_mut().filter(|_| is_link && age == Age::Current) {
            // A link to nothing is as good as no file.
            let target = path.canonicalize().ok();
            let parts = target.as_deref().and_then(|path| path.parent().zip(path.file_name()));
            if let Some((folder, name)) = parts.filter(|_| target.as_deref() != Some(&path)) {
                let selector = Selector::Name(name.as_bytes().to_vec());
                targets.entry(folder.to_owned()).or_default().push(selector);
            }
            continue;
        }
        names.insert((base.to_string_lossy().into_owned(), std::cmp::Reverse(age)), path);
    }
}

/// Looks at the files themselves.
fn look_at(names: Names, max_files: usize, listing: &mut Listing) {
    let mut names: Vec<_> = names.into_iter().collect();
    if names.len() > max_files {
        // The current files first, then the youngest. The sort is stable: families stay together.
        names.sort_by(|one, two| one.0.1.cmp(&two.0.1));
        let problem = format!("only {max_files} of {} files are followed", names.len());
        listing.problems.extend(names.get(max_files).map(|(_, path)| (path.clone(), problem)));
        names.truncate(max_files);
    }
    let mut seen: HashMap<FileId, usize> = HashMap::new();
    for ((base, std::cmp::Reverse(age)), path) in names {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                listing.problems.push((path, error.to_string()));
                continue;
            }
        };
        let found = Found {
            base,
            age,
            path,
            id: FileId::of(&metadata),
            born: born(&metadata),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        };
        match seen.get(&found.id).and_then(|at| listing.found.get_mut(*at)) {
            // Hard links, or renamed while we looked: the younger name is the better one.
            Some(other) if other.age >= found.age => {}
            Some(other) => *other = found,
            None => {
                seen.insert(found.id, listing.found.len());
                listing.found.push(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(names: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
                fs::write(dir.path().join(name), name).unwrap();
            }
            Self(dir)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        /// Names relative to the folder, each family's youngest first.
        fn names(&self, patterns: &[&str], exclude: &[&str]) -> Vec<String> {
            let parse = |text: &&str| Pattern::parse(self.path(text).to_str().unwrap()).unwrap();
            let patterns: Vec<_> = patterns.iter().map(parse).collect();
            let exclude: Vec<_> = exclude.iter().map(|name| self.path(name)).collect();
            let listing = discover(&patterns, &exclude, 100);
            assert_eq!(listing.problems, []);
            let root = self.path("");
            let name = |found: &Found| found.path.strip_prefix(&root).unwrap().to_owned();
            listing.found.iter().map(|f| name(f).to_str().unwrap().to_owned()).collect()
        }
    }

    #[test]
    fn files_come_with_their_siblings() {
        let folder = Folder::with(&["a.log", "a.log.1", "a.log.2", "a.log.2.gz", "b.log.1", "c"]);
        assert_eq!(folder.names(&["a.log"], &[]), ["a.log", "a.log.1", "a.log.2"]);
        assert_eq!(folder.names(&[""], &[]), ["a.log", "a.log.1", "a.log.2", "b.log.1"]);
        assert_eq!(folder.names(&["*.log"], &["a.log"]), ["b.log.1"]);
        assert_eq!(folder.names(&["none.log", "none/", "none/*.log"], &[]), [""; 0]);
    }

    #[test]
    fn a_file_with_several_names_is_found_once() {
        let folder = Folder::with(&["a.log", "sub/x.log", "sub/x.log.1"]);
        fs::hard_link(folder.path("a.log"), folder.path("b.log")).unwrap();
        assert_eq!(folder.names(&["a.log", "*.log", ""], &[]), ["a.log"]);
        symlink(folder.path("sub/x.log"), folder.path("current.log")).unwrap();
        assert_eq!(folder.names(&["current.log"], &[]), ["sub/x.log", "sub/x.log.1"]);
        assert_eq!(folder.names(&["current.log", "*/x.log"], &[]), ["sub/x.log", "sub/x.log.1"]);
        symlink(folder.path("nowhere"), folder.path("lost.log")).unwrap();
        assert_eq!(folder.names(&["lost.log"], &[]), [""; 0]);
    }

    #[test]
    fn only_so_many_are_followed_the_current_first() {
        let folder = Folder::with(&["a.log", "a.log.1", "a.log.2", "b.log", "b.log.1"]);
        let patterns = [Pattern::parse(folder.path("").to_str().unwrap()).unwrap()];
        let listing = discover(&patterns, &[], 3);
        let ages: Vec<_> = listing.found.iter().map(|found| found.age.clone()).collect();
        assert_eq!(ages, [Age::Current, Age::Current, Age::Generation(1)]);
        assert_eq!(listing.problems.len(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_followed() {
        let folder = Folder::with(&["dir.log/a"]);
        assert_eq!(folder.names(&["*.log"], &[]), [""; 0]);
    }
}
