"""The checks of scripts/conformance, which starts the servers and sets their
addresses in the environment. boto3 is the independent client: it uploads the
lists, creates the tables and reads every item.

Exit status: 0 all passed, 1 some failed, 2 the servers did not start.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import zstandard
from botocore.config import Config

LIST = Path(__file__).parent.parent / "tests/data/debian-packages.sha256.txt.zst"
LIST_LINES = 63_663
PART = 5_000  # lines of the lists that vary the format
BUCKET = "lists"
ATTRS = {"type": "linux", "source": "debian", "desc": "packages"}
ATTR_FLAGS = ["--type", "linux", "--source", "debian", "--desc", "packages"]
BOOKS = ["written", "duplicates", "rejected", "skipped", "failed"]
RUN_LIMIT_S = 300  # a run that hangs must not use all the time of CI

# Few retries: an error of a server is a finding here.
CLIENT = Config(retries={"total_max_attempts": 3, "mode": "standard"}, max_pool_connections=16)


class Results:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, why):
        """Records a check; `why` describes the failure, None or empty if there is none."""
        if why:
            self.failed += 1
            print(f"FAIL {name}: {why}", flush=True)
        else:
            self.passed += 1
            print(f"ok {name}", flush=True)
        return not why

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}", flush=True)

    def closing_line(self):
        line = f"{self.passed} passed, {self.failed} failed"
        return line + (f", {self.skipped} skipped" if self.skipped else "")


def differ(want, got, limit=4):
    """Describes the differences between two dicts, or None."""
    out = []
    for k in want.keys() | got.keys():
        if want.get(k) != got.get(k):
            out.append(f"{k}: expected {want.get(k)!r}, found {got.get(k)!r}")
    if not out:
        return None
    more = f" and {len(out) - limit} more" if len(out) > limit else ""
    return "; ".join(sorted(out)[:limit]) + more


class Bench:
    """The binary, the two servers, and the files of each case."""

    def __init__(self, binary, work, results):
        self.binary, self.work, self.results = binary, work, results
        self.s3 = boto3.client("s3", config=CLIENT)
        self.ddb = boto3.client("dynamodb", config=CLIENT)

    # -- servers ----------------------------------------------------------

    def wait(self, pids, seconds):
        """Waits until both servers handle requests. An open port is not enough:
        SeaweedFS accepts buckets before it has a volume for their objects."""
        end = time.monotonic() + seconds
        todo = {"DynamoDB Local": self.try_dynamodb, "SeaweedFS": self.try_s3}
        last = None
        while todo:
            for name, attempt in list(todo.items()):
                try:
                    attempt()
                    del todo[name]
                except Exception as e:  # any error means not ready
                    last = e
            for pid in pids:
                if b" Z " in Path(f"/proc/{pid}/stat").read_bytes():
                    return f"server process {pid} has ended"
            if todo and time.monotonic() > end:
                return f"{' and '.join(todo)} not ready after {seconds} s: {last}"
            time.sleep(0.2)
        return None

    def try_dynamodb(self):
        self.ddb.list_tables()

    def try_s3(self):
        try:
            self.s3.create_bucket(Bucket=BUCKET)
        except (self.s3.exceptions.BucketAlreadyExists, self.s3.exceptions.BucketAlreadyOwnedByYou):
            pass
        self.s3.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
        assert self.s3.get_object(Bucket=BUCKET, Key="ready")["Body"].read() == b"ready"

    def put(self, key, body):
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def table(self, case, key_type="S", sort=None):
        name = f"of-{case}"
        attrs = [{"AttributeName": "sha256", "AttributeType": key_type}]
        schema = [{"AttributeName": "sha256", "KeyType": "HASH"}]
        if sort:
            attrs.append({"AttributeName": sort, "AttributeType": "S"})
            schema.append({"AttributeName": sort, "KeyType": "RANGE"})
        self.ddb.create_table(
            TableName=name,
            AttributeDefinitions=attrs,
            KeySchema=schema,
            ProvisionedThroughput={"ReadCapacityUnits": 40_000, "WriteCapacityUnits": 40_000},
        )
        self.ddb.get_waiter("table_exists").wait(
            TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        return name

    def drop_tables(self):
        # DynamoDB Local also limits an account to 80,000 provisioned units.
        for name in self.ddb.list_tables()["TableNames"]:
            self.ddb.delete_table(TableName=name)

    def scan(self, table):
        segments = 4

        def part(i):
            pages = self.ddb.get_paginator("scan").paginate(
                TableName=table, Segment=i, TotalSegments=segments, ConsistentRead=True
            )
            return [item for page in pages for item in page["Items"]]

        with ThreadPoolExecutor(segments) as pool:
            return [item for part in pool.map(part, range(segments)) for item in part]

    # -- the binary -------------------------------------------------------

    def env(self, case, **extra):
        # A separate home for every case: no profile or checkpoint of the
        # user, and none of another case.
        home = self.work / "home" / case
        home.mkdir(parents=True, exist_ok=True)
        env = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
        env |= {"PATH": os.environ["PATH"], "HOME": str(home), "RUST_BACKTRACE": "1"}
        return env | extra

    def run(self, case, args, **extra_env):
        try:
            return subprocess.run(
                [self.binary, *args],
                env=self.env(case, **extra_env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=RUN_LIMIT_S,
            )
        except subprocess.TimeoutExpired as e:
            return subprocess.CompletedProcess(e.cmd, "none: timeout", e.stdout, e.stderr)

    def ingest_args(self, uri, table, report, *flags):
        return [
            "ingest", uri, "--table", table, *ATTR_FLAGS,
            "--report", str(report), "--progress", "none", *flags,
        ]  # fmt: skip

    def ingest(self, case, uri, table, *flags, exit=0, **extra_env):
        """Runs hashferry and checks its exit status and line counts; returns the report or {}."""
        report = self.work / f"{case}.report.json"
        report.unlink(missing_ok=True)
        done = self.run(case, self.ingest_args(uri, table, report, *flags), **extra_env)
        self.exit_status(case, done, exit)
        return self.read_report(case, report)

    def exit_status(self, case, done, want):
        why = None
        if done.returncode != want:
            err = (done.stderr or b"").decode(errors="replace").strip()[-600:]
            why = f"expected {want}, got {done.returncode}; stderr: {err}"
        return self.results.check(f"{case}: exit status {want}", why)

    def read_report(self, case, path):
        try:
            report = json.loads(path.read_text())
            lines, books = report["lines"], {k: report[k] for k in BOOKS}
        except (OSError, ValueError, KeyError, TypeError) as e:
            self.results.check(f"{case}: line counts", f"no usable report: {e!r}")
            return {}
        why = None
        if lines != sum(books.values()):
            why = f"{lines} lines, but {books} make {sum(books.values())}"
        self.results.check(f"{case}: line counts", why)
        return report

    def fields(self, case, report, **want):
        got = {k: report.get(k, "absent") for k in want}
        self.results.check(f"{case}: report", differ(want, got))

    def counts(self, case, report, **want):
        """Checks the exact line counts; a count that is not named must be 0."""
        books = dict.fromkeys(BOOKS, 0) | want
        self.fields(case, report, lines=sum(books.values()), **books)

    def items(self, case, table, hashes, key_type="S"):
        """Compares the whole table with the list, with every attribute."""
        found = self.scan(table)
        if key_type == "B":
            want = {bytes.fromhex(h): h for h in hashes}
        else:
            want = {h: h for h in hashes}
        attrs = {k: {"S": v} for k, v in ATTRS.items()}
        got, wrong = {}, []
        for item in found:
            key = item.pop("sha256", {}).get(key_type)
            got[key] = item
            if item != attrs:
                wrong.append(f"{key!r} has {item}")
        missing, extra = want.keys() - got.keys(), got.keys() - want.keys()
        why = []
        if missing:
            why.append(f"{len(missing)} missing, such as {next(iter(missing))!r}")
        if extra:
            why.append(f"{len(extra)} that are not in the list, such as {next(iter(extra))!r}")
        if wrong:
            why.append(f"{len(wrong)} with other attributes: {wrong[0]}")
        if len(found) != len(got):
            why.append(f"{len(found)} items with {len(got)} keys")
        self.results.check(f"{case}: all {len(want)} items", "; ".join(why))


# -- the cases ------------------------------------------------------------

CASES = []


def case(f):
    CASES.append((f.__name__.replace("_", "-"), f))
    return f


def crlf(hashes):
    return b"".join(h.encode() + b"\r\n" for h in hashes)


@case
def full_list(b, me, full, part):
    body = crlf(full)
    uri, table = b.put("debian/packages.txt", body), b.table(me)
    etag = b.s3.head_object(Bucket=BUCKET, Key="debian/packages.txt")["ETag"].strip('"')
    report = b.ingest(me, uri, table)
    b.items(me, table, full)
    b.counts(me, report, written=len(full))
    b.fields(
        me + " (run)", report,
        version=1, command="ingest", outcome="complete", exit=0, table=table, hash="sha256",
        bytes_read=len(body), unprocessed=0, throttled=0, resumed_from=None,
    )  # fmt: skip
    sources = report.get("sources") or [{}]
    got = dict(sources[0], etag=str(sources[0].get("etag")).strip('"'))
    want = {"uri": uri, "etag": etag, "bytes": len(body), "lines": len(full)}
    want |= dict.fromkeys(BOOKS, 0) | {"written": len(full)}
    b.results.check(f"{me}: report's source", differ(want, got))
    # An item is below 1 KB, so it costs one WCU; 25 fit into a request.
    least = -(-len(full) // 25)
    numbers = {
        "requests": lambda v: v >= least,
        "retries": lambda v: v >= 0,
        "consumed_wcu": lambda v: abs(v - len(full)) < 0.5,
        "elapsed_s": lambda v: v > 0,
        "mean_wcu_per_s": lambda v: v > 0,
        "estimated_cost_usd": lambda v: v >= 0,
        "started": lambda v: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", v),
    }
    wrong = []
    for k, good in numbers.items():
        try:
            fine = good(report[k])
        except (KeyError, TypeError):
            fine = False
        if not fine:
            wrong.append(f"{k} is {report.get(k, 'absent')!r}")
    b.results.check(f"{me}: report's numbers", "; ".join(wrong))
    verify_after(b, me, uri, table, full)


def verify_after(b, me, uri, table, full):
    name = f"{me}: verify"
    if b.run(me, ["verify", "--help"]).returncode != 0:
        b.results.skip(name, "this binary has no such command")
        return
    args = ["verify", uri, "--table", table, "--sample", "all", *ATTR_FLAGS, "--progress", "none"]
    b.exit_status(name + " finds all", b.run(me, args), 0)
    gone = sorted(full)[100:103]
    for h in gone:
        b.ddb.delete_item(TableName=table, Key={"sha256": {"S": h}})
    changed = sorted(full)[200:202]
    for h in changed:
        b.ddb.update_item(
            TableName=table,
            Key={"sha256": {"S": h}},
            UpdateExpression="SET #t = :t",
            ExpressionAttributeNames={"#t": "type"},
            ExpressionAttributeValues={":t": {"S": "another"}},
        )
    done = b.run(me, args)
    b.exit_status(name + " finds missing and different items", done, 5)
    out = (done.stdout or b"").decode(errors="replace").split()
    b.results.check(
        name + " names exactly those", set(out) ^ {*gone, *changed} and f"found {out[:10]}"
    )


@case
def lf(b, me, full, part):
    table = b.table(me)
    report = b.ingest(me, b.put(me, "".join(h + "\n" for h in part).encode()), table)
    b.counts(me, report, written=len(part))
    b.items(me, table, part)


@case
def no_final_newline(b, me, full, part):
    table = b.table(me)
    report = b.ingest(me, b.put(me, "\n".join(part).encode()), table)
    b.counts(me, report, written=len(part))
    b.items(me, table, part)


@case
def no_final_newline_crlf(b, me, full, part):
    table = b.table(me)
    report = b.ingest(me, b.put(me, "\r\n".join(part).encode()), table)
    b.counts(me, report, written=len(part))
    b.items(me, table, part)


@case
def lower_case_list(b, me, full, part):
    table = b.table(me)
    report = b.ingest(me, b.put(me, crlf(h.lower() for h in part)), table)
    b.counts(me, report, written=len(part))
    b.items(me, table, part)  # upper case is the default


@case
def case_lower(b, me, full, part):
    table = b.table(me)
    report = b.ingest(me, b.put(me, crlf(part)), table, "--case", "lower")
    b.counts(me, report, written=len(part))
    b.items(me, table, [h.lower() for h in part])


@case
def doubled_lines(b, me, full, part):
    # DynamoDB rejects a batch that has a key twice. Every other pair differs only
    # in case, which is the same key.
    table = b.table(me)
    lines = [x for i, h in enumerate(part) for x in (h, h.lower() if i % 2 else h)]
    report = b.ingest(me, b.put(me, crlf(lines)), table)
    b.counts(me, report, written=len(part), duplicates=len(part))
    b.items(me, table, part)


@case
def blank_and_comment_lines(b, me, full, part):
    table = b.table(me)
    lines, skipped = [], 0
    for i, h in enumerate(part):
        if i % 500 == 0:
            lines += ["", "# a comment"]
            skipped += 2
        lines.append(h)
    report = b.ingest(me, b.put(me, crlf(lines)), table)
    b.counts(me, report, written=len(part), skipped=skipped)
    b.items(me, table, part)


def with_garbage(part, share):
    """Mixes lines that are not SHA-256 into the list. Returns the body, and for each
    such line (line from 1, byte from 0, text), with None for a text that a program
    may shorten or correct."""
    rng = random.Random(7)
    kinds = [
        lambda h: (h[:-1], True),
        lambda h: (h + "0", True),
        lambda h: (h[:20] + "G" + h[21:], True),
        lambda h: (h[:40], True),  # looks like a SHA-1
        lambda h: ("no hash at all", True),
        lambda h: ("пакет", True),
        lambda h: (b"\xff\xfe" + h[:30].encode(), False),
        lambda h: ("x" * 3000, False),
    ]
    body, rejects, line, n = bytearray(), [], 0, 0
    at = set(rng.sample(range(2, len(part)), round(len(part) * share) - 1))
    for i, h in enumerate([*part, None]):
        # None is the end: the last line is rejected too.
        if i in at or h is None:
            text, exact = kinds[n % len(kinds)](part[i - 1])
            n, line = n + 1, line + 1
            rejects.append((line, len(body), text if exact else None))
            body += (text if isinstance(text, bytes) else text.encode()) + b"\r\n"
        if h is not None:
            line += 1
            body += h.encode() + b"\r\n"
    return bytes(body), rejects


@case
def garbage(b, me, full, part):
    table, path = b.table(me), b.work / f"{me}.rejects.jsonl"
    body, rejects = with_garbage(part, 0.01)
    uri = b.put(me, body)
    report = b.ingest(me, uri, table, "--rejects", str(path), exit=3)
    b.fields(me + " (outcome)", report, outcome="rejects", exit=3)
    b.counts(me, report, written=len(part), rejected=len(rejects))
    b.items(me, table, part)
    try:
        got = [json.loads(x) for x in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as e:
        b.results.check(f"{me}: rejects file", repr(e))
        return
    wrong = [f"{len(got)} of {len(rejects)}"] if len(got) != len(rejects) else []
    for (line, byte, text), found in zip(rejects, got):
        want = {"source": uri, "line": line, "byte": byte}
        if text is not None:
            want["text"] = text
        why = differ(want, {k: found.get(k) for k in want})
        if not why and not (isinstance(found.get("text"), str) and found.get("reason")):
            why = f"no text or reason in {found}"
        if why:
            wrong.append(f"line {line}: {why}")
    b.results.check(f"{me}: rejects file", "; ".join(wrong[:3]))


@case
def too_much_garbage(b, me, full, part):
    # Half of the lines: above the default of --max-rejects. Some look like SHA-1.
    table = b.table(me)
    body, _ = with_garbage(part, 0.5)
    report = b.ingest(me, b.put(me, body), table, "--other-algorithms", "skip", exit=1)
    b.fields(me, report, outcome="failed", exit=1)


@case
def b_key(b, me, full, part):
    table = b.table(me, key_type="B")
    report = b.ingest(me, b.put(me, crlf(part)), table)
    b.counts(me, report, written=len(part))
    b.items(me, table, part, key_type="B")


@case
def sort_key(b, me, full, part):
    table = b.table(me, sort="type")
    report = b.ingest(me, b.put(me, crlf(part)), table)
    b.counts(me, report, written=len(part))
    b.items(me, table, part)


@case
def verify_every_type(b, me, full, part):
    # DynamoDB normalises numbers and sets: it returns them in another form.
    if b.run(me, ["verify", "--help"]).returncode != 0:
        b.results.skip(me, "this binary has no such command")
        return
    table = b.table(me, key_type="B", sort="type")
    types = ["n:N=1.50", "m:NS=2,1.0,-3e2", "s:SS=b,a", "b:B=AQI=", "f:BOOL=true", "z:NULL="]
    flags = [x for t in types for x in ("--attr", t)]
    uri = b.put(me, crlf(part))
    b.ingest(me, uri, table, *flags)
    args = ["verify", uri, "--table", table, *ATTR_FLAGS, *flags, "--progress", "none"]
    b.exit_status(f"{me}: finds all", b.run(me, args), 0)
    b.ddb.update_item(
        TableName=table,
        Key={"sha256": {"B": bytes.fromhex(part[7])}, "type": {"S": ATTRS["type"]}},
        UpdateExpression="SET n = :n",
        ExpressionAttributeValues={":n": {"N": "1.51"}},
    )
    done = b.run(me, args)
    b.exit_status(f"{me}: finds the difference", done, 5)
    out = (done.stdout or b"").decode(errors="replace")
    b.results.check(f"{me}: names it", out != part[7] + "\n" and f"found {out[:200]!r}")


@case
def prefix(b, me, full, part):
    if b"s3://bucket/prefix/" not in (b.run(me, ["ingest", "--help"]).stdout or b""):
        b.results.skip(me, "this binary takes one object at a time")
        return
    third = len(part) // 3
    keys = [f"{me}/{n}" for n in ("1", "10", "2")]  # in key order
    b.put(keys[0], crlf(part[:third]))
    b.put(keys[1], crlf(part[third : 2 * third]))
    b.put(keys[2], crlf(part[2 * third :]))
    b.put(f"{me}-of-another", crlf(full[-10:]))
    table = b.table(me)
    report = b.ingest(me, f"s3://{BUCKET}/{me}/", table)
    b.counts(me, report, written=len(part))
    got = [s.get("uri") for s in report.get("sources", [])]
    want = [f"s3://{BUCKET}/{k}" for k in keys]
    b.results.check(f"{me}: sources in key order", got != want and f"found {got}")
    b.items(me, table, part)


@case
def rds(b, me, full, part):
    # NSRL databases of both schemas, written and counted by another SQLite.
    if b"--work-dir" not in (b.run(me, ["ingest", "--help"]).stdout or b""):
        b.results.skip(me, "this binary reads no databases")
        return
    rows = [
        (h, *(hashlib.new(a, h.encode()).hexdigest().upper() for a in ("sha1", "md5")), package)
        for h in part
        for package in (1, 2)
    ]
    for schema, create, row in [
        (
            "minimal",
            """CREATE TABLE FILE (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL,
                crc32 VARCHAR NOT NULL, file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL,
                package_id INTEGER NOT NULL, CONSTRAINT PK_FILE__FILE PRIMARY KEY
                (sha256, sha1, md5, crc32, file_name, file_size, package_id))""",
            "INSERT INTO FILE VALUES (?, ?, ?, 'C', 'f', 7, ?)",
        ),
        (
            "full",
            """CREATE TABLE METADATA (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL,
                object_id INTEGER)""",
            "INSERT INTO METADATA VALUES (lower(?), ?, lower(?), ?)",
        ),
    ]:
        name = f"{me}-{schema}"
        path = b.work / f"{name}.db"
        path.unlink(missing_ok=True)
        database = sqlite3.connect(path)
        database.execute(create)
        database.executemany(row, rows)
        database.commit()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, f"RDS/{name}.db")
        uri = b.put(f"{name}.zip", packed.getvalue())
        table = b.table(name)
        report = b.ingest(name, uri, table)
        b.counts(name, report, written=len(part))
        b.items(name, table, part)
        source = "FILE" if schema == "minimal" else "METADATA"
        for algorithm in ("sha256", "sha1", "md5"):
            count = f"SELECT count(DISTINCT upper({algorithm})) FROM {source}"
            (want,) = database.execute(count).fetchone()
            counted = b.work / f"{name}.{algorithm}.json"
            done = b.run(
                name,
                ["ingest", str(path), "--table", table, "--hash", algorithm, "--key", "sha256",
                 "--dry-run", "--progress", "none", "--report", str(counted)],
            )  # fmt: skip
            b.exit_status(f"{name}: {algorithm}", done, 0)
            got = b.read_report(f"{name}: {algorithm}", counted).get("lines")
            b.results.check(
                f"{name}: distinct {algorithm}", got != want and f"expected {want}, found {got}"
            )
        database.close()


@case
def odd_key(b, me, full, part):
    # The signature covers the escaped path; SeaweedFS checks it.
    some = part[:100]
    table = b.table(me)
    report = b.ingest(me, b.put("odd/a b+c%20=&é.txt", crlf(some)), table)
    b.counts(me, report, written=len(some))
    b.items(me, table, some)


@case
def resumed(b, me, full, part):
    if b"--checkpoint" not in (b.run(me, ["ingest", "--help"]).stdout or b""):
        b.results.skip(me, "this binary has no --checkpoint")
        return
    uri, table = b.put(me, crlf(part)), b.table(me)
    report = b.work / f"{me}.report.json"
    # Slow enough to be interrupted half-way.
    args = b.ingest_args(uri, table, report, "--rate", "500")
    log = b.work / f"{me}.log"
    with log.open("wb") as out:
        first = subprocess.Popen(
            [b.binary, *args],
            env=b.env(me), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            end = time.monotonic() + 30
            while len(b.scan(table)) < 500 and first.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            first.send_signal(signal.SIGINT)
            status = first.wait(30)
        except subprocess.TimeoutExpired:
            status = "none: still running after 30 s"
        finally:
            first.kill()
            first.wait()
    done = subprocess.CompletedProcess(args, status, b"", log.read_bytes())
    b.exit_status(f"{me}, interrupted", done, 4)
    books = b.read_report(f"{me}, interrupted", report)
    b.fields(f"{me}, interrupted", books, outcome="interrupted", exit=4)
    # Calls in flight at the signal may have arrived unacknowledged.
    there, written = len(b.scan(table)), books.get("written", 0)
    most = written + books.get("failed", 0)
    why = None
    if not 0 < written <= there <= most or there == len(part):
        why = f"{there} items in the table, {written} written and {most - written} failed in the report"
    b.results.check(f"{me}, interrupted: table agrees with the report", why)

    report.unlink(missing_ok=True)
    done = b.run(me, args)
    b.exit_status(me, done, 0)
    books = b.read_report(me, report)
    b.results.check(
        f"{me}: reports that it resumed", None if books.get("resumed_from") else "resumed_from is empty"
    )
    b.items(me, table, part)


@case
def raised(b, me, full, part):
    uri = b.put(me, crlf(part))
    name = b.table(me)
    note = b.work / f"{me}.note.json"
    raising = ["--raise-to", "400", "--raise-note", str(note)]

    def provisioned(units=None):
        if units:
            capacity = {"ReadCapacityUnits": 50, "WriteCapacityUnits": units}
            b.ddb.update_table(TableName=name, ProvisionedThroughput=capacity)
            b.ddb.get_waiter("table_exists").wait(TableName=name)
        return b.ddb.describe_table(TableName=name)["Table"]["ProvisionedThroughput"]

    def back(what, units):
        end = time.monotonic() + 30
        while (got := provisioned()["WriteCapacityUnits"]) != units and time.monotonic() < end:
            time.sleep(0.1)
        why = got != units and f"{got} WCU, expected {units}"
        b.results.check(f"{me}, {what}: the capacity is as before", why)

    provisioned(5)
    few = b.put(f"{me}-few", crlf(part[:500]))
    report = b.ingest(me, few, name, *raising)
    b.fields(me, report, target_wcu_per_s=400.0, raised=[
        {"index": None, "from_wcu": 5, "to_wcu": 400, "restored": True}
    ])  # fmt: skip
    back("done", 5)

    for what, how, exit in [("terminated", signal.SIGTERM, 4), ("killed", signal.SIGKILL, -9)]:
        args = b.ingest_args(uri, name, b.work / f"{me}.report.json", *raising, "--restart")
        run = subprocess.Popen(
            [b.binary, *args], env=b.env(me), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            end = time.monotonic() + 30
            while provisioned()["WriteCapacityUnits"] != 400 and time.monotonic() < end:
                time.sleep(0.05)
            run.send_signal(how)
            status = run.wait(30)
        finally:
            run.kill()
            run.wait()
        b.exit_status(f"{me}, {what}", subprocess.CompletedProcess(args, status, b"", b""), exit)
        if how == signal.SIGKILL:
            got = provisioned()["WriteCapacityUnits"]
            b.results.check(f"{me}, {what}: still raised", got != 400 and f"{got}")
            args = ["capacity", "--table", name, "--restore", str(note)]
            b.exit_status(f"{me}, {what}: restore", b.run(me, args), 0)
        back(what, 5)


def refused(b, me, uri, table, names, **extra_env):
    """Expects exit status 2, no items, and a message that names the cause."""
    report = b.work / f"{me}.report.json"
    done = b.run(me, b.ingest_args(uri, table, report), **extra_env)
    b.exit_status(me, done, 2)
    err = (done.stderr or b"").decode(errors="replace")
    b.results.check(f"{me}: message", None if names in err else f"no {names!r} in: {err[-400:]}")


def empty(b, me, table):
    n = len(b.scan(table))
    b.results.check(f"{me}: nothing written", n and f"{n} items")


@case
def many_objects(b, me, full, part):
    """All objects under a prefix, over several pages, compared with boto3's listing."""
    shown = (b.run(me, ["ingest", "--help"]).stdout or b"").decode(errors="replace")
    if "s3://bucket/prefix/" not in " ".join(shown.split()):
        b.results.skip(me, "this binary reads single objects only")
        return
    # More objects than a page has keys, of two hashes each.
    count = 1_100
    lists = [full[2 * i : 2 * i + 2] for i in range(count)]
    keys = [f"{me}/{i % 11:02}/{i:04} &+ä.txt" for i in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(b.put, keys, map(crlf, lists)))
    b.put(f"{me}/", b"")  # as consoles create a folder
    b.put(f"{me}-not-under-it.txt", crlf(full[-5:]))
    uri, hashes = f"s3://{BUCKET}/{me}/", [h for some in lists for h in some]
    pages = b.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{me}/")
    listed = [o["Key"] for page in pages for o in page.get("Contents", []) if o["Size"]]
    differing = set(listed) ^ set(keys)
    why = differing and f"{len(differing)} keys, such as {next(iter(differing))!r}"
    b.results.check(f"{me}: boto3 lists all objects", why)

    table = b.table(me)
    report = b.ingest(me, uri, table)
    b.counts(me, report, written=len(hashes))
    b.items(me, table, hashes)
    # The first sources of the report are the first of the listing, in its order.
    got = [s["uri"].removeprefix(f"s3://{BUCKET}/") for s in report.get("sources", [])]
    why = (not got or got != listed[: len(got)]) and f"it begins with {got[:3]}, boto3's with {listed[:3]}"
    b.results.check(f"{me}: in the order of the listing", why)

    name = f"{me}: by patterns"
    b.drop_tables()
    chosen = [h for k, some in zip(keys, lists) for h in some if f"/{me}/03/" in f"/{k}"]
    some = b.table(f"{me}-some")
    flags = ["--include", "03/*", "--include", "04/*", "--exclude", "04/*"]
    b.counts(name, b.ingest(f"{me}-some", uri, some, *flags), written=len(chosen))
    b.items(name, some, chosen)

    name = f"{me}: by a manifest"
    b.drop_tables()
    manifest = b.put(f"{me}-manifest", "".join(f"s3://{BUCKET}/{k}\n" for k in keys[:50]).encode())
    first = b.table(f"{me}-manifest")
    report = b.ingest(f"{me}-manifest", f"--manifest={manifest}", first)
    b.counts(name, report, written=100)
    b.items(name, first, hashes[:100])

    refused(b, f"{me}-nothing", f"s3://{BUCKET}/{me}/nothing/", first, f"{me}/nothing/")


