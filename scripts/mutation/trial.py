"""Copies of the repository in which mutations are built, and the runs of tests that notice them."""

import json
import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import threading
import time

from . import ROOT, WORK
from .switch import can_be_switched, switched

SOURCES = "crates/ironwal/src"
CARGO = ["-q", "-p", "ironwal", "--features", "sharded", "--message-format=json", "--config", "profile.test.debug=0"]
# Slow, or of use only where nothing else notices.
LAST = ["contract", "sharded::simulation", "kill", "processes", "schedules", "rot", "journal_rot", "journal::storm"]
# What is quick comes first: (test target, arguments).
GROUPS = [
    ("lib", []),
    ("memory", []),
    ("it", [word for name in LAST for word in ("--skip", name)]),
    ("it", ["contract", "sharded::simulation"]),
    ("it", [name for name in LAST if "contract" not in name and "simulation" not in name]),
]
LOOM = ("loom", [])
# Files that `tests/loom.rs` includes. It knows when threads would wait for ever.
IN_LOOM = ["commit/rounds.rs"]
# These read the source, which is not what it was.
OF_THE_SOURCE = ["--skip", "modules::", "--skip", "documents::", "--skip", "format::sample"]
# Tests hang when none ends for so many times as long as without a mutation, and this at least.
PATIENCE = 4
SILENCE_MIN_S = 30
# What a mutation may allocate, or map.
MEMORY_LIMIT = 16 << 30
HANGS = "hangs"
# An abort, or a signal.
DIES = "dies"


class DoesNotCompile(Exception):
    pass


class Copy:
    """A copy of the repository under `target/mutants`, with what is built of it."""

    def __init__(self, name, targets):
        self.tree, self.targets = WORK / f"tree-{name}", targets
        self.environment = dict(os.environ, CARGO_TARGET_DIR=str(WORK / f"build-{name}"))
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
        targets = [["--lib"] if target == "lib" else ["--test", target] for target in self.targets]
        return self.cargo("test", "--no-run", *(word for target in targets for word in target))

    def cargo(self, command, *arguments):
        done = subprocess.run(["cargo", command, *CARGO, *arguments], cwd=self.tree, env=self.environment,
                              capture_output=True, text=True)
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

    def __init__(self, edits, targets):
        self.copy = Copy("switched", targets)
        self.numbers = {}
        self.alone = []
        texts = {file: self.copy.source(file).read_text() for file in {edit.file for edit in edits}}
        for number, edit in enumerate(edits, 1):
            if can_be_switched(edit, texts[edit.file]):
                self.numbers[edit.name] = (number, edit)
            else:
                self.alone.append(edit)
        self.texts = texts
        crate = self.copy.tree / "crates/mutant"
        (crate / "src").mkdir(parents=True)
        (crate / "Cargo.toml").write_text('[package]\nname = "mutant"\nversion = "0.0.0"\nedition = "2024"\n')
        (crate / "src/lib.rs").write_text(
            "use std::sync::OnceLock;\n\n"
            "pub fn active() -> u32 {\n"
            "    static ACTIVE: OnceLock<u32> = OnceLock::new();\n"
            '    *ACTIVE.get_or_init(|| std::env::var("IRONWAL_MUTANT").map_or(0, |number| number.parse().unwrap()))\n'
            "}\n")
        manifest = self.copy.tree / "crates/ironwal/Cargo.toml"
        manifest.write_text(manifest.read_text().replace("[dependencies]\n", '[dependencies]\nmutant = { path = "../mutant" }\n'))

    def build(self, say):
        """Builds it without the mutations that do not compile, which it returns: `{name: what the compiler says}`."""
        unfit = {}
        while True:
            lines = {}
            for file, text in self.texts.items():
                mine = [(number, edit) for number, edit in self.numbers.values() if edit.file == file]
                new, lines[f"{SOURCES}/{file}"] = switched(text, mine)
                self.copy.source(file).write_text(new)
            say(f"building {len(self.numbers)} mutations into one")
            errors = self.copy.check() or self.copy.build()
            if not errors:
                return unfit
            wrong = {}
            # The places that an error is about are of no use if none is of a mutation.
            for file, line, said in errors:
                for first, last, number in lines.get(file, []):
                    if first <= line <= last:
                        wrong.setdefault(number, said)
            if not wrong:
                raise DoesNotCompile(errors[0][2])
            for name, (number, _) in list(self.numbers.items()):
                if number in wrong:
                    unfit[name] = wrong[number]
                    del self.numbers[name]

    def programs(self, edit):
        """The test programs, and the environment in which they have the mutation."""
        return self.copy.programs, {"IRONWAL_MUTANT": str(self.numbers[edit.name][0])}


