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

/// Every claim in `docs/durability.md` names a test, and so does every bug in `docs/bugs.md`; a test that is
/// renamed takes them along.
#[test]
fn every_test_that_the_documents_name_exists() {
    let mut sources = String::new();
    collect(&repository().join("crates"), &mut sources);
    for (page, least) in [("docs/durability.md", 100), ("docs/bugs.md", 60)] {
        let named = tests_named_in(page);
        for (name, test) in &named {
            assert!(sources.contains(&format!("fn {test}(")), "{page}: there is no test {name}");
        }
        assert!(named.len() > least, "{page}: only {} names were found", named.len());
    }
}

/// Each bug has its cause, how it was found, its fix, and its test or the reason why there is none.
#[test]
fn every_bug_is_told_to_its_end() {
    let page = std::fs::read_to_string(repository().join("docs/bugs.md")).unwrap();
    let bugs: Vec<&str> = page.split("\n### ").skip(1).collect();
    for bug in &bugs {
        let places: Vec<_> =
            ["\n\n", "*Found by*", "*Fix:* \"", "*Test:*"].iter().map(|it| bug.find(it)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{bug}");
    }
    assert!(bugs.len() > 50, "{}", bugs.len());
}

/// Each public item has an example that runs, or names the item that has one for both.
#[test]
fn every_public_item_has_an_example() {
    let mut count = 0;
    let mut lacking = Vec::new();
    for crate_name in ["ironwal", "ironwal-archive", "ironwal-crash", "ironwal-openraft"] {
        let root = repository().join("crates").join(crate_name).join("src");
        for path in sources_in(&root) {
            for (item, has_example) in public_items(&std::fs::read_to_string(&path).unwrap()) {
                count += 1;
                if !has_example {
                    lacking.push(format!("{}: {item}", path.display()));
                }
            }
        }
    }
    assert!(count > 200, "only {count} public items were found");
    assert!(lacking.is_empty(), "without an example: {lacking:#?}");
}

/// The public items of a source, as rustfmt leaves it, and whether their documentation has an example.
fn public_items(source: &str) -> Vec<(String, bool)> {
    let mut items = Vec::new();
    let mut documentation = String::new();
    let mut lines = source.lines().map(str::trim_start).peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
            break; // tests are at the end
        }
        if let Some(text) = line.strip_prefix("///") {
            documentation.push_str(text);
            documentation.push('\n');
        } else if !line.starts_with("#[") {
            if let Some(item) = public_item(line) {
                let has_example =
                    documentation.contains("```") || documentation.contains("for an example");
                items.push((item, has_example));
            }
            documentation.clear();
        }
    }
    items
}

/// The kind and the name of the public item that a line begins.
fn public_item(line: &str) -> Option<String> {
    let mut rest = line.strip_prefix("pub ")?;
    for word in ["const fn ", "async fn "] {
        if rest.starts_with(word) {
            rest = &rest[word.len() - "fn ".len()..];
        }
    }
    let kinds = ["fn ", "struct ", "enum ", "trait ", "const "];
    let kind = kinds.iter().find(|kind| rest.starts_with(**kind))?;
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let name = rest[kind.len()..].split(|letter| !is_name(letter)).next()?;
    Some(format!("{kind}{name}"))
}

/// Every source below a directory, in order.
fn sources_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The paths of tests in a page, and the tests' own names.
fn tests_named_in(page: &str) -> Vec<(String, String)> {
    let page = std::fs::read_to_string(repository().join(page)).unwrap();
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let mut named = Vec::new();
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((module, test)) = quoted.rsplit_once("::") else { continue };
        if is_name(test) && module.split("::").all(is_name) && !module.starts_with("ironwal") {
            named.push((quoted.to_string(), test.to_string()));
        }
    }
    named
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
