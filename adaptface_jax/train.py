"""Train an adapter on faces and verify it.

    python -m adaptface_jax.train --config=configs/dalora.py --workdir=runs/exp003 --benchmark lfw=/data/lfw.bin

Running the same command again goes on where the run stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from adaptface_jax import cli, header, optim, runs
from adaptface_jax.checkpoint import Checkpoints
from adaptface_jax.config import Config
from adaptface_jax.data.benchmark import Benchmark
from adaptface_jax.data.pipeline import batches, steps_per_epoch
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.opening import open_benchmark, open_source
from adaptface_jax.errors import InputError
from adaptface_jax.evaluation import benchmarks as verification
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.plots import distance_figure, roc_figure
from adaptface_jax.evaluation.results import results_page, write_results
from adaptface_jax.heads.expected import expected_first_loss
from adaptface_jax.metrics import MetricLog
from adaptface_jax.monitor import Monitor
from adaptface_jax.partition import check_batch, make_mesh, sharding
from adaptface_jax.progress import Progress
from adaptface_jax.recognizer import Recognizer, check_classes
from adaptface_jax.state import TrainState, init_state
from adaptface_jax.step import make_step


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that was found and checked before the run writes anything."""

    config: Config
    mesh: jax.sharding.Mesh
    model: runs.Model
    source: Source
    benchmarks: Mapping[str, Benchmark]
    steps_per_epoch: int
    total_steps: int
    expected_loss: tuple[float, float]
    record: dict[str, Any]


def prepare(config: Config) -> Plan:
    """Open the data and the weights; raises InputError where something is missing or does not fit."""
    mesh = make_mesh()
    check_batch(config.train.batch_size, config.train.grad_accum, mesh)
    if not config.data.train:
        raise InputError("data.train: empty; set --config.data.train to a folder, a .rec folder or synthetic:SPEC")
    source = open_source(config.data.train, config.data.max_identities, config.data.max_per_identity)
    check_classes(source.num_classes)
    epoch = steps_per_epoch(source, config.train.batch_size)
    if not epoch:
        raise InputError(
            f"train.batch_size: {config.train.batch_size} is more than the {len(source)} images of {config.data.train}"
        )
    benchmarks = {name: open_benchmark(path) for name, path in config.data.benchmarks.items()}
    model = runs.build(config, source.num_classes, mesh)
    return Plan(
        config=config,
        mesh=mesh,
        model=model,
        source=source,
        benchmarks=benchmarks,
        steps_per_epoch=epoch,
        total_steps=config.train.steps or config.train.epochs * epoch,
        expected_loss=expected_first_loss(
            config.loss, source.num_classes, model.recognizer.embedding_dim, config.train.batch_size
        ),
        record=runs.make_record(config, model.identity, source),
    )


class StopSignals:
    """Remembers SIGTERM, SIGINT and SIGUSR1 while the run lasts; the loop looks after every step."""

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> StopSignals:
        names = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        self._before = {number: signal.signal(number, self._remember) for number in names}
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number).name


def train(plan: Plan, workdir: Path) -> dict[str, Any]:
    """Run to the last step, from the latest checkpoint where there is one; returns the results."""
    config, mesh, model = plan.config, plan.mesh, plan.model
    rate = optim.schedule(config.train, plan.steps_per_epoch, plan.total_steps)
    optimizer = optim.optimizer(config.train, rate)
    everywhere, rows = sharding(mesh), sharding(mesh, "batch")
    with StopSignals() as stop, Checkpoints(workdir / runs.CHECKPOINTS, config.checkpoint.keep) as checkpoints:
        latest = checkpoints.latest()
        if latest is None:
            state = jax.device_put(init_state(model.trainable, optimizer), everywhere)
        else:
            state = checkpoints.restore(latest, runs.abstract_state(config, model.trainable, mesh))
            print(f"going on from step {latest:,} of {plan.total_steps:,}", flush=True)
        start = latest or 0
        step_function = make_step(model.recognizer, optimizer, rate, mesh)
        key = jax.device_put(jax.random.key(config.seed), everywhere)
        embedder = Embedder(model.recognizer, mesh, config.eval.batch_size)
        results: dict[str, Any] = {"benchmarks": {}, **baselines(plan)}

        with (
            Monitor(workdir, start + 1 if start else 0) as monitor,
            Progress(plan.total_steps, start, "training") as progress,
        ):
            if not start:
                monitor.text("config", as_markdown(plan.record))
                monitor.scalars(0, verification.scalars(results.get("frozen", {}), "frozen"))
            log = MetricLog(monitor, progress, config.train.batch_size, start)
            data = batches(
                plan.source, config.train.batch_size, seed=config.seed, start_step=start, threads=config.data.threads
            )
            with jax.transfer_guard("disallow"):
                for step in range(start + 1, plan.total_steps + 1):
                    before = time.monotonic()
                    batch = jax.device_put(next(data), rows)
                    log.waited(time.monotonic() - before)
                    state, metrics = step_function(model.frozen, state, batch, key)
                    if step == 1:
                        first_loss(metrics, plan, progress)
                    last = step == plan.total_steps
                    if step == start + 1:
                        jax.block_until_ready(metrics)
                        log.restart(step)  # the compilation is not training
                    if last or step == 1 or step % config.train.log_every == 0:
                        log.push(step, metrics)
                    accuracy = None
                    if plan.benchmarks and (last or due(step, config.eval.every_epochs * plan.steps_per_epoch)):
                        log.flush()
                        results["benchmarks"] = verification.evaluate(
                            embedder, model.frozen, state.trainable, plan.benchmarks, config.eval.flip
                        )
                        report(results["benchmarks"], step, monitor, progress)
                        accuracy = verification.mean_accuracy(results["benchmarks"])
                        log.restart(step)
                    if accuracy is not None or last or stop.received or due(step, config.checkpoint.every_steps):
                        checkpoints.save(step, state, accuracy)
                    if stop.received and not last:
                        log.flush()
                        checkpoints.wait()
                        raise cli.Stopped(
                            f"stopped by {stop.received} after step {step:,}; a complete checkpoint is saved, "
                            "run the same command to go on"
                        )
            log.flush()
            if start >= plan.total_steps and plan.benchmarks:  # the run was over: only its report is made again
                results["benchmarks"] = verification.evaluate(
                    embedder, model.frozen, state.trainable, plan.benchmarks, config.eval.flip
                )
            if start < plan.total_steps:
                draw(plan, embedder, state, monitor)
                settings = {name: value for name, _, value in runs.difference({}, plan.record["config"])}
                monitor.hparams(settings, verification.scalars(results["benchmarks"]))
        results["run"] = facts(plan, checkpoints.best())
    return results


