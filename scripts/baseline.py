"""Ingests a list of hashes with the usual script: boto3, one thread.

    baseline.py SOURCE TABLE [--iter-lines] [--seconds S]

SOURCE is s3://BUCKET/KEY or a local path. Each of its lines becomes an item
{sha256, type, source, desc}. Lines are read by the stream's readline(), or by
iter_lines(). With --seconds, reading stops after that time, and the number of
lines read is printed at the end, even after an exception.

`cargo bench --bench end_to_end -- --python` and `cargo bench --bench capacity
-- --python` compare hashferry with this script. Endpoints, region and
credentials come from the environment.
"""

import argparse
import time

import boto3


def lines_by_readline(body):
    """Yields lines without their CR LF."""
    stream = getattr(body, "_raw_stream", body)  # a file has no _raw_stream
    while line := stream.readline():
        yield line[:-2]


def lines_of(arguments):
    if not arguments.source.startswith("s3://"):
        return lines_by_readline(open(arguments.source, "rb"))
    bucket, key = arguments.source.removeprefix("s3://").split("/", 1)
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    return body.iter_lines() if arguments.iter_lines else lines_by_readline(body)


class Until:
    """Yields lines until the time is over, and counts them."""

    def __init__(self, lines, seconds):
        self.lines, self.seconds, self.count = lines, seconds, 0

    def __iter__(self):
        end = time.monotonic() + self.seconds
        for line in self.lines:
            if time.monotonic() >= end:
                return
            self.count += 1
            yield line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("table")
    parser.add_argument("--iter-lines", action="store_true")
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()

    table = boto3.resource("dynamodb").Table(arguments.table)
    lines = lines_of(arguments)
    if arguments.seconds is not None:
        lines = Until(lines, arguments.seconds)
    try:
        with table.batch_writer() as batch:
            for line in lines:
                batch.put_item(
                    Item={
                        "sha256": line.decode(),
                        "type": "bench",
                        "source": "bench",
                        "desc": "bench",
                    }
                )
    finally:
        if arguments.seconds is not None:
            print(lines.count)


if __name__ == "__main__":
    main()