@case
def refreshed(b, me, full, part):
    """Refreshes a table from one list to the next: 500 hashes removed, 700 new."""
    if b"--max-change" not in (b.run(me, ["refresh", "--help"]).stdout or b""):
        b.results.skip(me, "this binary has no refresh")
        return
    new = part[500:] + full[-700:]
    uris = [b.put(f"{me}-old", crlf(sorted(part))), b.put(f"{me}-new", crlf(new))]
    table = b.table(me)
    b.ingest(f"{me}, the old list", uris[0], table)
    name = f"{me}, the difference"
    report = b.work / f"{me}.report.json"
    done = b.run(name, [
        "refresh", "--from", uris[0], "--to", uris[1], "--table", table, *ATTR_FLAGS,
        "--report", str(report), "--progress", "none", "--max-change", "25%",
    ])  # fmt: skip
    b.exit_status(name, done, 0)
    try:
        books = json.loads(report.read_text())
    except (OSError, ValueError) as e:
        books = {"error": str(e)}
    b.fields(
        name, books, lines=len(part) + len(new), written=700, deleted=500,
        unchanged=2 * (len(part) - 500), failed=0, rejected=0,
    )  # fmt: skip
    b.items(name, table, new)
    again = b.run(name, [
        "refresh", "--from", uris[1], "--to", uris[1], "--table", table, *ATTR_FLAGS,
        "--report", str(report), "--progress", "none",
    ])  # fmt: skip
    b.exit_status(f"{me}, equal lists", again, 0)
    b.fields(f"{me}, equal lists", json.loads(report.read_text()), requests=0, written=0, deleted=0)
    b.items(f"{me}, equal lists", table, new)


