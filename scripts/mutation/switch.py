"""Puts many mutations into one build, so that trying one takes a run of tests and no build.

A function that mutations change gets a body for each of them, and chooses when it is called:

    fn sum(a: u8, b: u8) -> u8 { match ::mutant::active(2) {
        7 => { a - b }
        _ => { a + b }
    } }

The number of the function is for recording which tests reach it.

A mutation outside of a function, or in a `const fn`, cannot be switched so.
"""

import dataclasses
import functools
import re

TOKEN = re.compile(
    r"""
    //[^\n]*                              # a comment
    | /\*.*?\*/
    | b?r(?P<hashes>\#*)".*?"(?P=hashes)  # a raw string
    | b?"(?:\\.|[^"\\])*"
    | b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])'
    | '\w+                                # a lifetime
    | \w+
    | .
    """,
    re.S | re.X,
)
QUALIFIERS = {"const", "unsafe", "extern", "async"}


@dataclasses.dataclass(frozen=True)
class Edit:
    """Replaces `text[start:end]` of a file under `crates/ironwal/src`."""

    name: str
    file: str
    start: int
    end: int
    new: str

    def apply(self, text):
        return text[: self.start] + self.new + text[self.end :]


@dataclasses.dataclass
class Body:
    """A function's body: where its braces are."""

    start: int
    end: int
    is_const: bool

    def holds(self, edit):
        return self.start < edit.start and edit.end < self.end


@functools.cache
def bodies(text):
    """The outermost functions of a file."""
    tokens = [found for found in TOKEN.finditer(text) if not found[0].isspace() and not found[0].startswith(("//", "/*"))]
    found, depth, wanted, body = [], 0, None, None
    for place, token in enumerate(tokens):
        word = token[0]
        named = place + 1 < len(tokens) and re.match(r"[A-Za-z_$]", tokens[place + 1][0])
        if word == "fn" and named and wanted is None and body is None:
            before = place
            while before and (tokens[before - 1][0] in QUALIFIERS or tokens[before - 1][0].startswith('"')):
                before -= 1
            wanted = (depth, any(token[0] == "const" for token in tokens[before:place]))
        elif word == ";" and wanted and depth == wanted[0]:
            wanted = None
        if word in "([{":
            if word == "{" and wanted and depth == wanted[0]:
                body, wanted = (token.start(), *wanted), None
            depth += 1
        elif word in ")]}":
            depth -= 1
            if body and depth == body[1]:
                found.append(Body(body[0], token.start(), body[2]))
                body = None
    return found


def function_of(edit, text):
    """Where the function begins that an edit is in; None if it cannot be switched."""
    return next((body.start for body in bodies(text) if body.holds(edit) and not body.is_const), None)


def switched(text, edits, functions):
    """The text with all of `edits`, which are `(number, Edit)` and can be switched, and the lines of
    each: `(first, last, number)`, from 1. `functions` has the number of each function by its beginning."""
    parts, lines, done, line = [], [], 0, 1

    def put(part):
        parts.append(part)
        return line + part.count("\n")

    for body in bodies(text):
        inside = [(number, edit) for number, edit in edits if body.holds(edit)]
        if not inside:
            continue
        line = put(text[done : body.start] + f"{{ match ::mutant::active({functions[body.start]}) {{\n")
        for number, edit in inside:
            mutated = edit.apply(text)[body.start : body.end + 1 + len(edit.new) - (edit.end - edit.start)]
            after = put(f"{number} => {mutated}\n")
            lines.append((line, after - 1, number))
            line = after
        line = put(f"_ => {text[body.start : body.end + 1]}\n}} }}")
        done = body.end + 1
    put(text[done:])
    return "".join(parts), lines


def narrowed(name, file, text, old, new):
    """The edit that makes `new` of `old`, without the lines that both begin and end with."""
    start = text.index(old)
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    while before and after and before[0] == after[0]:
        start += len(before.pop(0))
        after.pop(0)
    while before and after and before[-1] == after[-1]:
        before.pop()
        after.pop()
    return Edit(name, file, start, start + sum(map(len, before)), "".join(after))
