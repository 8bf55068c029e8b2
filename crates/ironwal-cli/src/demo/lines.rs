//! The lines that the demo appends, and the entries that they make.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::exit::{Done, Failure};

/// What counts as text when no files are named.
const TEXT_EXTENSIONS: [&str; 20] = [
    "c", "cpp", "css", "csv", "go", "h", "html", "java", "js", "json", "lock", "md", "py", "rs",
    "sh", "sql", "toml", "ts", "txt", "yml",
];

/// Directories that hold what tools made, not what people wrote.
const SKIPPED_DIRS: [&str; 2] = ["target", "node_modules"];

/// More is not needed, and would only cost memory, when no files are named.
const DEFAULT_LEN_MAX: u64 = 64 << 20;

/// The length of the number before each line.
const NUMBER_LEN: usize = size_of::<u64>();

/// The lines of some files, repeated without end: line `number` is `number` modulo their count.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Vec<Vec<u8>>,
    source: String,
}

impl Lines {
    /// The lines of `files`, or of the text files in and below the current directory.
    pub(super) fn gather(files: &[PathBuf]) -> Done<Self> {
        let mut lines = Vec::new();
        let mut file_count = 0;
        let mut add = |path: &Path| -> io::Result<()> {
            split(&fs::read(path)?, &mut lines);
            file_count += 1;
            Ok(())
        };
        if files.is_empty() {
            for path in text_files(Path::new(".")) {
                // A file that cannot be read is not needed.
                let _ = add(&path);
            }
        }
        for path in files {
            add(path).map_err(|error| Failure::io(&format!("read {}", path.display()), &error))?;
        }
        if lines.is_empty() {
            return Err(Failure::failed(
                "no lines to append: name a text file, as in `ironwal demo FILE`",
            ));
        }
        let plural = if file_count == 1 { "" } else { "s" };
        Ok(Self { lines, source: format!("{file_count} file{plural}") })
    }

    pub(super) fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Where the lines come from, in words.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Makes `entry` the entry for a line: its number, which makes repeated lines different, and
    /// its bytes.
    pub(super) fn make_entry(&self, number: u64, entry: &mut Vec<u8>) {
        entry.clear();
        entry.extend_from_slice(&number.to_le_bytes());
        entry.extend_from_slice(self.line(number));
    }

    /// The number in an entry, and whether the rest is that line; `None` if there is no number.
    pub(super) fn compare(&self, entry: &[u8]) -> Option<(u64, bool)> {
        let (number, line) = entry.split_first_chunk::<NUMBER_LEN>()?;
        let number = u64::from_le_bytes(*number);
        Some((number, line == self.line(number)))
    }

    fn line(&self, number: u64) -> &[u8] {
        // The remainder is an index into the vector, so it fits.
        &self.lines[usize::try_from(number % self.count()).unwrap_or(0)]
    }

    /// Hands the lines to another process: files could change before it reads them.
    pub(super) fn send(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.lines {
            super::write_words(out, &[line.len() as u64])?;
            out.write_all(line)?;
        }
        out.flush()
    }

    /// What [`Lines::send`] sent.
    pub(super) fn receive(input: &mut impl Read) -> io::Result<Self> {
        let mut lines = Vec::new();
        let mut len = [0; size_of::<u64>()];
        loop {
            match input.read_exact(&mut len) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let len = u64::from_le_bytes(len);
            let mut line = Vec::new();
            if input.take(len).read_to_end(&mut line)? as u64 != len {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { lines, source: String::new() })
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        let mut lines = Vec::new();
        split(text.as_bytes(), &mut lines);
        Self { lines, source: String::new() }
    }
}

fn split(text: &[u8], lines: &mut Vec<Vec<u8>>) {
    if text.is_empty() {
        return;
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    lines.extend(text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
}

/// The text files in and below `dir`, in a fixed order, up to [`DEFAULT_LEN_MAX`] in all. Links are
/// not followed.
fn text_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut found_len = 0;
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if metadata.is_dir() && !hidden && !SKIPPED_DIRS.iter().any(|&dir| name == dir) {
                dirs.push(entry.path());
            }
            if metadata.is_file() && is_text(&entry.path()) {
                found_len += metadata.len();
                if found_len > DEFAULT_LEN_MAX {
                    return found;
                }
                found.push(entry.path());
            }
        }
    }
    found
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|found| TEXT_EXTENSIONS.iter().any(|&known| found == known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_pipe_and_compare_with_their_entries() {
        let lines = Lines::of("first\n\nthird");
        let mut sent = Vec::new();
        lines.send(&mut sent).unwrap();
        let received = Lines::receive(&mut sent.as_slice()).unwrap();
        assert_eq!(received.lines, [b"first".to_vec(), b"".to_vec(), b"third".to_vec()]);

        let mut entry = Vec::new();
        received.make_entry(4, &mut entry);
        assert_eq!(lines.compare(&entry), Some((4, true)));
        entry.push(b'!');
        assert_eq!(lines.compare(&entry), Some((4, false)));
        assert_eq!(lines.compare(&entry[..7]), None);
    }

    #[test]
    fn a_cut_pipe_is_noticed() {
        let mut sent = Vec::new();
        Lines::of("first\nsecond").send(&mut sent).unwrap();
        sent.pop();
        let cut = Lines::receive(&mut sent.as_slice()).unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
    }
}
