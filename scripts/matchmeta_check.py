#!/usr/bin/env python3
"""Checks `hashferry normalize` line by line against a second implementation of the
rules, written from their description and not from the program.

    scripts/matchmeta_check.py BINARY [LIST...]

LIST: lists of paths, plain or .zst (which needs the program zstd). A generated list of
Windows paths, home folders and edge cases is always checked too. Each list is checked
with both versions of the rules, as columns and as JSON, with default and other user
names. Closes with `N passed, M failed`.
"""

import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

RULES = {"v2": "ubuntu", "v3": "user"}
OTHERS = {"unix": "ec2-user", "windows": "Jürgen M"}
MAX_LINE = 64 * 1024
XP = "Documents and Settings"


def v2(path, unix, windows):
    """Exactly the rule of 2018: any second component below a folder of users is a name,
    even an empty one. Without a second component, no name is replaced."""
    separator, homes, user = "/", ["home"], unix
    if path[0] != "/":
        if path[1:2] != ":":
            return path
        path = "C" + path[1:]
        separator, homes, user = "\\", ["Users", XP], windows
    names = path.split(separator)
    if len(names) > 2 and names[1] in homes:
        names[2] = user
    return separator.join(names)


def v3(path, unix, windows):
    """The rule of 2024 with two exceptions: an empty name stays unchanged, as does a path
    whose drive is not followed by a backslash."""
    if path[0] == "/":
        names = path.split("/")
        if len(names) > 2 and names[2]:
            if names[1] == "home" or (names[1] == "Users" and names[2] != "Shared"):
                names[2] = unix
        return "/".join(names)
    if path[1:2] == ":":
        names = path.split("\\")
        if len(names[0]) == 2 and len(names) > 2 and names[1] in ("Users", XP) and names[2]:
            if names[2] not in ("Default", "Public", "All Users", "Default User"):
                names[0], names[2] = "C:", windows
        return "\\".join(names)
    return path


def lines(text):
    """The lines of a list as bytes, without line ends and byte order mark, with raw lengths."""
    out = text.split(b"\n")
    if out[-1] == b"":
        out.pop()
    raw = list(out)
    if out and out[0].startswith(b"\xef\xbb\xbf"):
        out[0] = out[0][3:]
    return [(o[:-1] if o.endswith(b"\r") else o, len(r)) for o, r in zip(out, raw)]


def expected(text, rule, unix, windows):
    """Expected output, and the numbers of skipped and rejected lines."""
    answers, skipped, rejected = [], 0, []
    for number, (line, length) in enumerate(lines(text), 1):
        if length > MAX_LINE:
            rejected.append((number, "overlong"))
        elif not line:
            skipped += 1
        elif b"\0" in line:
            rejected.append((number, "nul"))
        else:
            try:
                path = line.decode("utf-8")
            except UnicodeDecodeError as e:
                try:
                    # This succeeds only if the invalid bytes are a surrogate.
                    line[e.start : e.start + 3].decode("utf-8", "surrogatepass")
                    rejected.append((number, "utf8 surrogate"))
                except UnicodeDecodeError:
                    rejected.append((number, "utf8"))
                continue
            normalized = rule(path, unix, windows)
            answers.append((path, normalized, hashlib.sha256(normalized.encode()).hexdigest().upper()))
    return answers, skipped, rejected