# Expected counts in the samples, by other programs: the hashes of each algorithm, and the
# numbers of rejected and skipped lines.


def found_in_table(path, **columns):
    """A table with a header, by Python's csv module: algorithm=column."""
    with path.open(newline="", encoding="iso-8859-1") as f:
        header, *rows = csv.reader(f)
    for algorithm, column in columns.items():
        texts = [row[header.index(column)] for row in rows]
        hashes = [t.upper() for t in texts if re.fullmatch(HEX[algorithm], t)]
        yield algorithm, hashes, len(texts) - len(hashes), 1


def found_in_hashdeep(path, *algorithms):
    lines = path.read_text().splitlines()
    names = next(x for x in lines if x.startswith("%%%% size")).split()[1].split(",")
    rows = [x.split(",") for x in lines if x[:1] not in "%#"]
    for algorithm in algorithms:
        hashes = [row[names.index(algorithm)].upper() for row in rows]
        yield algorithm, hashes, 0, len(lines) - len(rows)


def found_by_awk(path, algorithm, field):
    """By awk: the field of each line that is as long as a hash."""
    digits = HEX[algorithm].partition("{")[2].strip("}")
    program = f"length(${field}) == {digits} {{ print toupper(${field}) }}"
    out = subprocess.run(["awk", program, path], capture_output=True, check=True, text=True).stdout
    yield algorithm, out.split(), len(path.read_text().splitlines()) - len(out.split()), 0


