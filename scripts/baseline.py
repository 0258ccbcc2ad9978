"""Ingests a list of hashes the way it is usually done: boto3, one thread.

    baseline.py BUCKET KEY TABLE [--iter-lines]

Each line of s3://BUCKET/KEY becomes an item {sha256, type, source, desc}. Lines
are read by the stream's readline(), or by iter_lines(). This is what
`cargo bench --bench end_to_end -- --python` compares with; endpoints, region
and credentials come from the environment.
"""

import argparse

import boto3


def lines_by_readline(body):
    """Lines end in CR LF, which is cut off."""
    while line := body._raw_stream.readline():
        yield line[:-2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bucket")
    parser.add_argument("key")
    parser.add_argument("table")
    parser.add_argument("--iter-lines", action="store_true")
    arguments = parser.parse_args()

    s3 = boto3.client("s3")
    table = boto3.resource("dynamodb").Table(arguments.table)
    body = s3.get_object(Bucket=arguments.bucket, Key=arguments.key)["Body"]
    lines = body.iter_lines() if arguments.iter_lines else lines_by_readline(body)
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


if __name__ == "__main__":
    main()
