//! `bench` measures, and leaves nothing behind.

use crate::program::run;

#[test]
fn every_load_is_measured_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let quick = ["bench", path, "--seconds", "0.05", "--threads", "3", "--size", "200"];
    let ran = run(&quick);
    let lines: Vec<_> = ran.text().lines().collect();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(lines[0], "entries of 200 bytes");
    for (line, load) in lines[2..].iter().zip([
        "floor",
        "strict",
        "strict, threads",
        "strict, batches",
        "not synced",
    ]) {
        assert!(line.starts_with(load), "{line}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let ran = run(&[&quick[..], &["--json"]].concat());
    let loads: Vec<serde_json::Value> =
        ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(loads.len(), 5);
    for load in &loads {
        assert!(load["entries"].as_u64().unwrap() > 0, "{load}");
        assert!(load["entries_per_second"].as_u64().unwrap() > 0, "{load}");
        assert!(load["latency_ns"]["p50"].as_u64() <= load["latency_ns"]["max"].as_u64());
        assert_eq!(load["entry_bytes"], 200);
    }
    assert_eq!((&loads[2]["threads"], &loads[3]["batch"]), (&3.into(), &100.into()));
    ran.quiet();
}

#[test]
fn what_cannot_be_measured_is_said() {
    run(&["bench", "/nowhere/at/all"]).fails(1, &["/nowhere/at/all is not a directory"]);
    for bad in [["--seconds", "0"], ["--seconds", "nan"], ["--size", "0"], ["--threads", "0"]] {
        run(&[&["bench"], &bad[..]].concat()).fails(2, &[bad[0]]);
    }
}

/// A disk that is full is said to be, and the directory goes.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["bench", dir.path().to_str().unwrap(), "--seconds", "0.05"];
    crate::program::run_with_short_files(1000, &args).fails(1, &["cannot"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing() {
    use std::io::Read;
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let mut child = crate::program::program()
        .args(["bench", dir.path().to_str().unwrap(), "--seconds", "60"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while std::fs::read_dir(dir.path()).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
