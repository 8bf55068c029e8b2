//! `completions` and `man` are made of what the program knows of its commands.

use std::process::{Command, Stdio};

use crate::program::run;

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = run(&["--help"]);
    let (_, rest) = help.text().split_once("Commands:\n").unwrap();
    let (commands, _) = rest.split_once("\n\n").unwrap();
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    commands.filter(|name| *name != "help").map(String::from).collect()
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = String::from_utf8(run(&["completions", shell]).quiet()).unwrap();
        for command in commands() {
            assert!(script.contains(&command), "{shell}: no {command}");
        }
    }
    run(&["completions", "cmd"]).fails(2, &["possible values: bash"]);
    assert_eq!(run(&["completions"]).code, 2);
}

#[test]
fn bash_takes_its_script() {
    let script = run(&["completions", "bash"]).quiet();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ironwal");
    std::fs::write(&file, script).unwrap();
    let Ok(output) = Command::new("bash").arg("-n").arg(&file).output() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn every_command_has_a_page_with_examples_and_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man/man1");
    let ran = run(&["man", "-o", pages.to_str().unwrap()]);
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    let count = std::fs::read_dir(&pages).unwrap().count();
    assert!(ran.err.starts_with(&format!("wrote {count} pages to ")), "{}", ran.err);
    let names = commands().into_iter().map(|name| format!("ironwal-{name}.1"));
    for name in names.chain(["ironwal.1".into(), "ironwal-checkpoint-ls.1".into()]) {
        let page = std::fs::read_to_string(pages.join(&name)).unwrap();
        assert!(page.contains(".SH \"EXIT STATUS\"\n.nf\n  0  everything went well"), "{name}");
        assert!(page.contains(".SH \"EXAMPLES\"\n.nf\n  ironwal "), "{name}: {page}");
        assert_eq!(page.matches("Exit status").count(), 0, "{name}");
    }
    assert!(!pages.join("ironwal-demo-child.1").exists());
    let page = run(&["man"]).quiet();
    assert_eq!(page, std::fs::read(pages.join("ironwal.1")).unwrap());
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    run(&["man", "-o", file.to_str().unwrap()]).fails(1, &["ironwal: cannot write to "]);
}

#[test]
fn groff_takes_the_pages() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "-o", dir.path().to_str().unwrap()]).code, 0);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-z"]).arg(&path).stdin(Stdio::null());
        let Ok(output) = groff.output() else {
            eprintln!("skipped: there is no groff");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
    }
}