HEX = {"md5": "[0-9A-Fa-f]{32}", "sha1": "[0-9A-Fa-f]{40}", "sha256": "[0-9A-Fa-f]{64}"}
SAMPLES = {
    "NSRL-1.5.txt": lambda p: found_in_table(p, sha1="SHA-1", md5="MD5"),
    "NSRL-2.0.txt": lambda p: found_in_table(p, sha1="SHA-1", md5="MD5"),
    "hashkeeper-Z00236.hsh": lambda p: found_in_table(p, md5="hash"),
    "ilookv3.hsh": lambda p: found_in_table(p, md5="V3Hash", sha1="HashSHA1", sha256="HashSHA256"),
    "hashdeep.txt": lambda p: found_in_hashdeep(p, "md5", "sha256"),
    "bsd-hashes.txt": lambda p: found_by_awk(p, "md5", 4),
    "md5deep.txt": lambda p: found_by_awk(p, "md5", 1),
    "md5deep-size.txt": lambda p: found_by_awk(p, "md5", 2),
    "debian.sha256sum": lambda p: found_by_awk(p, "sha256", 1),
}


@case
def formats(b, me, full, part):
    """Line counts of real samples in every format, compared with those of other programs."""
    if b"nsrl" not in (b.run(me, ["ingest", "--help"]).stdout or b""):
        b.results.skip(me, "this binary reads plain lists only")
        return
    found = [(path, SAMPLES[path.name](path)) for path in sorted((LIST.parent / "formats").iterdir())]
    # Further lists, as sha256sum prints them.
    for path in map(Path, filter(None, os.environ.get("CONFORMANCE_SUMS", "").split(":"))):
        found.append((path, found_by_awk(path, "sha256", 1)))
    for path, each in found:
        for algorithm, hashes, rejected, skipped in each:
            table = b.table(me)
            name = f"{me}: {path.name}, {algorithm}"
            # The table's key is named sha256 for every algorithm.
            flags = ["--hash", algorithm, "--key", "sha256"]
            status = 1 if not hashes else 3 if rejected else 0
            report = b.ingest(name, str(path), table, *flags, exit=status)
            written = len(set(hashes))
            duplicates = len(hashes) - written
            b.counts(name, report, written=written, duplicates=duplicates, rejected=rejected, skipped=skipped)
            keys = {item["sha256"]["S"] for item in b.scan(table)}
            b.results.check(f"{name}: keys", keys ^ set(hashes) and f"{len(keys ^ set(hashes))} differ")
            b.drop_tables()


