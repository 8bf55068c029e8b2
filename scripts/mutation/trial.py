"""Copies of the repository in which mutations are built, and the tests that notice them."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import ROOT, WORK, say
from .switch import function_of, switched

SOURCES = "crates/ironwal/src"
TARGETS = ["lib", "it", "memory", "loom"]
# The models of the whole library, for which all of it is built over loom; see `scripts/loom`.
WHOLE = "whole"
CARGO = ["-q", "-p", "ironwal", "--features", "sharded", "--message-format=json",
         "--config", "profile.test.debug=0", "--config", "profile.campaign.lto=false"]
# Many tests wait for the disk.
THREADS = 4
# Tests hang when none ends for so many times as long as the slowest takes without a mutation, and this at least.
PATIENCE = 5
SILENCE_MIN_S = 30
# What a mutation may allocate, or map.
MEMORY_LIMIT = 16 << 30
# What is tried together: tests that cost so much without a mutation, then those that cost so much more.
PORTIONS_S = [1, 4, 16, 64]
HANGS = "hangs"
# An abort, or a signal.
DIES = "dies"


class DoesNotCompile(Exception):
    pass


class Copy:
    """A copy of the repository under `target/mutants`, with what is built of it. Quick: as `cargo test` builds it,
    for what it depends on is there then."""

    def __init__(self, name, quick):
        self.tree = WORK / f"tree-{name}"
        self.profile = "test" if quick else "campaign"
        self.targets = TARGETS if quick else [*TARGETS, WHOLE]
        build = os.environ.get("CARGO_TARGET_DIR", ROOT / "target") if quick else WORK / f"build-{name}"
        self.environment = dict(os.environ, CARGO_TARGET_DIR=str(build))
        self.programs = {}
        shutil.rmtree(self.tree, ignore_errors=True)
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                                cwd=ROOT, check=True, capture_output=True, text=True).stdout
        # Without the times of the files: what was built before may be older, and of a mutation.
        for path in filter(lambda path: (ROOT / path).is_file(), listed.splitlines()):
            (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, self.tree / path)

    def source(self, file):
        return self.tree / SOURCES / file

    def check(self):
        """What the compiler says against the library: see `build`."""
        return self.cargo("check", "--lib")

    def build(self):
        """Builds the tests. Returns the errors: (file, line, what the compiler says)."""
        targets = [["--lib"] if target == "lib" else ["--test", target] for target in TARGETS]
        errors = self.cargo("test", "--no-run", *(word for target in targets for word in target))
        if errors or WHOLE not in self.targets:
            return errors
        usual = self.programs["loom"]
        over_loom = {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": self.environment["CARGO_TARGET_DIR"] + "-loom"}
        errors = self.cargo("test", "--no-run", "--test", "loom", **over_loom)
        self.programs |= {WHOLE: self.programs["loom"], "loom": usual}
        return errors

    def cargo(self, command, *arguments, **environment):
        done = subprocess.run(["cargo", command, "--profile", self.profile, *CARGO, *arguments],
                              cwd=self.tree, env=self.environment | environment, capture_output=True, text=True)
        errors = []
        for message in (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")):
            if message.get("executable"):
                name = message["target"]["name"]
                self.programs["lib" if name == "ironwal" else name] = message["executable"]
            said = message.get("message") or {}
            if said.get("level") == "error":
                for span in said["spans"]:
                    errors.append((span["file_name"], span["line_start"], said["rendered"]))
        if done.returncode != 0 and not errors:
            raise DoesNotCompile(done.stderr[-4000:])
        return errors


class Switched:
    """One build that holds many mutations."""

    def __init__(self, edits, quick):
        self.copy = Copy("switched", quick)
        self.numbers, self.alone, self.functions = {}, [], {}
        self.texts = {file: self.copy.source(file).read_text() for file in sorted({edit.file for edit in edits})}
        for number, edit in enumerate(edits, 1):
            start = function_of(edit, self.texts[edit.file])
            if start is None:
                self.alone.append(edit)
            else:
                self.numbers[edit.name] = (number, edit)
                self.functions.setdefault((edit.file, start), len(self.functions))
        self.write_crate()

    def write_crate(self):
        """The crate that knows which mutation is on, and notes which functions are reached."""
        crate = self.copy.tree / "crates/mutant"
        (crate / "src").mkdir(parents=True)
        (crate / "Cargo.toml").write_text('[package]\nname = "mutant"\nversion = "0.0.0"\nedition = "2024"\n')
        (crate / "src/lib.rs").write_text("""
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static REACHED: [AtomicBool; %d] = [const { AtomicBool::new(false) }; %d];
static SETTINGS: OnceLock<(u32, Option<std::ffi::OsString>)> = OnceLock::new();

