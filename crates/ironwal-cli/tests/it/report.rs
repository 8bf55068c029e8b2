//! `report` draws a page.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::logs::{flip, full_segments, orders, segment, sharded};
use crate::program::{Ran, append, content, run};

/// Makes the page of a log, and reads it.
fn report(log: &Path, page: &Path) -> (Ran, String) {
    let ran = run(&["report", log.to_str().unwrap(), "-o", page.to_str().unwrap()]);
    (ran, std::fs::read_to_string(page).unwrap_or_default())
}

#[test]
fn the_page_shows_streams_segments_shards_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    // Beside the writer.
    let wal = sharded(&log);
    let (ran, html) = report(&log, &page);
    ran.quiet();
    for part in [
        "<span class=\"whole\">Whole</span>: 14 entries of 3 streams",
        "A process had the log open for writing",
        "Nothing is damaged, torn or left over.",
        "3 shards. 1 never had an entry. The fullest has 2.00 times the entries of the mean. \
         0.8 entries per second",
        "<span class=\"count\">8</span><div class=\"track\"><div class=\"bar\" style=\"width: 100.000%\">",
        "<span class=\"count\">4</span><div class=\"track\"><div class=\"bar\" style=\"width: 50.000%\">",
        "<div class=\"segment last\" title=\"ids 0..8: 1 segment, ",
        "<td>&lt;a&gt;</td><td>1970-01-01 00:01:40</td><td class=\"number\">4</td><td class=\"number\">8</td>",
        "<td>b</td><td>1970-01-01 00:01:50</td><td class=\"number\">12</td><td class=\"number\">0</td>",
    ] {
        assert!(html.contains(part), "no {part} in {html}");
    }
    // It loads nothing.
    for part in ["http://", "https://", "<script", "src="] {
        assert!(!html.replace("http://www.w3.org/2000/svg", "").contains(part), "{part} in {html}");
    }
    wal.inner().close().unwrap();
}

/// Names are anybody's, and the page shows them as they are.
#[test]
fn names_are_no_markup() {
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    append(&log, "<script>alert(1)</script>", &[], b"x\n");
    let (ran, html) = report(&log, &page);
    ran.quiet();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
    assert!(!html.contains("<script"), "{html}");
}

#[test]
fn the_page_shows_damage_and_the_exit_status_says_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    full_segments(&log, 20);
    orders(&log);
    flip(&segment(&log, "s", 0), 8192 + 40);
    let before = content(&log);
    let (ran, html) = report(&log, &page);
    ran.fails(1, &["the log is damaged", "log.html shows where"]);
    for part in [
        "<span class=\"damaged\">Not whole</span>",
        "<td class=\"damaged\">damage</td>",
        "<div class=\"segment damaged\" title=\"ids 0..",
        "<div class=\"segment last\" title=\"ids ",
    ] {
        assert!(html.contains(part), "no {part} in {html}");
    }
    assert!(html.contains("s/00000000000000000000.wal"), "{html}");
    assert_eq!(content(&log), before);
}

/// A log that does not open has a page with what is wrong with it.
#[test]
fn the_page_of_a_log_that_does_not_open_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    orders(&log);
    std::fs::write(log.join(".ironwal"), [0; 8192]).unwrap();
    let (ran, html) = report(&log, &page);
    ran.fails(1, &["the log is damaged"]);
    assert!(html.contains("Nothing else is known of it: cannot open the log"), "{html}");
    assert!(html.contains("<tr class=\"finding\">"), "{html}");
}

#[test]
fn bad_arguments_leave_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    report(&log, &page).0.fails(1, &["there is no log in "]);
    assert!(!page.exists());
    orders(&log);
    assert_eq!(run(&["report", log.to_str().unwrap()]).code, 2);
    report(&log, &dir.path().join("missing/log.html")).0.fails(1, &["cannot create "]);
    std::fs::write(&page, "mine").unwrap();
    report(&log, &page).0.fails(2, &["exists: choose another file"]);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
#[cfg(unix)]
fn a_full_disk_leaves_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    orders(&log);
    let args = ["report", log.to_str().unwrap(), "-o", page.to_str().unwrap()];
    crate::program::run_with_short_files(1, &args).fails(1, &["cannot write "]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A browser that can do without a screen, if one is installed.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path);
    dirs.flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

/// What the browser makes of the page is what was meant: all bars and segments stand in the place where they
/// belong, and the style sheet applies.
#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else {
        eprintln!(
            "SKIPPED: no browser is installed that can do without a screen (chromium, google-chrome)"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (log, page) = (dir.path().join("log"), dir.path().join("log.html"));
    sharded(&log).inner().close().unwrap();
    report(&log, &page).0.quiet();
    let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args([&profile, "--dump-dom", &format!("file://{}", page.display())])
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let count = |part: &str| dom.matches(part).count();
    assert_eq!(count("<div class=\"bar\""), 2, "{dom}");
    assert_eq!(count("<div class=\"segment last\""), 2, "{dom}");
    assert_eq!(count("<tr class=\"checkpoint\">"), 2, "{dom}");
    let sections = ["damage", "shards", "segments", "growth", "checkpoints"];
    assert!(sections.iter().all(|id| count(&format!("<section id=\"{id}\">")) == 1), "{dom}");
    // It refuses a style sheet or a picture that the page's own policy forbids, and says so here.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("Content Security Policy"), "{said}");
}