def odd_names(rng, n, letters):
    return ["".join(rng.choices(letters, k=rng.randint(0, 12))) for _ in range(n)]


@case
def formats_written(b, me, full, part):
    """Lists with every kind of odd name, as other programs write them: each name must
    arrive with its hash."""
    if b"--attr-from" not in (b.run(me, ["ingest", "--help"]).stdout or b""):
        b.results.skip(me, "this binary takes no attributes from columns")
        return
    rng, hashes = random.Random(7), part[:600]
    letters = "ab \"\",,'|#%{}\\\u00e9"
    lists = {}

    def put(what, text, names, encoding="utf-8", column="name", rejected=0, skipped=0):
        lists[what] = (text.encode(encoding), dict(zip(hashes, names)), column, rejected, skipped)

    def rows(names, **how):
        out = io.StringIO(newline="")
        writer = csv.writer(out, **how)
        header = ["name", "SHA-256", "size"]
        writer.writerow(header)
        for i, (name, h) in enumerate(zip(names, hashes)):
            writer.writerow([name, h.lower() if i % 2 else h, i])
            if i % 100 == 7:
                writer.writerow(["no hash", rng.choice(["", "-", "EMPTY", "LARGE", h[:40]]), i])
                writer.writerow(header)  # as in concatenated lists
                out.write("# a comment\n\n")
        return out.getvalue()

    odd = {"rejected": 6, "skipped": 1 + 6 * 3}
    names = odd_names(rng, len(hashes), letters + "\n")
    put("csv", rows(names), names, **odd)
    put("csv, all quoted, LF", rows(names, quoting=csv.QUOTE_ALL, lineterminator="\n"), names, **odd)
    names = odd_names(rng, len(hashes), letters)
    put("tsv", rows(names, delimiter="\t"), names, **odd)
    put("psv", rows(names, delimiter="|"), names, **odd)
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["SHA-256", "MD5", "CRC32", "name", "FileSize", "ProductCode"])
    for name, h in zip(names, hashes):
        writer.writerow([h, h[:32], h[:8], name, 1, 2])
    put("quoted, ISO-8859-1", out.getvalue(), names, encoding="iso-8859-1", skipped=1)
    names = odd_names(rng, len(hashes), letters + "\n\t")
    lines = [json.dumps({"size": 1, "f": {"name": n}, "SHA-256": h}) for n, h in zip(names, hashes)]
    put("ndjson", "\n".join(lines), names, column="f.name")

    # By coreutils, for files with odd names.
    folder = b.work / me
    folder.mkdir()
    files = sorted({n.replace("/", "") for n in odd_names(rng, 200, letters + "\n")} - {""})
    for i, name in enumerate(files):
        (folder / name).write_text(f"{me} {i}")
    sums = {hashlib.sha256((folder / n).read_bytes()).hexdigest().upper(): n for n in files}
    for what, flags in [("sha256sum", []), ("sha256sum -b", ["-b"]), ("sha256sum --tag", ["--tag"])]:
        done = subprocess.run(["sha256sum", *flags, "--", *files], cwd=folder, capture_output=True, check=True)
        lists[what] = (done.stdout, sums, "name", 0, 0)

    for what, (body, want, column, rejected, skipped) in lists.items():
        table, path = b.table(me), b.work / f"{me}.list"
        path.write_bytes(body)
        name = f"{me}: {what}"
        flags = ["--attr-from", f"name={column}"]
        report = b.ingest(name, str(path), table, *flags, exit=3 if rejected else 0)
        b.counts(name, report, written=len(want), rejected=rejected, skipped=skipped)
        got = {i["sha256"]["S"]: i.get("name", {}).get("S", "") for i in b.scan(table)}
        b.results.check(f"{name}: all names", differ(want, got))
        b.drop_tables()


