#!/usr/bin/env python3
"""Checks look-ups by third-party clients: `hashferry lookup` and
`hashferry serve` against a table on this machine.

    scripts/lookup_check.py BINARY [--paths LIST] [--browser CHROMIUM] [--screenshot PNG]
                            [--only WORD...]

Needs pyhashlookup, requests and openapi-spec-validator. The checks of the page need
playwright, axe-playwright-python and Chromium, and are skipped without them. LIST is a
list of paths [default: a generated one]. Closes with `N passed, M failed`.
"""

import argparse
import contextlib
import csv
import hashlib
import io
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent
LIMIT_S = 120
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
KNOWN = [hashlib.sha256(f"known {n}".encode()).hexdigest().upper() for n in range(3_000)]
UNKNOWN = [hashlib.sha256(f"unknown {n}".encode()).hexdigest().upper() for n in range(3_000)]
SHA1 = [hashlib.sha1(f"known {n}".encode()).hexdigest() for n in range(300)]
SHA1_UNKNOWN = [hashlib.sha1(f"unknown {n}".encode()).hexdigest() for n in range(300)]


class Results:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, good, why=""):
        if good:
            self.passed += 1
            print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {name}: {why}", flush=True)
        return good

    def equal(self, name, got, want):
        return self.check(name, got == want, f"expected {short(want)}, got {short(got)}")

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}", flush=True)


def short(value, limit=600):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def normalized(path):
    """Normalises a path by rules v2, written from their description, for the paths used here."""
    names = path.split("/")
    if names[:2] == ["", "home"] and len(names) > 2 and names[2]:
        names[2] = "ubuntu"
    return "/".join(names)


def path_hash(path):
    return hashlib.sha256(normalized(path).encode()).hexdigest().upper()


