"""Tries mutations, several at once, and shows how far it is."""

import queue
import sys
import threading
import time

from .trial import GROUPS, IN_LOOM, LOOM, Alone, DoesNotCompile, Runs, Switched

# Of each run; many tests wait for the disk.
THREADS = 4


def groups_of(file, groups=GROUPS):
    """The tests of a file's own module first."""
    module = file.removesuffix(".rs").removesuffix("/mod").replace("/", "::")
    words = [word for word in module.split("::") if word not in ("log", "wal", "lib")]
    return [("lib", [module]), *([LOOM] if file in IN_LOOM else []), *([("it", words)] if words else []), *groups]


class Campaign:
    """`record(edit, killer, why)` is told each result: the test that noticed it as (target, test), or
    None and why."""

    def __init__(self, edits, known, jobs, seeds, record, groups=GROUPS):
        self.edits, self.known, self.jobs, self.seeds = edits, known, jobs, seeds
        self.record, self.groups = record, groups
        self.targets = sorted({group[0] for edit in edits for group in groups_of(edit.file, groups)}
                              | {known[edit.name][0] for edit in edits if edit.name in known})
        self.done, self.runs = queue.SimpleQueue(), []

    def groups_for(self, edit):
        groups = groups_of(edit.file, self.groups)
        if edit.name in self.known:
            groups.sort(key=lambda group: group[0] != self.known[edit.name][0])
        return groups

    def work(self, build, runs, edits):
        try:
            while True:
                edit = edits.get_nowait()
                began = time.monotonic()
                try:
                    programs, environment = build.programs(edit)
                    killer = runs.killer(programs, environment, self.groups_for(edit), self.known.get(edit.name))
                    why = "SURVIVED"
                except DoesNotCompile as error:
                    killer, why = None, f"does not compile\n{error}"
                self.done.put((edit, killer, why, time.monotonic() - began))
        except queue.Empty:
            self.done.put(None)
        except BaseException as error:
            self.done.put(error)

    def start(self, build, edits, jobs):
        waiting = queue.SimpleQueue()
        for edit in edits:
            waiting.put(edit)
        runs = Runs(build.copy, THREADS, self.seeds)
        self.runs.append(runs)
        for _ in range(jobs):
            threading.Thread(target=self.work, args=(build, runs, waiting), daemon=True).start()
        return jobs

    def run(self):
        """Returns those that nobody noticed."""
        switched = Switched(self.edits, self.targets)
        unfit = switched.build(lambda text: print(text, flush=True))
        for edit in self.edits:
            if edit.name in unfit:
                self.done.put((edit, None, f"does not compile\n{unfit[edit.name]}", 0.0))
        fit = [edit for edit in self.edits if edit.name in switched.numbers]
        running = self.start(switched, fit, self.jobs) if fit else 0
        missed, tried, began, alone = [], 0, time.monotonic(), switched.alone
        try:
            while running or alone or tried < len(self.edits):
                if alone and not running:
                    print(f"{len(alone)} mutations outside of functions are built one by one", flush=True)
                    build = Alone(self.targets)
                    if build.copy.build():
                        raise SystemExit("the tests do not compile without a mutation")
                    running, alone = self.start(build, alone, 1), []
                result = self.done.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    running -= 1
                    continue
                edit, killer, why, took = result
                tried += 1
                if not killer:
                    missed.append(edit.name)
                self.record(edit, killer, why)
                left = (time.monotonic() - began) / tried * (len(self.edits) - tried) / 60
                print(f"[{tried}/{len(self.edits)}, {left:.0f} min left] {'caught' if killer else 'MISSED'} "
                      f"{took:4.0f} s  {edit.name}\n          by {' '.join(killer) if killer else why}", flush=True)
        except KeyboardInterrupt:
            print("interrupted; what was found is kept")
            sys.exit(130)
        finally:
            for runs in self.runs:
                runs.stop()
        return missed
