"""Tries mutations, several at once, and shows how far it is."""

import queue
import sys
import threading
import time

from . import say
from .trial import Alone, DoesNotCompile, Switched, Tests


class Campaign:
    """Tries `edits`, against tests that cost no more than `cost_max` each, in seconds of a processor.
    `record(edit, killer, why)` is told each result: the test that noticed it as (target, test), or None and why."""

    def __init__(self, edits, known, jobs, seeds, record, cost_max=float("inf")):
        self.edits, self.known, self.jobs, self.seeds = edits, known, jobs, seeds
        self.record, self.cost_max = record, cost_max
        self.done, self.tests = queue.SimpleQueue(), []

    def work(self, build, tests, edits):
        try:
            while True:
                edit = edits.get_nowait()
                began = time.monotonic()
                try:
                    environment, known = build.environment(edit), self.known.get(edit.name)
                    killer = tests.killer(environment, build.function(edit), known, self.cost_max)
                    why = "SURVIVED"
                except DoesNotCompile as error:
                    killer, why = None, f"does not compile\n{error}"
                self.done.put((edit, killer, why, time.monotonic() - began))
        except queue.Empty:
            self.done.put(None)
        except BaseException as error:
            self.done.put(error)

    def start(self, build, tests, edits, jobs):
        waiting = queue.SimpleQueue()
        for edit in edits:
            waiting.put(edit)
        self.tests.append(tests)
        for _ in range(jobs):
            threading.Thread(target=self.work, args=(build, tests, waiting), daemon=True).start()
        return jobs

    def run(self, built, quick=False):
        """Returns those that nobody noticed. `built` is what the build holds: `edits`, and maybe more. Quick: without
        the models of the whole library, and built with what `cargo test` has built."""
        switched = Switched(built, quick)
        unfit = switched.build()
        tests = Tests(switched.copy, self.seeds)
        for edit in self.edits:
            if edit.name in unfit:
                self.done.put((edit, None, f"does not compile\n{unfit[edit.name]}", 0.0))
        fit = [edit for edit in self.edits if edit.name in switched.numbers]
        names = {edit.name for edit in self.edits}
        alone = [edit for edit in switched.alone if edit.name in names]
        running = self.start(switched, tests, fit, self.jobs) if fit else 0
        missed, tried, began = [], 0, time.monotonic()
        try:
            while running or alone or tried < len(self.edits):
                if alone and not running:
                    say(f"{len(alone)} mutations outside of functions are built one by one")
                    tests.learn()
                    build = Alone(quick)
                    if build.copy.build():
                        raise SystemExit("the tests do not compile without a mutation")
                    running, alone = self.start(build, tests.of(build.copy), alone, 1), []
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
                say(f"[{tried}/{len(self.edits)}, {left:.0f} min left] {'caught' if killer else 'MISSED'} "
                    f"{took:4.0f} s  {edit.name}\n          by {' '.join(killer) if killer else why}")
        except KeyboardInterrupt:
            say("interrupted; what was found is kept")
            sys.exit(130)
        finally:
            for tests in self.tests:
                tests.stop()
        return missed