class Bench:
    def __init__(self, binary, work):
        self.binary, self.work = str(Path(binary).resolve()), work
        self.local = work / "local"

    def run(self, *args, status=0, stdin=None):
        done = subprocess.run(
            [self.binary, *map(str, args)], input=stdin, capture_output=True, text=True,
            cwd=self.work, timeout=LIMIT_S,
        )
        if done.returncode != status:
            raise AssertionError(f"{args}: exit {done.returncode}, not {status}\n{done.stderr}")
        return done

    @contextlib.contextmanager
    def serve(self, *args, table="sha256", listen="127.0.0.1:0"):
        """Yields the address of a server, which stops at the end of the block."""
        server = subprocess.Popen(
            [self.binary, "serve", "--local", str(self.local), "--table", table,
             "--listen", listen, *map(str, args)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self.work,
        )
        said = []
        try:
            url = None
            for line in server.stderr:
                said.append(line)
                if found := re.search(r"listening on (http://\S+)", line):
                    url = found[1].rstrip("/")
                    break
            if url is None:
                raise AssertionError(f"the server did not start:\n{''.join(said)}")
            reader = threading.Thread(target=lambda: said.extend(server.stderr), daemon=True)
            reader.start()
            yield Server(url, server, said)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                raise AssertionError("the server did not stop within 30 s of a signal") from None


class Server:
    def __init__(self, url, process, said):
        self.url, self.process, self.said = url, process, said


def answers(text):
    return [json.loads(line) for line in text.splitlines()]


# -- hashferry lookup ---------------------------------------------------------


def looked_up_paths(b, r, paths):
    """1,000 known paths, 1,000 changed by a character, 10 invalid lines: looked up
    in the table and with the API; each answer must be correct and in order."""
    rng = random.Random(7)
    there = rng.sample(paths, 1_000)
    all_normal = {normalized(p) for p in paths}
    altered = []
    while len(altered) < 1_000:
        path = rng.choice(paths)
        at = rng.randrange(1, len(path))
        other = path[:at] + rng.choice("abcxyz0-") + path[at + 1:]
        if normalized(other) not in all_normal:
            altered.append(other)
    invalid = [b"", b"/a\0b", b"/caf\xe9", b"/\xed\xa0\x80", b"\xff", b"/" + b"x" * 70_000,
               b"/\xc3\x28", b"\0", b"/z\xfe", b""]
    lines = [(p.encode(), "known") for p in there] + [(p.encode(), "unknown") for p in altered]
    lines += [(line, "invalid") for line in invalid]
    rng.shuffle(lines)
    asked = b.work / "asked.txt"
    asked.write_bytes(b"".join(line + b"\n" for line, _ in lines))

    def judge(name, done):
        got = answers(done.stdout)
        r.equal(f"{name}: one answer per line", len(got), len(lines))
        wrong = []
        for n, ((line, status), answer) in enumerate(zip(lines, got), 1):
            if answer["status"] != status:
                wrong.append((n, line[:60], status, answer))
            elif status == "invalid":
                if answer["hash"] is not None or not answer.get("reason"):
                    wrong.append((n, line[:60], "no hash and a reason", answer))
            else:
                path = line.decode()
                want = {"input": path, "hash": path_hash(path), "normalized": normalized(path),
                        "rules": "v2"}
                if status == "known":
                    want |= {"source": "gold"}
                if {k: answer.get(k) for k in want} != want:
                    wrong.append((n, line[:60], want, answer))
        r.check(f"{name}: every answer is right and in order", not wrong, short(wrong[:2]))

    report = b.work / "report.json"
    flags = [asked, "--paths", "--progress", "none", "--report", report]
    done = b.run("lookup", *flags, "--local", b.local, "--table", "paths", status=3)
    judge("lookup --paths --table", done)
    books = json.loads(report.read_text())
    columns = ["lines", "known", "unknown", "invalid", "error"]
    r.equal("lookup --paths --table: the report", [books[c] for c in columns],
            [2_010, 1_000, 1_000, 10, 0])
    with b.serve(table="paths") as server:
        done = b.run("lookup", *flags, "--api", f"{server.url}/sha256/", status=3)
        judge("lookup --paths --api", done)
        books = json.loads(report.read_text())
        r.equal("lookup --paths --api: the report", [books[c] for c in columns],
                [2_010, 1_000, 1_000, 10, 0])
        # Server and client must normalise paths equally.
        sample = there[:300] + altered[:300]
        post = requests.post(f"{server.url}/lookup", json={"paths": sample}, timeout=30)
        got = [(a["input"], a["hash"], a["status"]) for a in post.json()["results"]]
        want = [(p, path_hash(p), "known") for p in there[:300]]
        want += [(p, path_hash(p), "unknown") for p in altered[:300]]
        r.equal("POST /lookup of paths gives the same answers", got, want)
        one = requests.get(f"{server.url}/path", params={"p": there[0]}, timeout=30)
        r.equal("GET /path", (one.status_code, one.json()["status"]), (200, "known"))


# -- hashferry serve ----------------------------------------------------------


def served(b, r, _):
    with b.serve() as server:
        url = server.url
        for route, status, word in [
            (f"/sha256/{KNOWN[0]}", 200, "known"),
            (f"/sha256/{KNOWN[0].lower()}", 200, "known"),
            (f"/sha256/{UNKNOWN[0]}", 404, "unknown"),
            ("/sha256/xyz", 400, "invalid"),
            (f"/md5/{KNOWN[0][:32]}", None, "error"),
            ("/nothing/here", 404, "error"),
        ]:
            got = requests.get(url + route, timeout=30)
            good = got.json()["status"] == word and status in (None, got.status_code)
            r.check(f"GET {route[:20]}…: {word}", good, f"{got.status_code} {got.text[:300]}")
        known = requests.get(f"{url}/sha256/{KNOWN[1]}", timeout=30).json()
        want = {"input": KNOWN[1], "hash": KNOWN[1], "status": "known", "source": "NSRL",
                "type": "file", "desc": HOSTILE}
        r.equal("an answer has all attributes of the item", known, want)
        mixed = [KNOWN[0], "nonsense", UNKNOWN[0].lower(), "", KNOWN[0]]
        got = requests.post(f"{url}/lookup", json={"hashes": mixed}, timeout=30).json()["results"]
        r.equal("POST /lookup: each its status, in order", [a["status"] for a in got],
                ["known", "invalid", "unknown", "invalid", "known"])
        r.equal("POST /lookup: each its input", [a["input"] for a in got], mixed)
        many = requests.post(f"{url}/lookup", json={"hashes": KNOWN[:1001]}, timeout=30)
        r.check("POST /lookup of 1,001 is rejected", many.status_code in (400, 413), many.text[:200])
        for what, body in [("invalid JSON", b"{"), ("both fields", b'{"hashes":[],"paths":[]}'),
                           ("a wrong type", b'{"hashes":"x"}'), ("numbers", b'{"hashes":[1]}')]:
            got = requests.post(f"{url}/lookup", data=body, timeout=30,
                                headers={"content-type": "application/json"})
            good = got.status_code in (400, 415, 422) and got.json()["status"] == "error"
            r.check(f"POST /lookup of {what} is rejected", good, f"{got.status_code} {got.text[:200]}")
        got = requests.post(f"{url}/lookup", data=b"x" * 3_000_000, timeout=30)
        r.equal("an oversize body", got.status_code, 413)
        metrics = requests.get(f"{url}/metrics", timeout=30)
        r.check("/metrics", metrics.ok and "# TYPE" in metrics.text, metrics.text[:300])
        r.equal("/healthz", requests.get(f"{url}/healthz", timeout=30).status_code, 200)
        # A page of another site must not send requests (DNS rebinding).
        got = requests.get(f"{url}/sha256/{KNOWN[0]}", headers={"host": "evil.example"}, timeout=30)
        r.check("without keys, another Host is denied", got.status_code in (400, 403, 421),
                f"{got.status_code}")
    r.equal("exit status 0 after a signal", server.process.returncode, 0)


def openapi(b, r, _):
    try:
        from openapi_spec_validator import validate
    except ImportError:
        return r.skip("openapi", "openapi-spec-validator is not installed")
    with b.serve() as server:
        document = requests.get(f"{server.url}/openapi.json", timeout=30).json()
        try:
            validate(document)
            why = ""
        except Exception as e:  # the message is the finding
            why = str(e)[:500]
        r.check("/openapi.json is valid", not why, why)
        for path in ["/lookup", "/path", "/healthz", "/metrics", "/info"]:
            r.check(f"/openapi.json has {path}", path in document["paths"], short(list(document["paths"])))


def with_keys(b, r, _):
    keys = b.work / "keys"
    key = b.run("serve", "--new-key", "lab", "--api-keys", keys).stdout.strip()
    r.check("--new-key prints a key", len(key) >= 32 and "\n" not in key, short(key))
    r.check("the file does not contain the key", key not in keys.read_text(), "it does")
    with b.serve("--api-keys", keys, "--rate-limit", "50") as server:
        route = f"{server.url}/sha256/{KNOWN[0]}"
        for name, headers, status in [
            ("no key", {}, 401),
            ("a wrong key", {"x-api-key": key[:-1] + ("a" if key[-1] != "a" else "b")}, 401),
            ("the key", {"x-api-key": key}, 200),
        ]:
            got = requests.get(route, headers=headers, timeout=30)
            r.equal(f"with {name}", got.status_code, status)
        statuses = [requests.get(route, headers={"x-api-key": key}, timeout=30) for _ in range(150)]
        limited = [s for s in statuses if s.status_code == 429]
        r.check("above the rate limit: 429 with Retry-After",
                limited and all("retry-after" in s.headers for s in limited),
                f"{len(limited)} of 150")
        (b.work / "asked").write_text("".join(f"{h}\n" for h in KNOWN[:200] + UNKNOWN[:200]))
        (b.work / "key").write_text(key + "\n")
        done = b.run("lookup", "asked", "--api", f"{server.url}/sha256/", "--api-key-file", "key",
                     "--progress", "none")
        got = [a["status"] for a in answers(done.stdout)]
        r.equal("lookup --api obeys the limit and loses nothing", got,
                ["known"] * 200 + ["unknown"] * 200)
        b.run("lookup", "asked", "--api", f"{server.url}/sha256/", status=1)
        time.sleep(0.2)  # for the last lines of the log
        r.check("no key in the server's log", key not in "".join(server.said), "it is")


def by_pyhashlookup(b, r, _):
    import pyhashlookup

    with b.serve(table="sha1") as server:
        client = pyhashlookup.Hashlookup(server.url)
        info = client.info()
        r.check("pyhashlookup: info", isinstance(info, dict) and info, short(info))
        got = client.lookup(SHA1[0])
        r.check("pyhashlookup: a known hash", got.get("SHA-1") == SHA1[0].upper()
                and got.get("source") == "NSRL", short(got))
        # hashlookup-forensic-analyser looks for this name.
        r.check("pyhashlookup: the field that hashlookup-forensic-analyser checks", "sha1" in got, short(got))
        got = client.lookup(SHA1_UNKNOWN[0])
        r.check("pyhashlookup: an unknown hash", "SHA-1" not in got and "sha1" not in got, short(got))
        got = client.lookup(SHA1[:100] + SHA1_UNKNOWN[:100])
        r.equal("pyhashlookup: bulk returns the known hashes", sorted(a["SHA-1"] for a in got),
                sorted(h.upper() for h in SHA1[:100]))
        r.equal("pyhashlookup: bulk of unknown hashes", client.lookup(SHA1_UNKNOWN[:10]), [])
    with b.serve() as server:
        client = pyhashlookup.Hashlookup(server.url)
        got = client.sha256_lookup(KNOWN[5])
        r.check("pyhashlookup: SHA-256", got.get("SHA-256") == KNOWN[5], short(got))
        got = client.sha256_lookup(UNKNOWN[5])
        r.check("pyhashlookup: unknown SHA-256", "SHA-256" not in got, short(got))


def bad_clients(b, r, _):
    """Slow and many connections: other clients still get their responses."""
    with b.serve() as server:
        host, port = server.url.removeprefix("http://").split(":")

        def one():
            return socket.create_connection((host, int(port)), timeout=60)

        def answered(name):
            got = requests.get(f"{server.url}/sha256/{KNOWN[0]}", timeout=30)
            r.equal(f"{name}: others are answered", got.status_code, 200)

        slow = [one() for _ in range(200)]
        for s in slow:
            s.sendall(b"POST /lookup HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                      b"content-length: 1000\r\n\r\n{\"hashes\"")
        answered("200 unfinished bodies")
        heads = [one() for _ in range(200)]
        for s in heads:
            s.sendall(b"GET / HTTP/1.1\r\nhost: loc")
        answered("200 unfinished heads")
        for name, text in [
            ("a header of 100 KB", b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"),
            ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00"),
        ]:
            with one() as s:
                s.sendall(text)
                first = s.recv(200)
            r.check(f"{name} is rejected", not first or b" 4" in first.split(b"\r\n")[0], short(first))
        answered("after bad requests")
        for s in slow + heads:
            s.close()


# -- the page in a browser ----------------------------------------------------


def page(b, r, _, chromium=None, screenshot=None):
    try:
        from axe_playwright_python.sync_playwright import Axe
        from playwright.sync_api import expect, sync_playwright
    except ImportError as e:
        return r.skip("page", f"{e.name} is not installed")
    if not chromium or not Path(chromium).exists():
        return r.skip("page", "Chromium is not installed")
    keys = b.work / "page-keys"
    key = b.run("serve", "--new-key", "page", "--api-keys", keys).stdout.strip()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(b.serve("--api-keys", keys))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        stack.callback(browser.close)
        context = browser.new_context(accept_downloads=True)
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        problems, elsewhere = [], []
        tab.on("pageerror", lambda e: problems.append(str(e)))
        tab.on("console", lambda m: problems.append(m.text) if m.type == "error"
               and "401" not in m.text else None)
        tab.on("request", lambda q: elsewhere.append(q.url)
               if not q.url.startswith((server.url, "data:", "blob:")) else None)
        tab.goto(f"{server.url}/")

        def counts():
            spans = tab.query_selector_all("[data-count]")
            return {s.get_attribute("data-count"): int(s.inner_text().replace(",", "")) for s in spans}

        def done():
            expect(tab.locator("#said")).to_have_text(re.compile("^(Done|Not finished|Stopped)"), timeout=30_000)

        def accessible(when):
            found = Axe().run(tab).response["violations"]
            r.equal(f"page: axe finds nothing ({when})", [v["id"] for v in found], [])

        accessible("empty")
        # With the keyboard only.
        tab.focus("#text")
        tab.keyboard.insert_text("\n".join([KNOWN[0], KNOWN[1].lower(), UNKNOWN[0], "nonsense", "", "# x"]))
        tab.keyboard.press("Control+Enter")
        done()
        r.check("page: without a key, an error, and the focus on the key",
                "API key" in tab.inner_text("#problem")
                and tab.evaluate("document.activeElement.id") == "key", tab.inner_text("#problem"))
        tab.keyboard.insert_text("wrong")
        tab.keyboard.press("Enter")
        done()
        r.check("page: a wrong key", "does not accept" in tab.inner_text("#problem"), tab.inner_text("#problem"))
        tab.fill("#key", key)
        tab.keyboard.press("Enter")
        done()
        want = {"all": 4, "known": 2, "unknown": 1, "invalid": 1, "error": 0}
        r.equal("page: counts of pasted lines", counts(), want)
        rows = [[c.inner_text() for c in row.query_selector_all("td")] for row in tab.query_selector_all("#rows tr")]
        r.check("page: a known hash with source, description and type",
                rows[0][3:6] == ["NSRL", HOSTILE, "file"] and "Known" in rows[0][1], short(rows[:1]))
        r.equal("page: text of the table is not executed", tab.title(), "hashferry: look up hashes and paths")
        r.check("page: announced to screen readers", "4 lines looked up: 2 known, 1 unknown, 1 invalid" in
                tab.inner_text("#said"), tab.inner_text("#said"))
        accessible("with results")
        tab.emulate_media(color_scheme="dark")
        accessible("dark")
        tab.emulate_media(color_scheme="light")
        if screenshot:
            tab.screenshot(path=screenshot, full_page=True)
        tab.set_viewport_size({"width": 360, "height": 740})
        accessible("narrow")
        fits = tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        r.check("page: fits a narrow window", fits)
        tab.set_viewport_size({"width": 1280, "height": 800})
        tab.focus("input[name=show][value=all]")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowRight")
        shown = [row.query_selector_all("td")[2].inner_text() for row in tab.query_selector_all("#rows tr")]
        r.equal("page: only unknown hashes, by keyboard", shown, [UNKNOWN[0]])

        # A dropped file of three requests, and the downloads.
        lines = KNOWN[:1_500] + UNKNOWN[:1_000] + ["x"]
        data = tab.evaluate_handle(
            """text => { const d = new DataTransfer();
                         d.items.add(new File([text], "list.txt", {type: "text/plain"})); return d; }""",
            "\r\n".join(lines) + "\r\n")
        tab.dispatch_event("#drop", "drop", {"dataTransfer": data})
        tab.click("#go")
        done()
        r.equal("page: counts of a dropped file", counts(),
                {"all": 2_501, "known": 1_500, "unknown": 1_000, "invalid": 1, "error": 0})
        for show in ("unknown", "all"):
            tab.check(f"input[name=show][value={show}]")
            with tab.expect_download() as got:
                tab.click("#json")
            saved = json.loads(Path(got.value.path()).read_text())
            of = [h for h in lines if show == "all" or h in UNKNOWN]
            r.equal(f"page: JSON of {show}", [a["input"] for a in saved], of)
            with tab.expect_download() as got:
                tab.click("#csv")
            text = Path(got.value.path()).read_text(encoding="utf-8-sig")
            r.equal(f"page: CSV of {show}", [a["input"] for a in csv.DictReader(io.StringIO(text))], of)
        tab.click("#next")
        first = tab.query_selector("#rows td").inner_text()
        r.equal("page: the second page of results", first, "201")
        tab.fill("#find", KNOWN[1_234].lower())
        r.equal("page: search in the results", len(tab.query_selector_all("#rows tr")), 1)

        r.equal("page: no requests to other servers", elsewhere, [])
        r.equal("page: no errors in the console", problems, [])
    with b.serve(table="paths") as server:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            tab = browser.new_page()
            tab.goto(f"{server.url}/")
            tab.check("input[name=kind][value=paths]")
            tab.fill("#text", f"{b.known_path}\n{b.known_path}x\n")
            tab.click("#go")
            expect(tab.locator("#said")).to_have_text(re.compile("^Done"), timeout=30_000)
            said = tab.inner_text("#said")
            r.check("page: paths", "2 lines looked up: 1 known, 1 unknown" in said, said)
            browser.close()


CASES = [looked_up_paths, served, openapi, with_keys, by_pyhashlookup, bad_clients]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("binary")
    args.add_argument("--paths", type=Path)
    args.add_argument("--browser")
    args.add_argument("--screenshot")
    args.add_argument("--only", nargs="*", default=[])
    args = args.parse_args()
    r = Results()
    with tempfile.TemporaryDirectory() as work:
        b = Bench(args.binary, Path(work))
        if args.paths:
            paths = args.paths.read_text().splitlines()
        else:
            rng = random.Random(1)
            paths = [f"/home/u{rng.randrange(9)}/d{n % 97}/f{n}" if n % 10 == 0
                     else f"/usr/lib/p{n % 89}/f{n}.so" for n in range(5_000)]
        b.known_path = paths[0]
        (b.work / "paths.txt").write_text("".join(f"{p}\n" for p in paths))
        (b.work / "sha256.txt").write_text("".join(f"{h}\n" for h in KNOWN))
        (b.work / "sha1.txt").write_text("".join(f"{h}\n" for h in SHA1))
        quiet = ["--rate", "max", "--progress", "none", "--local", b.local, "--source"]
        b.run("ingest", "sha256.txt", "--table", "sha256", *quiet, "NSRL", "--type", "file", "--desc", HOSTILE)
        b.run("ingest", "sha1.txt", "--table", "sha1", *quiet, "NSRL")
        b.run("ingest", "paths.txt", "--paths", "--table", "paths", *quiet, "gold")
        cases = [(f.__name__, f) for f in CASES]
        cases.append(("page", lambda *a: page(*a, args.browser, args.screenshot)))
        for name, case in cases:
            if args.only and not any(word in name for word in args.only):
                continue
            try:
                case(b, r, paths)
            except Exception as e:  # one broken case must not hide the others
                traceback.print_exc(file=sys.stdout)
                r.check(name, False, f"the check itself failed: {e!r}")
    print(f"{r.passed} passed, {r.failed} failed" + (f", {r.skipped} skipped" if r.skipped else ""))
    return 0 if r.passed and not r.failed else 1


sys.exit(main())
