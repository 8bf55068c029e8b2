//! A file that has its name only when it is complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::exit::{Done, Failure};
use crate::open;

/// Refuses to write over a file: it may be somebody's only copy.
pub(crate) fn must_not_exist(path: &Path) -> Done {
    match fs::symlink_metadata(path).is_ok() {
        true => Err(Failure::BadUsage(format!(
            "{} exists: choose another file, or move it away",
            path.display()
        ))),
        false => Ok(()),
    }
}

/// A file that gets its name when it is complete; until then it goes with this.
pub(crate) struct Unfinished {
    file: File,
    path: PathBuf,
    name: PathBuf,
}

impl Unfinished {
    pub(crate) fn create(name: &Path) -> Done<Self> {
        let file_name = name.file_name().unwrap_or_default().to_string_lossy();
        let path = name.with_file_name(format!(".{file_name}.ironwal-export"));
        let file = File::create(&path);
        let file = file.map_err(|error| Failure::io(&format!("create {}", name.display()), &error));
        Ok(Self { file: file?, path, name: name.to_path_buf() })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn finish(&self) -> Done {
        let disk = open::disk();
        let dir = self.name.parent().filter(|dir| !dir.as_os_str().is_empty());
        let done = self.file.sync_all().and_then(|()| disk.rename(&self.path, &self.name));
        let done = done.and_then(|()| disk.sync_dir(dir.unwrap_or(Path::new("."))));
        done.map_err(|error| Failure::io(&format!("write {}", self.name.display()), &error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Once it has its name, it is not there.
        let _ = fs::remove_file(&self.path);
    }
}
