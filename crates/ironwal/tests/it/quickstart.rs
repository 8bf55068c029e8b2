//! The README shows `examples/quickstart.rs` as it is. As part of the crate's documentation it is a
//! doctest, so the tests run it.

const EXAMPLE: &str = include_str!("../../examples/quickstart.rs");
const README: &str = include_str!("../../README.md");

#[test]
fn the_readme_shows_the_quick_start() {
    let code = EXAMPLE.lines().skip_while(|line| line.starts_with("//") || line.is_empty());
    let code: Vec<&str> = code.collect();
    let shown = format!("```rust\n{}\n```", code.join("\n"));
    assert!(README.contains(&shown), "the README does not show examples/quickstart.rs:\n{shown}");
    assert!((10..=20).contains(&code.len()), "{} lines", code.len());
}
