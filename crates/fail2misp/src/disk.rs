//! Where configuration comes from: a folder on disk, or the jails built into the program.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use include_dir::{Dir, include_dir};
use jail::config::Files;

/// Our own jails, filters and actions, for hosts without fail2ban.
static BUILT_IN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../filters");

/// A folder on disk.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// The built-in jails, under [`BuiltIn::ROOT`], with files that somebody lays over them.
#[derive(Default)]
pub(crate) struct BuiltIn {
    /// Path below the root → text.
    pub(crate) overlay: BTreeMap<PathBuf, String>,
}

impl BuiltIn {
    /// The folder that the built-in jails pretend to be in; errors name it.
    pub(crate) const ROOT: &'static str = "<built-in>";
}

impl Files for BuiltIn {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = straightened(path);
        let Ok(path) = path.strip_prefix(Self::ROOT) else { return Ok(None) };
        let laid_over = self.overlay.get(path).map(|text| text.clone().into_bytes());
        Ok(laid_over.or_else(|| BUILT_IN.get_file(path).map(|file| file.contents().to_vec())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let Ok(dir) = dir.strip_prefix(Self::ROOT) else { return Ok(Vec::new()) };
        let built_in = if dir == Path::new("") { Some(&BUILT_IN) } else { BUILT_IN.get_dir(dir) };
        let built_in = built_in.into_iter().flat_map(Dir::files).map(include_dir::File::path);
        let laid_over = self.overlay.keys().map(PathBuf::as_path);
        let inside = built_in.chain(laid_over).filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }
}

/// A path without `..`, which no disk is there to follow.
fn straightened(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(straight.pop()),
            part => straight.push(part),
        }
    }
    straight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_jails_are_found_and_can_be_laid_over() {
        let overlay = [(PathBuf::from("jail.local"), "[sshd]\n".to_owned())].into();
        let files = BuiltIn { overlay };
        let root = Path::new(BuiltIn::ROOT);
        let names = files.list(&root.join("action.d")).expect("a folder");
        assert!(names.contains(&"misp.conf".to_owned()), "{names:?}");
        assert!(files.list(root).expect("a folder").contains(&"jail.local".to_owned()));
        assert_eq!(files.read(&root.join("jail.local")).expect("read"), Some(b"[sshd]\n".to_vec()));
        assert_eq!(files.read(&root.join("none")).expect("read"), None);
    }
}
