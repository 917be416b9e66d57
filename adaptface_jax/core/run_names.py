# SPDX-License-Identifier: Apache-2.0
"""The names of what a training writes into its folder, for those that must leave it alone."""

RUN_FILE = "run.json"
METRICS = "metrics.jsonl"
BASELINES = "baselines.json"
EVIDENCE = "evidence.jsonl"
RECORDS = "evidence.records"
RESULTS, PAGE, MARKDOWN = "results.json", "results.html", "results.md"
BAD_RECORDS = "bad_records.jsonl"  # of the first process; of the others bad_records.N.jsonl
SCORES = "scores"  # a folder with NAME.npz for each benchmark
CHECKPOINTS = "checkpoints"  # a folder

ALL = (RUN_FILE, METRICS, BASELINES, EVIDENCE, RECORDS, RESULTS, PAGE, MARKDOWN, BAD_RECORDS)
FOLDERS = (SCORES, CHECKPOINTS)