class Alone:
    """A build for one mutation after the other."""

    def __init__(self, targets):
        self.copy = Copy("alone", targets)

    def programs(self, edit):
        path = self.copy.source(edit.file)
        whole = path.read_text()
        path.write_text(edit.apply(whole))
        try:
            errors = self.copy.build()
        finally:
            path.write_text(whole)
        if errors:
            raise DoesNotCompile(errors[0][2])
        return self.copy.programs, {}


class Runs:
    """Runs tests, knowing how long they take without a mutation."""

    def __init__(self, copy, threads, seeds):
        self.copy, self.threads, self.seeds = copy, threads, seeds
        self.processes, self.silences, self.lock = set(), {}, threading.Lock()

    def first_failure(self, program, arguments, silence_s, environment):
        """Runs tests until one fails. Returns it, or `hangs` or `dies`, or None if all pass; and the longest
        time between two results, in seconds."""
        environment = dict(self.copy.environment, RUST_BACKTRACE="0", RUST_TEST_THREADS=str(self.threads),
                           IRONWAL_SEEDS=str(self.seeds), **environment)
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        # A session of its own, so that what hangs can be killed with its children.
        process = subprocess.Popen([program, *arguments], cwd=self.copy.tree / "crates/ironwal", env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True, preexec_fn=limit)
        self.processes.add(process)
        text, longest, heard = b"", 0.0, time.monotonic()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while True:
                    if not selector.select(max(0.0, heard + silence_s - time.monotonic())):
                        return HANGS, longest
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    text += data
                    failed = re.search(rb"^test (\S+)(?: - should panic)? \.\.\. FAILED$", text, re.M)
                    if failed:
                        return failed[1].decode(), longest
                    # What a hanging test prints itself is no result.
                    if re.search(rb"\bok$|^running ", data, re.M) or not data:
                        longest = max(longest, time.monotonic() - heard)
                        heard = time.monotonic()
                    if not data:
                        return None if process.wait() == 0 else DIES, longest
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

    def silence_s(self, target, arguments):
        """How long tests may say nothing. They run once without a mutation, and must pass."""
        key = (target, *arguments)
        with self.lock:
            if key not in self.silences:
                failed, longest = self.first_failure(self.copy.programs[target], arguments, 1200, {})
                if failed:
                    raise SystemExit(f"without a mutation, {failed} fails")
                self.silences[key] = max(SILENCE_MIN_S, PATIENCE * longest)
            return self.silences[key]

    def killer(self, programs, environment, groups, known):
        """The test that notices a mutation, as (target, test), or None."""
        if known and known[1] not in (HANGS, DIES):
            # It is known to pass without.
            test, _ = self.first_failure(programs[known[0]], ["--exact", known[1]], 4 * SILENCE_MIN_S, environment)
            if test:
                return known
        for target, arguments in groups:
            arguments = [*arguments, *OF_THE_SOURCE]
            silence_s = self.silence_s(target, arguments)
            test, _ = self.first_failure(programs[target], arguments, silence_s, environment)
            # loom was only slow.
            if test == DIES or (test == HANGS and target != "loom"):
                return target, test
            # Twice, for a test could have failed by chance.
            if test and test != HANGS:
                again, _ = self.first_failure(programs[target], ["--exact", test], silence_s, environment)
                if again:
                    return target, test
        return None
