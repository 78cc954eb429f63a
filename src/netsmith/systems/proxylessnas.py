"""ProxylessNAS: direct neural architecture search on target task and hardware (Cai, Zhu and Han, ICLR 2019).

All candidates of all blocks are in one network, and one path of it runs at a time. Weights are trained on the train
split with paths drawn by their probabilities; every few steps the probabilities make a step of their own on held-out
images, by the gradients of binary gates and of the expected cost on the target, which is a sum over blocks. In the end
the most probable path that keeps the budgets is the network.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from netsmith.data.augment import Augment
from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.search.solver.exact import solve
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import CostTable
from netsmith.supernets.gates import Mode
from netsmith.supernets.objective import Objective
from netsmith.supernets.pairs import draw_pairs, keep_mass, of_pairs, shared
from netsmith.supernets.supernet import Gates, SuperNet, draw
from netsmith.tasks.task import Objective as TaskObjective
from netsmith.tasks.task import Task
from netsmith.training import Checkpoints, Progress, Training, fit
from netsmith.training.depthwise import working_precision
from netsmith.training.device import has_bf16
from netsmith.training.modes import frozen_statistics
from netsmith.training.workers import Workers

Costs = Callable[[Designs], Mapping[str, FloatArray]]


@dataclass(frozen=True)
class ProxylessConfig:
    """The published settings, but for numbers of epochs and learning rates, which are for a data set as small as
    CIFAR-10, and for budgets that tighten.

    Attributes:
        warmup: epochs in which weights alone are trained, all paths alike.
        epochs: of the search.
        warmup_lr, lr: of the weights; cosine.
        every: steps of the weights for one of the probabilities; none in the first epoch after the warm-up.
        path_lr: of the probabilities, by Adam without a first moment; None for one with which probabilities can be
            decided in the steps that there are, at least the published 0.001.
        tighten: share of the search in which budgets of the constrained loss come down from what all paths alike cost
            to what they are, 0 to 1. At once, a tight budget drives every block to its cheapest choice before held-out
            images can tell which blocks are worth their cost, and what is hardly drawn any more learns no more.
        mode: of the gates' gradients.
        update: ``gradient``, or ``reinforce`` for costs that are no sums.
        samples: networks of one reinforce update.
        reward_exponent: reward is ``accuracy * prod(limit / cost) ** exponent``.
        batch: images of a step.
    """

    warmup: int = 5
    epochs: int = 20
    warmup_lr: float = 0.1
    lr: float = 0.05
    every: int = 5
    path_lr: float | None = None
    tighten: float = 0.5
    mode: Mode = "recompute"
    update: Literal["gradient", "reinforce"] = "gradient"
    samples: int = 10
    reward_exponent: float = 0.1
    batch: int = 128
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    seed: int = 0


TRAVEL = 20.0  #: by how much a logit can move in all, unless the published rate moves it further
WANDER = 1.0  #: by how much it may move where its gradients are nothing but noise
WARMUP, SEARCH = "warmup.safetensors", "search.safetensors"  #: checkpoints
RECORDS = 300  #: of where a search stands
BETA2, EPS = 0.999, 1e-8  #: of Adam
MOVING = 0.9  #: of reinforce's baseline


class Architect:
    """Steps of the probabilities of a network's paths. All that they change are buffers of the network.

    Of ``updates`` steps in all, budgets tighten in the first ``config.tighten``; without that number there is no
    tightening.
    """

    def __init__(
        self, network: SuperNet, task: Task, objective: Objective, config: ProxylessConfig, lr: float,
        costs: Costs | None = None, bf16: bool | Literal["auto"] = "auto", workers: Workers | None = None,
        updates: int = 0,
    ) -> None:  # fmt: skip
        if len(objective.limits) > len(network.multipliers):
            raise InputError(
                f"{len(objective.limits)} budgets need as many multipliers, but the network has "
                f"{len(network.multipliers)}; make it with costs={len(objective.limits)}"
            )
        if not 0 <= config.tighten <= 1:
            raise InputError(f"tighten is {config.tighten:g}; it is a share of the search, 0 to 1")
        self.network, self.task, self.objective, self.config, self.lr = network, task, objective, config, lr
        self.bf16, self.workers = bf16, workers or Workers()
        self.tightening = config.tighten * updates
        self.costs = costs or (lambda designs: {n: t.price(designs) for n, t in objective.tables.items()})

    def step(self) -> float:
        """One update of the probabilities; returns the loss on the held-out examples that it saw."""
        network, n = self.network, int(self.network.updates)
        rng = np.random.default_rng([self.config.seed, 1, n])
        batch, device = self._batch(n), self.network.logits.device
        bf16 = has_bf16(device) if self.bf16 == "auto" else self.bf16
        with frozen_statistics(network), working_precision(device, bf16):
            if self.config.update == "reinforce":
                error, gradient = self._reinforce(batch, rng)
            else:
                error, gradient = self._gradient(batch, rng)
        self.workers.share([gradient, network.baseline])  # equal paths everywhere, to the last bit
        self._adam(gradient)
        mine = self._multipliers()
        mine.copy_(self.objective.raised(mine, network.probabilities(), self.lr, self._slack(n)))
        return error

    def _multipliers(self) -> torch.Tensor:
        return self.network.multipliers[: len(self.objective.limits)]

    def allowed(self) -> dict[str, float]:
        """What costs with a budget may be by now; nothing where budgets do not tighten or have done so."""
        slack = self._slack(int(self.network.updates)).tolist()
        if self.config.update != "gradient" or self.objective.form != "constrained" or not any(slack):
            return {}
        return {name: v * (1 + s) for (name, v), s in zip(self.objective.limits.items(), slack, strict=True)}

    def _slack(self, n: int) -> torch.Tensor:
        """By what ratios to their limits costs may be above them at update ``n``, ``(budgets,)``."""
        network = self.network
        alike = network.probabilities(torch.zeros_like(network.logits))
        left = max(0.0, 1.0 - n / self.tightening) if self.tightening else 0.0
        return left * (self.objective.ratios(alike) - 1).clamp(min=0)

    # --- gradients of the logits, (D, K) -----------------------------------------------------------------------------

    def _gradient(self, batch: Batch, rng: np.random.Generator) -> tuple[float, Any]:
        """dL/dlogit_i = sum_j dL/dgate_j * p_j * (delta_ij - p_i), equation 4, and the expected costs' own gradient."""
        network, mode = self.network, self.config.mode
        logits = network.logits.detach().clone().requires_grad_()
        p = network.probabilities(logits)
        pairs = draw_pairs(network.shares(), network.there.cpu().numpy(), rng) if mode == "two" else None
        weights = p if pairs is None else of_pairs(logits, pairs)
        path = draw(weights.detach().cpu().numpy(), rng)
        gates = network.one_hot(path)
        network.gates = Gates(gates, mode, pairs)
        try:
            error = self.task.training_loss(batch(network), None, batch, TaskObjective())
        finally:
            network.gates = None
        # of a pair, costs change with its two shares of the mass that both have together
        loss = self.objective.loss(
            error, p if pairs is None else shared(p.detach(), weights, pairs), self._multipliers(),
            self._slack(int(network.updates)),
        )  # fmt: skip
        by_gates, by_costs = torch.autograd.grad(loss, [gates, logits], allow_unused=True)
        inner = by_gates.to(p) * weights.detach()
        gradient = inner - weights.detach() * inner.sum(dim=1, keepdim=True)
        return float(error.detach()), gradient + (0.0 if by_costs is None else by_costs)

    def _reinforce(self, batch: Batch, rng: np.random.Generator) -> tuple[float, Any]:
        """The mean over sampled networks of -(reward - baseline) * dlog p, for costs that are no sums over blocks."""
        network, config = self.network, self.config
        designs = np.array([network.sample(rng) for _ in range(config.samples)])
        costs = self.costs(designs)
        ratio = np.prod([limit / costs[name] for name, limit in self.objective.limits.items()], axis=0)
        errors, scores = [], []
        try:
            for design in designs:
                network.path = design
                with torch.no_grad():
                    outputs = batch(network)
                errors.append(float(self.task.training_loss(outputs, None, batch, TaskObjective())))
                scores.append(self.task.metric.of(self.task.partial(outputs, batch)))
        finally:
            network.path = None
        rewards = np.array(scores) * ratio**config.reward_exponent
        first = int(network.updates) == 0
        baseline = rewards.mean() if first else MOVING * float(network.baseline) + (1 - MOVING) * rewards.mean()
        network.baseline.fill_(baseline)
        p = network.probabilities().detach()
        gain = torch.as_tensor(rewards - baseline).to(p)
        hot = torch.nn.functional.one_hot(torch.as_tensor(designs), p.shape[1]).to(p)  # (n, D, K)
        return float(np.mean(errors)), -(gain[:, None, None] * (hot - p)).mean(dim=0)

    def _adam(self, gradient: torch.Tensor) -> None:
        """Adam with beta1 = 0; in mode ``two`` a pair moves alone and the mass of both stays as it was."""
        network = self.network
        touched = gradient != 0
        before = network.logits.clone()
        network.updates += 1
        network.touched += touched
        network.second.copy_(torch.where(touched, BETA2 * network.second + (1 - BETA2) * gradient**2, network.second))
        scale = (network.second / (1 - BETA2 ** network.touched.clamp(min=1).double())).sqrt() + EPS
        moved = before - self.lr * gradient / scale
        if self.config.mode == "two" and self.config.update == "gradient":
            moved = keep_mass(before, moved, touched)
        network.logits.copy_(torch.where(touched, moved, before))

    def _batch(self, n: int) -> Batch:
        """Held-out examples of update ``n``: a new order for each pass over them."""
        held, size = self.task.search, min(self.config.batch, len(self.task.search))
        passes, at = divmod(n, max(1, len(held) // size))
        order = np.random.default_rng([self.config.seed, 2, passes]).permutation(len(held))
        chosen = held.take(order[at * size : (at + 1) * size])
        return next(chosen.batches(size)).to(self.network.logits.device)


def path_lr(config: ProxylessConfig, updates: int) -> float:
    """Learning rate of the logits: as asked for, or one with which they can decide in so many updates."""
    n = max(updates, 1)
    return config.path_lr if config.path_lr is not None else max(1e-3, min(TRAVEL / n, WANDER / n**0.5))


def proxylessnas(
    network: SuperNet, task: Task, objective: Objective, config: ProxylessConfig = ProxylessConfig(), *,
    costs: Costs | None = None, folder: str | Path | None = None,
    record: Callable[[dict[str, Any]], None] | None = None, phase: Callable[[str], None] = lambda name: None,
    augment: Augment | Literal["auto"] | None = "auto", bf16: bool | Literal["auto"] = "auto",
    contents: Mapping[str, str] | None = None, checkpoint_steps: int = 200, progress: Progress | None = None,
    workers: Workers | None = None,
) -> Designs:  # fmt: skip
    """Search a space: train ``network`` in place, and return the most probable path that keeps the budgets, ``(D,)``.

    Args:
        network: all paths; its buffers hold the probabilities.
        task: weights learn from its train split, probabilities from its search split.
        objective: cost tables, budgets and how they enter the loss.
        config: settings.
        costs: of designs ``(N, D)``, for ``update="reinforce"`` where they are no sums; by default those of
            ``objective.tables``.
        folder: for checkpoints; a search that was killed goes on from them and ends with the same bits and records.
        record: told, some hundred times in all, where the search stands: ``epoch``, ``warmup``, ``loss`` on
            held-out examples, ``entropy``, ``expected`` costs, ``allowed`` costs while budgets tighten,
            ``multipliers``, ``probabilities`` and the ``seconds`` so far. A search that goes on tells all of it again.
        phase: told "warm-up" and "search" when they begin.
        augment, bf16: as of ``Training``.
        contents, checkpoint_steps: as of ``Checkpoints``.
        progress, workers: as of ``netsmith.training.fit``.

    Raises:
        InfeasibleError: no network of the space keeps the budgets.
        InputError: more budgets than the network has multipliers for, or a folder of another search.
    """
    # where no network keeps the budgets, this says so before anything is trained
    most_probable_within(network.shares(), objective.tables, objective.limits)
    weights = Training(
        epochs=config.epochs, lr=config.lr, batch_size=config.batch, weight_decay=config.weight_decay,
        schedule="cosine", label_smoothing=config.label_smoothing, augment=augment, seed=config.seed, bf16=bf16,
        eval_every=config.epochs, keep="last",
    )  # fmt: skip
    kept = Checkpoints(steps=checkpoint_steps, contents=contents)
    epochs = config.warmup + config.epochs
    steps = max(1, len(task.need_train()) // min(config.batch, len(task.need_train())))
    first = steps if config.warmup else 0  # weights get used to being drawn by probabilities before these move
    if not any(step % config.every == 0 for step in range(first, steps * config.epochs)):
        raise InputError("no step of the probabilities fits into the search; raise --search-epochs or lower --every")
    updates = (steps * config.epochs - first) // config.every
    architect = Architect(
        network, task, objective, config, path_lr(config, updates), costs, bf16, workers, updates,
    )  # fmt: skip
    told = _Told(record)

    def standing(warmup: bool) -> dict[str, Any]:
        p = network.probabilities()
        multipliers = dict(zip(objective.limits, network.multipliers.tolist(), strict=False))
        return {
            "epochs": epochs, "entropy": network.entropy(), "expected": objective.expected(p),
            "multipliers": multipliers if objective.form == "constrained" else {}, "probabilities": p.tolist(),
            "allowed": {} if warmup else architect.allowed(),
        }  # fmt: skip

    def tell(step: int, warmup: bool) -> None:
        if record is not None and (step + 1) % max(1, steps * epochs // RECORDS) == 0:
            epoch = (0 if warmup else config.warmup) + (step + 1) / steps
            told.add({"epoch": epoch, "warmup": warmup, "loss": told.memory.get("loss")} | standing(warmup))

    def search(step: int, total: int) -> None:
        if step >= first and step % config.every == 0:
            told.memory["loss"] = architect.step()
        tell(step, False)

    def checkpoint(name: str) -> Path | None:
        return Path(folder) / name if folder is not None else None

    searching = checkpoint(SEARCH)
    if config.warmup and not (searching and searching.is_file()):
        network.uniform = True
        phase("warm-up")
        try:
            fit(
                network, task,
                replace(weights, epochs=config.warmup, lr=config.warmup_lr, eval_every=config.warmup),
                after_step=lambda step, total: tell(step, True), checkpoints=replace(kept, path=checkpoint(WARMUP)),
                memory=told.memory, progress=progress, workers=workers,
            )  # fmt: skip
            told.renew(standing(True))  # a warm-up may come from a search with other prices; it moves no probability
        finally:
            network.uniform = False
    phase("search")
    fit(
        network, task, weights, after_step=search, memory=told.memory, progress=progress, workers=workers,
        checkpoints=replace(kept, path=searching, tag=_digest(config, objective)),
    )  # fmt: skip
    told.catch_up()
    return most_probable_within(network.shares(), objective.tables, objective.limits)[0]


class _Told:
    """Where a search stood, record by record: kept in its checkpoints, so that a resumed one lacks none.

    Attributes:
        memory: ``records`` and the ``loss`` of the last step of the probabilities; a resumed training puts back both.
    """

    def __init__(self, record: Callable[[dict[str, Any]], None] | None) -> None:
        self.memory: dict[str, Any] = {}
        self._record, self._count, self._began = record, 0, time.monotonic()

    @property
    def _records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = self.memory.setdefault("records", [])
        return records

    def add(self, new: dict[str, Any]) -> None:
        """Keep a record and tell it, after those of an earlier process."""
        records = self._records
        self._count = min(self._count, len(records))  # fewer than were told, after a training went back
        spent = records[-1]["seconds"] if records else 0.0
        self._began = min(self._began, time.monotonic() - spent)
        records.append(new | {"seconds": time.monotonic() - self._began})
        self.catch_up()

    def renew(self, known: Mapping[str, Any]) -> None:
        """Put what is known by now into every record."""
        for row in self._records:
            row.update(known)

    def catch_up(self) -> None:
        """Tell what was not told yet."""
        records = self._records
        for row in records[self._count :]:
            if self._record is not None:
                self._record(row)
        self._count = len(records)


def _digest(config: ProxylessConfig, objective: Objective) -> str:
    """A short word for the settings of a search: a checkpoint only fits the same ones. A warm-up has none of them."""
    text = repr((config, replace(objective, tables={}, limits={}), dict(objective.limits)))
    return f"search {hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def likely(probabilities: FloatArray, problem: Problem, seed: int, count: int) -> Designs:
    """The most probable path that keeps the budgets, then draws, ``(count, D)``, for evolution to begin with.

    A search that has not ended in one network keeps its budgets in expectation, by wavering between large blocks and
    none; its most probable network alone would leave much of them unused.

    Raises:
        InfeasibleError: no path keeps the budgets.
    """
    best, _ = most_probable_within(probabilities, problem.costs, problem.budgets)
    rng = np.random.default_rng(seed)
    return np.stack([best, *(draw(probabilities, rng) for _ in range(count - 1))])


def most_probable_within(
    probabilities: FloatArray, tables: Mapping[str, CostTable], limits: Mapping[str, float]
) -> tuple[Designs, float]:
    """The most probable path that keeps the budgets, ``(D,)``, and its ``-sum(log p)``; solved exactly.

    Without a budget in the way that is the most probable choice of every block.

    Args:
        probabilities: ``(D, K)``.
        tables: at least one, and of every cost that has a limit; they say which choices there are.

    Raises:
        InfeasibleError: no path keeps the budgets.
    """
    problem = Problem.over(tables, limits, -np.log(np.maximum(probabilities, 1e-300)))
    if not limits:
        return np.asarray(problem.loss.argmin(axis=1), dtype=np.int64), float(problem.loss.min(axis=1).sum())
    solution = solve(problem)
    return np.asarray(solution.choice, dtype=np.int64), float(solution.loss)
