//! The direction of modules: each uses only those that `lib.rs` lists before it. And `unsafe` code is in
//! one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// In the order of `lib.rs`.
const ORDER: [&str; 13] = [
    "error",
    "format",
    "options",
    "storage",
    "sync",
    "environment",
    "activity",
    "segment",
    "log",
    "commit",
    "wal",
    "sharded",
    "inspect",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A file without the tests at its end.
fn code_of(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// The modules of the crate that a file names after `crate::`, with the lines.
fn used_modules(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    // Tests at the end of a file may use what is above.
    for (number, line) in code_of(text).lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for part in line.split("crate::").skip(1) {
            let name: String =
                part.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
            used.push((number + 1, name));
        }
    }
    used
}

#[test]
fn no_module_uses_one_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    let listed: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|name| name.trim_end_matches(';'))
        .collect();
    assert_eq!(listed, ORDER, "lib.rs lists its modules in the order of their dependencies");

    let rank: BTreeMap<&str, usize> =
        ORDER.iter().enumerate().map(|(rank, name)| (*name, rank)).collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut uses = 0;
    for file in files.iter().filter(|file| !file.ends_with("lib.rs")) {
        let inside = file.strip_prefix(&src).unwrap();
        let own = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        for (line, name) in used_modules(&std::fs::read_to_string(file).unwrap()) {
            // Re-exports at the root (`crate::Wal`) are for documentation only.
            let Some(used) = rank.get(name.as_str()) else {
                panic!("{}:{line}: crate::{name} is no module", file.display());
            };
            assert!(
                *used <= rank[own],
                "{}:{line}: `{own}` is below `{name}` and must not use it",
                file.display()
            );
            uses += 1;
        }
    }
    assert!(uses > 50, "only {uses} uses were found");
}

/// Loom tries the orders of what threads do with the tools that it knows.
#[test]
fn the_tools_of_threads_come_from_one_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let is_test = |file: &Path| file.to_string_lossy().ends_with("tests.rs");
    let has_its_own = |file: &Path| file.starts_with("sync") || file.starts_with("storage");
    let mut looked_at = 0;
    for file in &files {
        let inside = file.strip_prefix(&src).unwrap();
        if is_test(inside) || has_its_own(inside) {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        for line in code_of(&text).lines().filter(|line| !line.trim_start().starts_with("//")) {
            let is_other = ["std::sync::", "std::thread::", "thread_local!"]
                .iter()
                .any(|tool| line.contains(tool) && !line.contains("available_parallelism"));
            assert!(!is_other, "{}: use crate::sync instead of {line}", inside.display());
        }
        looked_at += 1;
    }
    assert!(looked_at > 30, "only {looked_at} files were looked at");
}

/// The only file with `unsafe` code, inside `src`.
const UNSAFE: &str = "storage/map.rs";

/// The lines of code that have a word in them. Lints that have it in their name do not count.
fn lines_with(word: &str, text: &str) -> Vec<usize> {
    let is_in_name = |char: char| char.is_alphanumeric() || char == '_';
    let has_it = |line: &str| line.split(|char| !is_in_name(char)).any(|part| part == word);
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter(|(_, line)| has_it(line)).map(|(number, _)| number + 1).collect()
}

#[test]
fn unsafe_code_is_in_one_file() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30, "only {} files were found", files.len());
    let mut allowed = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let inside = file.strip_prefix(&src).unwrap();
        let lines = lines_with("unsafe", &text);
        if inside == Path::new(UNSAFE) {
            // Were it empty, this test would guard nothing, and the crate could forbid it again.
            assert!(!lines.is_empty(), "{UNSAFE} has no unsafe code any more");
            let reasons = text.lines().filter(|line| line.trim_start().starts_with("// SAFETY: "));
            assert_eq!(reasons.count(), lines.len(), "{UNSAFE}: each says why it may");
        } else {
            assert_eq!(lines, [0; 0], "{}: unsafe code belongs in {UNSAFE}", inside.display());
        }
        allowed.extend(
            lines_with("unsafe_code", &text).into_iter().map(|line| (inside.to_owned(), line)),
        );
    }
    // Denied for the crate, and allowed for one module, where it is declared.
    allowed.sort();
    let files: Vec<_> = allowed.iter().map(|(file, _)| file.as_path()).collect();
    assert_eq!(files, ["lib.rs", "storage/mod.rs"].map(Path::new), "who talks of unsafe code");
    let parent = std::fs::read_to_string(src.join(&allowed[1].0)).unwrap();
    assert!(
        parent.lines().skip(allowed[1].1 - 1).nth(1).unwrap().ends_with("mod map;"),
        "unsafe code is allowed in another module than {UNSAFE}"
    );
    let lib = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    assert!(lib.contains("#![deny(unsafe_code)]"));
}
