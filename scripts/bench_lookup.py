#!/usr/bin/env python3
"""Compares `hashferry lookup` with the usual asyncio client, and measures `hashferry serve`
under load, on a table on this machine. Prints tables.

    scripts/bench_lookup.py BINARY [--hashes N] [--rounds N] [--seconds N] [--connections N]

Needs aiohttp, and wrk (a Debian package) for the load. Fails if a client gets a wrong
answer; times are not checked.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Servers:
    """The embedded table and the API in separate processes, so that the CPU time of each
    can be measured."""

    def __init__(self, binary, work):
        self.binary, self.work = binary, work
        self.table = subprocess.Popen([binary, "local", "--dir", work / "local"], cwd=work,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.env, said = dict(os.environ), ""
        for line in self.table.stdout:
            said += line
            if line.startswith("export "):
                self.env.update(word.split("=", 1) for word in line.split()[1:])
            if line.startswith("Serving "):
                break
        else:
            sys.exit(f"the embedded table did not start:\n{said}")
        threading.Thread(target=self.table.stdout.read, daemon=True).start()
        self.api = None

    def serve(self, *args):
        """Restarts the API with an empty cache and returns its address."""
        self.stop_api()
        log = self.work / "serve.log"
        with log.open("wb") as out:
            # With the access log, as in production.
            self.api = subprocess.Popen(
                [self.binary, "serve", "--table", "sha256", "--listen", "127.0.0.1:0", "--rate", "max", *args],
                env=self.env, cwd=self.work, stderr=out)
        for _ in range(300):
            if found := re.search(r"listening on (http://[\w.:]+)", log.read_text()):
                return found[1].rstrip("/")
            time.sleep(0.1)
        sys.exit(f"the API did not start:\n{log.read_text()}")

    def stop_api(self):
        if self.api:
            self.api.terminate()
            self.api.wait(timeout=30)
            self.api = None

    def stop(self):
        self.stop_api()
        self.table.terminate()
        self.table.wait(timeout=30)


# -- the usual client ----------------------------------------------------------

CLIENT = '''
import asyncio, json, sys
import aiohttp

async def main(url, source, target, at_once):
    hashes = [line.strip() for line in open(source)]
    answers = [None] * len(hashes)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:
        async def ask(n):
            async with session.get(url + hashes[n]) as got:
                if got.status == 200:
                    answers[n] = await got.json()
                elif got.status == 404:
                    answers[n] = {"input": hashes[n], "status": "unknown"}
                else:
                    raise RuntimeError(f"{got.status} for {hashes[n]}")
        if at_once == 1:
            for n in range(len(hashes)):
                await ask(n)
        else:
            numbers = iter(range(len(hashes)))
            async def worker():
                for n in numbers:
                    await ask(n)
            await asyncio.gather(*(worker() for _ in range(at_once)))
    with open(target, "w") as out:
        for answer in answers:
            out.write(json.dumps(answer) + "\\n")

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
'''


def timed(command, **more):
    """Wall and CPU seconds, and peak MiB, of a command that must succeed."""
    begun = time.monotonic()
    process = subprocess.Popen(command, **more)
    # Not from rusage, which includes the memory of this process at the fork.
    peak = 0
    while True:
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        try:
            peak = max(peak, peak_mib(process.pid))
        except (OSError, TypeError):
            pass  # it has just ended
        time.sleep(0.02)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[:6]} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, peak


def clients(servers, work, binary, hashes, known, rounds):
    asked, target = work / "asked.txt", work / "answers.jsonl"
    asked.write_text("".join(f"{h}\n" for h in hashes))
    (work / "client.py").write_text(CLIENT)
    quiet = ["--progress", "none", "--output", target, "--overwrite"]
    ways = {
        "aiohttp, one at a time": lambda url: [sys.executable, work / "client.py", url, asked, target, "1"],
        "aiohttp, 100 at a time": lambda url: [sys.executable, work / "client.py", url, asked, target, "100"],
        "hashferry lookup --api": lambda url: [binary, "-q", "lookup", asked, "--api", url, *quiet],
        "hashferry lookup --table": lambda url: [binary, "-q", "lookup", asked, "--table", "sha256",
                                                 "--rate", "max", *quiet],
    }
    seen = {name: [] for name in ways}
    for round in range(rounds):
        for name, command in ways.items():
            url = servers.serve() + "/sha256/"
            target.unlink(missing_ok=True)
            wall, cpu, peak = timed(command(url), env=servers.env, stdin=subprocess.DEVNULL)
            server = cpu_of(servers.api.pid) if "--table" not in name else 0.0
            got = [json.loads(line) for line in target.open()]
            right = [(a["input"], a["status"]) for a in got] == [
                (h, "known" if h in known else "unknown") for h in hashes]
            if not right:
                sys.exit(f"{name} got wrong answers")
            seen[name].append((wall, cpu, server, peak))
            print(f"  round {round + 1}, {name}: {wall:.1f} s", file=sys.stderr, flush=True)
    print(f"\n{len(hashes):,} hashes, {sum(h in known for h in hashes):,} of them known; medians of {rounds}; "
          "the API's cache is empty at the start of each\n")
    print("| client | answers/s | CPU-s of the client | CPU-s of serve | peak MiB |")
    print("|---|---:|---:|---:|---:|")
    for name, runs in seen.items():
        wall, cpu, server, peak = (statistics.median(column) for column in zip(*runs))
        server = f"{server:.2f}" if server else "-"
        print(f"| {name} | {len(hashes) / wall:,.0f} | {cpu:.2f} | {server} | {peak:.0f} |", flush=True)


# -- load ----------------------------------------------------------------------

WRK = '''
local paths = {}
for line in io.lines("%s") do paths[#paths + 1] = "/sha256/" .. line end
local seed = 0
function setup(thread) seed = seed + 1; thread:set("number", seed) end
function init(args) math.randomseed(number) end
function request()
  return wrk.format("GET", paths[math.random(#paths)], {%s})
end
'''


def wrk(url, work, seconds, connections, headers=""):
    script = work / "load.lua"
    script.write_text(WRK % (work / "asked.txt", headers))
    done = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s",
                           "-s", script, url], capture_output=True, text=True, check=True)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])
    p99 = re.search(r"99%\s+(\S+)", done.stdout)[1]
    errors = re.search(r"Socket errors: (.*)", done.stdout)
    return rate, p99, errors[1] if errors else "none"


def load(servers, work, seconds, connections):
    if not shutil.which("wrk"):
        return print("\nwrk is not installed: serve was not measured under load.")
    keys = work / "keys"
    key = subprocess.run([servers.binary, "serve", "--new-key", "load", "--api-keys", keys],
                         capture_output=True, text=True, check=True).stdout.strip()
    header = f'["x-api-key"] = "{key}"'
    rows = []

    def row(name, got):
        rate, p99, errors = got
        rows.append((name, rate, p99, errors, rss_mib(servers.api.pid)))
        print(f"  {name}: {rate:,.0f} requests/s", file=sys.stderr, flush=True)

    for name, flags in [("nothing cached", ["--cache-size", "0"]), ("cache on", [])]:
        url = servers.serve("--api-keys", keys, *flags)
        row(f"{name}, {connections} connections", wrk(url, work, seconds, connections, header))
    row("a wrong key", wrk(url, work, seconds, connections, '["x-api-key"] = "wrong"'))
    row("no key", wrk(url, work, seconds, connections))

    # Abusive clients, and a well-behaved one meanwhile.
    host, port = url.removeprefix("http://").split(":")
    stop = threading.Event()

    def oversize():
        body = b"x" * 2_000_000
        while not stop.is_set():
            request = urllib.request.Request(f"{url}/lookup", data=body, headers={"x-api-key": key})
            try:
                urllib.request.urlopen(request, timeout=30)
            except (urllib.error.HTTPError, OSError):
                pass

    def connect():
        s = socket.create_connection((host, int(port)), timeout=30)
        return s

    threads = [threading.Thread(target=oversize, daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    row("with 4 clients that keep sending 2 MB", wrk(url, work, seconds, connections, header))
    stop.set()
    for t in threads:
        t.join()
    slow = [connect() for _ in range(500)]
    for s in slow:
        s.sendall(b"POST /lookup HTTP/1.1\r\nhost: x\r\nx-api-key: " + key.encode()
                  + b"\r\ncontent-length: 1000\r\n\r\n{")
    row("with 500 unfinished bodies", wrk(url, work, seconds, connections, header))
    for s in slow:
        s.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 11_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    idle = []
    for _ in range(min(10_000, wanted - 500)):
        # Each connection sends one request and stays open.
        idle.append(connect())
        idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    answered = sum(s.recv(64).startswith(b"HTTP/1.1 200") for s in idle)
    row(f"with {len(idle):,} open connections, {answered:,} of them answered",
        wrk(url, work, seconds, connections, header))
    for s in idle:
        s.close()
    print(f"\nserve under load by wrk for {seconds} s each, {connections} connections, random hashes; "
          f"peak memory: {peak_mib(servers.api.pid):.0f} MiB\n")
    print("| load | requests/s | 99th percentile | socket errors | MiB afterwards |")
    print("|---|---:|---:|---|---:|")
    for name, rate, p99, errors, mib in rows:
        print(f"| {name} | {rate:,.0f} | {p99} | {errors} | {mib:.0f} |")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("binary", type=Path)
    args.add_argument("--hashes", type=int, default=100_000)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--seconds", type=int, default=10)
    args.add_argument("--connections", type=int, default=64)
    args = args.parse_args()
    binary = args.binary.resolve()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        there = [hashlib.sha256(b"known %d" % n).hexdigest().upper() for n in range(args.hashes * 6 // 10)]
        absent = [hashlib.sha256(b"unknown %d" % n).hexdigest().upper() for n in range(args.hashes - len(there))]
        hashes = there + absent
        random.Random(3).shuffle(hashes)
        (work / "list.txt").write_text("".join(f"{h}\n" for h in there))
        subprocess.run([binary, "-q", "ingest", "list.txt", "--table", "sha256", "--local", "local", "--source", "NSRL",
                        "--type", "file", "--rate", "max", "--progress", "none"], cwd=work, check=True)
        servers = Servers(binary, work)
        try:
            clients(servers, work, binary, hashes, set(there), args.rounds)
            load(servers, work, args.seconds, args.connections)
        finally:
            servers.stop()


main()