pub fn active(function: usize) -> u32 {
    let (active, record) = SETTINGS.get_or_init(|| {
        let active = std::env::var("IRONWAL_MUTANT").map_or(0, |number| number.parse().unwrap());
        (active, std::env::var_os("IRONWAL_REACHED"))
    });
    if let Some(path) = record
        && !REACHED[function].swap(true, Ordering::Relaxed)
    {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(format!("{function}\\n").as_bytes()).unwrap();
    }
    *active
}
""" % ((len(self.functions),) * 2))
        manifest = self.copy.tree / "crates/ironwal/Cargo.toml"
        text = manifest.read_text()
        manifest.write_text(text.replace("[dependencies]\n", '[dependencies]\nmutant = { path = "../mutant" }\n'))

    def build(self):
        """Builds it without the mutations that do not compile, which it returns: `{name: what the compiler says}`."""
        unfit = {}
        while True:
            lines = {}
            for file, text in self.texts.items():
                mine = [(number, edit) for number, edit in self.numbers.values() if edit.file == file]
                functions = {start: number for (of, start), number in self.functions.items() if of == file}
                new, lines[f"{SOURCES}/{file}"] = switched(text, mine, functions)
                self.copy.source(file).write_text(new)
            say(f"building {len(self.numbers)} mutations into one")
            errors = self.copy.check() or self.copy.build()
            if not errors:
                return unfit
            wrong = {}
            # The places that an error is about are of no use if none is of a mutation.
            for file, line, said in errors:
                for first, last, number in lines.get(file.removeprefix(f"{self.copy.tree}/"), []):
                    if first <= line <= last:
                        wrong.setdefault(number, said)
            if not wrong:
                raise DoesNotCompile(errors[0][2])
            for name, (number, _) in list(self.numbers.items()):
                if number in wrong:
                    unfit[name] = wrong[number]
                    del self.numbers[name]

    def function(self, edit):
        start = function_of(edit, self.texts[edit.file])
        return self.functions[edit.file, start]

    def environment(self, edit):
        """Switches the mutation on."""
        return {"IRONWAL_MUTANT": str(self.numbers[edit.name][0])}


class Alone:
    """A build for one mutation after the other."""

    def __init__(self, quick):
        self.copy = Copy("alone", quick)

    def function(self, _edit):
        return None

    def environment(self, edit):
        """Builds the mutation."""
        path = self.copy.source(edit.file)
        whole = path.read_text()
        path.write_text(edit.apply(whole))
        try:
            errors = self.copy.build()
        finally:
            path.write_text(whole)
        if errors:
            raise DoesNotCompile(errors[0][2])
        return {}


@dataclasses.dataclass(frozen=True)
class Test:
    target: str
    name: str
    # Without a mutation.
    seconds: float
    # In seconds of a processor; what only waits costs little.
    cost: float
    # The functions that it reaches, by number; None if that is not known.
    reaches: frozenset | None

    def may_reach(self, function):
        return None in (function, self.reaches) or function in self.reaches


class Tests:
    """The tests of a build that pass without a mutation; knows how long they take and what they reach."""

    def __init__(self, copy, seeds):
        self.copy = copy
        self.seeds = str(seeds)
        self.processes, self.known, self.learning = set(), None, threading.Lock()

    def of(self, copy):
        """The same tests, of another build."""
        other = Tests(copy, self.seeds)
        other.known = self.known
        return other

    def first_failure(self, target, names, silence_s, environment):
        """Runs tests until one fails. Returns it, or `hangs` or `dies`, or None if all pass."""
        return self.run(target, names, silence_s, environment)[0]

    def run(self, target, names, silence_s, environment):
        """See `first_failure`; and the seconds of a processor that it took, if all pass."""
        environment = dict(self.copy.environment, RUST_BACKTRACE="0", RUST_TEST_THREADS=str(THREADS),
                           IRONWAL_SEEDS=self.seeds, **environment)
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        # A session of its own, so that what hangs can be killed with its children.
        process = subprocess.Popen([self.copy.programs[target], "--exact", *names],
                                   cwd=self.copy.tree / "crates/ironwal", env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=limit)
        self.processes.add(process)
        text, heard = b"", time.monotonic()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while True:
                    if not selector.select(max(0.0, heard + silence_s - time.monotonic())):
                        return HANGS, 0.0
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    text += data
                    failed = re.search(rb"^test (\S+)(?: - should panic)? \.\.\. FAILED$", text, re.M)
                    if failed:
                        return failed[1].decode(), 0.0
                    if not data:
                        _, status, used = os.wait4(process.pid, 0)
                        process.returncode = os.waitstatus_to_exitcode(status)
                        return None if process.returncode == 0 else DIES, used.ru_utime + used.ru_stime
                    # What a hanging test prints itself is no result.
                    if re.search(rb"\bok$|^running ", data, re.M):
                        heard = time.monotonic()
        finally:
            self.kill(process)
            process.stdout.close()
            process.wait()
            self.processes.discard(process)

    @staticmethod
    def kill(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self):
        for process in list(self.processes):
            self.kill(process)

    def learn(self):
        """Runs each test on its own and notes what it reaches, or reads what was noted of the same build."""
        with self.learning:
            if self.known is None:
                self.known = self.learned()

    def learned(self):
        digest = hashlib.sha256(self.seeds.encode())
        for target in self.copy.targets:
            with open(self.copy.programs[target], "rb") as program:
                digest.update(hashlib.file_digest(program, "sha256").digest())
        kept = WORK / f"tests-{digest.hexdigest()[:16]}.json"
        if not kept.exists():
            listed = [(target, name) for target in self.copy.targets for name in self.names(target)]
            found = []
            with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
                for number, test in enumerate(pool.map(lambda it: self.try_alone(*it), listed), 1):
                    if test is None:
                        say(f"without a mutation, {listed[number - 1][1]} fails: it is left out")
                    else:
                        found.append({**dataclasses.asdict(test), "reaches": None if test.reaches is None else sorted(test.reaches)})
                    if number % 100 == 0:
                        say(f"looked at {number} of {len(listed)} tests")
            kept.write_text(json.dumps(found))
        known = [
            Test(**{**test, "reaches": None if test["reaches"] is None else frozenset(test["reaches"])})
            for test in json.loads(kept.read_text())
        ]
        return sorted(known, key=lambda test: test.cost)

    def names(self, target):
        output = subprocess.run([self.copy.programs[target], "--list"], cwd=self.copy.tree / "crates/ironwal",
                                check=True, capture_output=True, text=True).stdout
        names = re.findall(r"^(\S+): test$", output, re.M)
        return [name for name in names if name.startswith("whole::")] if target == WHOLE else names

    def try_alone(self, target, name):
        def timed(environment):
            began = time.monotonic()
            failed, used = self.run(target, [name], 1800, environment)
            seconds = time.monotonic() - began
            return failed, seconds, used + seconds / 20

        with tempfile.TemporaryDirectory() as directory:
            reached = os.path.join(directory, "reached")
            failed, *took = timed({"IRONWAL_REACHED": reached})
            if not failed:
                numbers = open(reached).read().split() if os.path.exists(reached) else []
                return Test(target, name, *took, frozenset(map(int, numbers)))
            # Recording costs memory, which some tests count.
            failed, *took = timed({})
            return None if failed else Test(target, name, *took, None)

    def portions(self, function, cost_max):
        """The tests that reach a function, in portions: the quickest first."""
        tests = [test for test in self.known if test.may_reach(function) and test.cost <= cost_max]
        budgets = iter([*PORTIONS_S, float("inf")])
        budget, portion, taken = next(budgets), [], 0.0
        for test in tests:
            while portion and taken + test.cost > budget:
                yield portion
                portion, taken, budget = [], 0.0, next(budgets)
            portion.append(test)
            taken += test.cost
        if portion:
            yield portion

    def killer(self, environment, function, known, cost_max):
        """The test that notices a mutation, as (target, test), or None."""
        if known and known[1] not in (HANGS, DIES):
            # It is known to pass without.
            if self.first_failure(known[0], [known[1]], 4 * SILENCE_MIN_S, environment):
                return known
        self.learn()
        for portion in self.portions(function, cost_max):
            silence_s = max(SILENCE_MIN_S, PATIENCE * max(test.seconds for test in portion))
            for target in self.copy.targets:
                names = [test.name for test in portion if test.target == target]
                test = self.first_failure(target, names, silence_s, environment) if names else None
                # loom was only slow.
                if test == DIES or (test == HANGS and target not in ("loom", WHOLE)):
                    return target, test
                # Twice, for a test could have failed by chance.
                if test and test != HANGS and self.first_failure(target, [test], silence_s, environment):
                    return target, test
        return None