def edges():
    """The generated list."""
    seed = random.Random(20181126)
    out = []
    # All short paths of the words and characters in the rules.
    atoms = ["/", "\\", ":", "C", "d", "é", "\U0001f4be", "home", "Users", XP, "Public", "Shared", " ", "."]
    for n in range(1, 5):
        out += ["".join(p) for p in itertools.product(atoms, repeat=n)]
    heads = ["/home", "/Users", "/Home", "/root", "//home", "home", "C:", "D:", "z:", "1:", "é:", "::",
             "\\\\server\\c$", "\\\\?\\C:", "C:/Users", "D:a", "/", ""]  # fmt: skip
    folders = ["Users", "users", "USERS", XP, "Documents And Settings", "ProgramData", "", "home"]
    names = ["alice", "Public", "Default", "Default User", "All Users", "Shared", "public", "", " ", "a b ",
             "Administrator", "ubuntu", "user", "Jürgen", "日本", "e\u0301", "\u00e9", "..", "x:y", "tab\there",
             "\u2028", "\ufeff", "C:", "desktop.ini"]  # fmt: skip
    tails = ["", "x", "a\\b", "a/b", "Users\\bob", "home/bob", "\r", "trailing ", "\x1b[31m", '"quoted"']
    for head, folder, name, tail in itertools.product(heads, folders, names, tails):
        separator = "/" if head.startswith("/") else "\\"
        out.append(separator.join([head, folder, name, tail]))
        if seed.random() < 0.2:
            out.append(separator.join([head, name, tail]))
    raw = [p.encode() for p in out]
    raw += [b"", b"\0", b"/home/a\0b", b"/caf\xe9", b"/\xed\xa0\x80", b"D:\\\xed\xbf\xbf\\x", b"/\xc0\xaf",
            b"/\xed\xa0", b"/\xf4\x90\x80\x80", b"/\xff\0", b"/\xed\xa0\xbd\xed\xb2\xbe", b"/" + b"x" * (MAX_LINE - 1),
            b"/" + b"x" * MAX_LINE, b"/home/" + b"y" * 300_000 + b"/z"] * 3  # fmt: skip
    seed.shuffle(raw)
    ends = [b"\n", b"\r\n", b"\n\n", b"\r\r\n", b"\r\n\r\n"]
    text = b"\xef\xbb\xbf" + b"".join(r + seed.choice(ends) for r in raw)
    return text + b"\xef\xbb\xbf/home/alice\n/home/last\r"


class Check:
    def __init__(self, binary):
        self.binary, self.passed, self.failed = binary, 0, 0

    def result(self, name, wrong):
        self.failed += bool(wrong)
        self.passed += not wrong
        print(f"FAIL {name}: {wrong}" if wrong else f"ok {name}", flush=True)

    def list(self, name, path, text):
        for (rules, user), own, form in itertools.product(RULES.items(), (False, True), ("tsv", "json")):
            unix, windows = (OTHERS["unix"], OTHERS["windows"]) if own else (user, "Administrator")
            users = ["--unix-user", unix, "--windows-user", windows] if own else []
            answers, skipped, rejected = expected(text, globals()[rules], unix, windows)
            with tempfile.TemporaryDirectory() as work:
                kept = Path(work, "rejects")
                args = ["normalize", path, "--rules", rules, "--rejects", kept, *users]
                done = subprocess.run(
                    [self.binary, *args, *(["--json"] if form == "json" else [])],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=300,
                )  # fmt: skip
                got = [json.loads(r) for r in kept.read_bytes().splitlines()] if kept.exists() else []
            case = f"{name}, {rules}, {unix}, {form}"
            self.result(case, self.compare(done, form, rules, answers, skipped, rejected, got))

    def compare(self, done, form, rules, answers, skipped, rejected, got):
        out = done.stdout.split(b"\n")
        if out.pop() != b"":
            return "the output does not end with a line feed"
        for n, (line, answer) in enumerate(zip(out, answers), 1):
            if form == "tsv":
                same = line == "\t".join(answer).encode()
            else:
                fields = ["path", "normalized", "sha256", "rules"]
                same = json.loads(line) == dict(zip(fields, [*answer, rules]))
            if not same:
                return f"line {n}: expected {answer!r}, found {line!r}"
        if len(out) != len(answers):
            return f"{len(out)} lines, expected {len(answers)}"
        of = [(r["line"], r["reason"] + (" surrogate" if "detail" in r else "")) for r in got]
        if of != rejected:
            return f"rejected {of[:5]}, expected {rejected[:5]}"
        if done.returncode != (3 if rejected else 0):
            return f"exit status {done.returncode}"
        lines = len(answers) + skipped + len(rejected)
        said = f"{lines:,} lines: {len(answers):,} paths, {skipped:,} skipped (empty), {len(rejected):,} rejected"
        return None if said in done.stderr.decode() else f"no {said!r} on stderr"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    check = Check(sys.argv[1])
    for name in sys.argv[2:]:
        packed = name.endswith(".zst")
        text = subprocess.check_output(["zstd", "-dc", name]) if packed else Path(name).read_bytes()
        check.list(Path(name).name, name, text)
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        text = edges()
        file.write(text)
        file.flush()
        check.list("generated", file.name, text)
    print(f"{check.passed} passed, {check.failed} failed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
