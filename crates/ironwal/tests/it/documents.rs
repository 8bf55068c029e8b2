//! What the documents say is there.

use std::path::{Path, PathBuf};

const EXAMPLE: &str = include_str!("../../examples/quickstart.rs");
const SHARDED: &str = include_str!("../../examples/sharded.rs");
const README: &str = include_str!("../../README.md");

/// As part of the crate's documentation it is a doctest, so the tests run it.
#[test]
fn the_readme_shows_the_quick_start() {
    let code = EXAMPLE.lines().skip_while(|line| line.starts_with("//") || line.is_empty());
    let code: Vec<&str> = code.collect();
    let shown = format!("```rust\n{}\n```", code.join("\n"));
    assert!(README.contains(&shown), "the README does not show examples/quickstart.rs:\n{shown}");
    assert!((10..=20).contains(&code.len()), "{} lines", code.len());
}

/// It needs a feature that is off by default, so it is no doctest: `rs` is Rust to those who show the
/// README and nothing to rustdoc. The example is run instead.
#[test]
fn the_readme_shows_the_sharded_ledger() {
    let begin = SHARDED.find("impl Ledger {").unwrap();
    let end = begin + SHARDED[begin..].find("\n}\n").unwrap();
    let code = &SHARDED[begin..end];
    let shown = format!("```rs\n{code}\n}}\n```");
    assert!(README.contains(&shown), "the README does not show examples/sharded.rs:\n{shown}");
    assert!((30..=50).contains(&code.lines().count()), "{} lines", code.lines().count());
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every claim in `docs/durability.md` names a test; a test that is renamed takes the claim along.
#[test]
fn every_test_that_durability_names_exists() {
    let page = std::fs::read_to_string(repository().join("docs/durability.md")).unwrap();
    let mut sources = String::new();
    collect(&repository().join("crates"), &mut sources);
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let mut named = 0;
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((module, test)) = quoted.rsplit_once("::") else { continue };
        if !is_name(test) || !module.split("::").all(is_name) || module.starts_with("ironwal") {
            continue;
        }
        assert!(sources.contains(&format!("fn {test}(")), "there is no test {quoted}");
        named += 1;
    }
    assert!(named > 40, "only {named} names were found");
}

fn collect(dir: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
