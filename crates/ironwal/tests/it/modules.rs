//! The direction of modules: each uses only those that `lib.rs` lists before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// In the order of `lib.rs`.
const ORDER: [&str; 10] = [
    "error",
    "format",
    "options",
    "storage",
    "sync",
    "environment",
    "segment",
    "log",
    "commit",
    "wal",
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

/// The modules of the crate that a file names after `crate::`, with the lines.
fn used_modules(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    // Tests at the end of a file may use what is above.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    for (number, line) in code.lines().enumerate() {
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