def due(step: int, every: int) -> bool:
    """Whether something that happens every so many steps (0: never) happens now."""
    return every > 0 and step % every == 0


def baselines(plan: Plan) -> dict[str, Any]:
    """What the raw pixels and the unadapted backbone reach on the benchmarks."""
    if not plan.benchmarks:
        return {}
    recognizer = Recognizer(plan.model.recognizer.spec, runs.unadapted(plan.config), plan.model.recognizer.dtype)
    frozen = plan.model.frozen or {"backbone": plan.model.trainable["backbone"]}
    embedder = Embedder(recognizer, plan.mesh, plan.config.eval.batch_size)
    return {
        "pixels": verification.raw_pixels(plan.benchmarks),
        "frozen": verification.evaluate(embedder, frozen, {}, plan.benchmarks, plan.config.eval.flip),
    }


def first_loss(metrics: Mapping[str, jax.Array], plan: Plan, progress: Progress) -> None:
    """Print the first loss beside the one to expect."""
    loss, (mean, std) = float(jax.device_get(metrics["loss"])), plan.expected_loss
    line = f"first loss {loss:.3f}, expected {mean:.2f} +- {std:.2f}"
    far = abs(loss - mean) > 3 * std
    progress.write(line + ("  <- more than 3 standard deviations away: check labels and preprocessing" if far else ""))


def report(results: Mapping[str, Any], step: int, monitor: Monitor, progress: Progress) -> None:
    """One evaluation on the terminal and in the monitor."""
    monitor.scalars(step, verification.scalars(results))
    for name, entry in results.items():
        progress.write(
            f"step {step:,}  {name}: accuracy {100 * entry['accuracy']:.2f}% "
            f"+- {100 * entry['accuracy_std']:.2f}, AUC {entry['auc']:.4f}"
        )


def draw(plan: Plan, embedder: Embedder, state: TrainState, monitor: Monitor) -> None:
    """ROC curves and distance histograms of the final model."""
    curves = {}
    for name, benchmark in plan.benchmarks.items():
        curves[name], distances = verification.curve(
            embedder, plan.model.frozen, state.trainable, benchmark, plan.config.eval.flip
        )
        monitor.figure(plan.total_steps, f"eval/{name}/distances", distance_figure(distances, benchmark.issame))
    if curves:
        monitor.figure(plan.total_steps, "eval/roc", roc_figure(curves))


def facts(plan: Plan, best: int | None) -> dict[str, Any]:
    """What the report says of the run."""
    config = plan.config
    return {
        "backbone": config.backbone.name,
        "weights": plan.model.identity["source"],
        "adapter": config.adapter.kind,
        "training data": f"{plan.source.description}, {len(plan.source)} images, {plan.source.num_classes} identities",
        "steps": plan.total_steps,
        "best checkpoint": best,
        "seed": config.seed,
    }


def as_markdown(record: dict[str, Any]) -> str:
    """The run's record as a table for TensorBoard."""
    rows = [f"| {name} | {value} |" for name, _, value in runs.difference({}, record)]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])


def main(args: argparse.Namespace) -> None:
    """The story of a run: check everything, say it, train, report."""
    plan = prepare(args.config)
    workdir = Path(args.workdir)
    runs.check_same(workdir, plan.record)
    print(
        header.header(
            plan.config, plan.model, plan.source, plan.benchmarks,
            (plan.steps_per_epoch, plan.total_steps), plan.expected_loss,
        ),
        flush=True,
    )  # fmt: skip
    if args.dry_run:
        return
    runs.write_record(workdir, plan.record)
    results = train(plan, workdir)
    write_results(workdir, results)
    print(results_page(results))
    print(f"written: {workdir}/results.md, results.json, metrics.jsonl; see it with: tensorboard --logdir {workdir}")


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(__doc__ or "", settings=True)
    result.add_argument("--workdir", required=True, metavar="DIR", help="the run's folder; an existing run goes on")
    result.add_argument(
        "--benchmark", action="append", metavar="NAME=PATH", help="verify on this; repeatable, replaces data.benchmarks"
    )
    result.add_argument("--dry_run", action="store_true", help="check everything, print the header and stop")
    return result


if __name__ == "__main__":
    cli.run(main, parser())