@case
def no_such_bucket(b, me, full, part):
    table = b.table(me)
    refused(b, me, "s3://nowhere-to-be-found/key", table, "nowhere-to-be-found")
    empty(b, me, table)


@case
def no_such_key(b, me, full, part):
    table = b.table(me)
    refused(b, me, f"s3://{BUCKET}/nothing-here.txt", table, "nothing-here.txt")
    empty(b, me, table)


@case
def no_such_table(b, me, full, part):
    refused(b, me, b.put(me, crlf(part[:100])), "not-a-table", "not-a-table")
    there = "not-a-table" in b.ddb.list_tables()["TableNames"]
    b.results.check(f"{me}: not created", there and "it exists now")


@case
def wrong_secret(b, me, full, part):
    table = b.table(me)
    uri = b.put(me, crlf(part[:100]))
    refused(b, me, uri, table, me, AWS_SECRET_ACCESS_KEY="another-secret")
    empty(b, me, table)


def main():
    # A background process ignores SIGINT, and so would the binary, which one case
    # interrupts. On SIGTERM, the exit also ends a running binary.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    args = argparse.ArgumentParser()
    args.add_argument("binary")
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--servers", type=int, nargs="*", default=[])
    args.add_argument("--only", nargs="*", default=[])
    args = args.parse_args()

    try:
        text = zstandard.ZstdDecompressor().stream_reader(LIST.open("rb")).read().decode()
    except OSError as e:
        print(f"conformance: {e}")
        return 2
    full = text.split()
    assert len(full) == len(set(full)) == LIST_LINES and text == crlf(full).decode(), LIST
    part = full[:PART]

    results = Results()
    bench = Bench(args.binary, args.work, results)
    start = time.monotonic()
    if why := bench.wait(args.servers, 90):
        print(f"conformance: {why}")
        return 2
    print(f"conformance: servers ready after {time.monotonic() - start:.1f} s", flush=True)

    for name, f in CASES:
        if args.only and not any(word in name for word in args.only):
            continue
        begun = time.monotonic()
        try:
            f(bench, name, full, part)
        except Exception as e:  # one broken case must not hide the others
            traceback.print_exc(file=sys.stdout)
            results.check(name, f"the check itself failed: {e!r}")
        bench.drop_tables()
        print(f"   {name} took {time.monotonic() - begun:.1f} s", flush=True)

    print(results.closing_line())
    # A run without checks is not a success.
    return 0 if results.failed == 0 and results.passed else 1


sys.exit(main())
