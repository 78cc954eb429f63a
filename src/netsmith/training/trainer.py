"""One training: its steps, epochs, scores, checkpoints and what is done when the loss is not finite."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from netsmith.data.batch import Batch
from netsmith.data.examples import Examples, n_batches
from netsmith.errors import InputError
from netsmith.network.layout import channels_last, find_layout, laid_out, run_batch
from netsmith.network.outputs import describe_output
from netsmith.tasks.task import Objective, Task
from netsmith.training import checkpoint as files
from netsmith.training.depthwise import working_precision
from netsmith.training.device import device_of, on_device, random_state, seed_generators, set_random_state
from netsmith.training.modes import choose_bf16, set_mode
from netsmith.training.optimizers import optimizer_of
from netsmith.training.rehearsal import rehearse
from netsmith.training.result import Event, FitResult, Progress
from netsmith.training.schedule import learning_rate
from netsmith.training.score import evaluate
from netsmith.training.settings import Checkpoints, Training
from netsmith.training.state import Position, capture, check, restore
from netsmith.training.workers import Workers

_RETRIES = 3
_STRIDE = 1_000_003  # between the seeds of steps
AfterStep = Callable[[int, int], None]
AfterEpoch = Callable[[nn.Module, Mapping[str, Any]], object]


class _Diverged(Exception):
    """The loss is not finite."""


def steps_of(examples: Examples, batch: int) -> int:
    """How many batches a pass has, of which a last one that is not full is left out; examples may know better."""
    own = getattr(examples, "steps", None)
    return int(own(batch)) if own is not None else n_batches(len(examples), batch, drop_last=True)


class Trainer:
    """What :func:`netsmith.training.fit` sets going; its arguments are explained there."""

    def __init__(
        self, model: nn.Module, task: Task, training: Training, teacher: nn.Module | None, settings: dict[str, Any],
        progress: Progress | None, after_step: AfterStep | None, workers: Workers,
        memory: dict[str, Any] | None = None, after_epoch: AfterEpoch | None = None,
    ) -> None:  # fmt: skip
        self.model, self.task, self.teacher, self.augment = model, task, teacher, task.augmentation(training.augment)
        self.training, self.score = training, task.metric
        self.objective = Objective(training.alpha, training.temperature, training.label_smoothing)
        self.settings, self.after_step, self.workers = settings, after_step, workers  # settings as checkpoints say them
        self.memory, self.after_epoch, self.stopped = {} if memory is None else memory, after_epoch, False
        self.progress = progress if workers.is_first else None
        self.train, self.device = task.need_train(), device_of(model)
        self.batch = min(training.batch_size, len(self.train))
        if self.batch < workers.world:
            raise InputError(f"{workers.world} processes cannot share a batch of {self.batch}; use fewer of them")
        self.steps = steps_of(self.train, self.batch)
        self.total = self.steps * training.epochs
        self.trained = [p for p in model.parameters() if p.requires_grad]
        if not self.trained:
            raise InputError("the network has no weights that can be trained (none requires a gradient)")
        self.optimizer = optimizer_of(training, self.trained)
        self.at = Position()
        self.best: dict[str, torch.Tensor] = {}
        self.spoken = 0.0

    def run(self, checkpoints: Checkpoints) -> FitResult:
        """Train to the end, from where the checkpoint stands if there is one."""
        path, self.path, self.every = checkpoints.path, checkpoints.path, checkpoints.steps
        if self.teacher is not None:
            set_mode(self.teacher, False)
        if path is not None and checkpoints.resume and self.workers.broadcast(path.is_file()):
            if not path.is_file():
                raise InputError(f"process {self.workers.rank} does not find {path}; use a folder that all of them see")
            self.good = files.load(path)
            check(self.good, self.model, self.settings, self.steps, str(path))
            self._restore()
            if self.at.epoch < self.training.epochs:
                self._lay_out()
        else:
            self._lay_out()
            self.workers.share(self.model.state_dict().values())
            self.at.bf16 = self.workers.broadcast(self._choose_bf16(self.training.bf16))
            self.good = self._capture()
        while self.at.epoch < self.training.epochs and not self._stale():
            try:
                self._epoch()
            except _Diverged:
                self._retry()
        if self.best:
            self.model.load_state_dict(self.best)
        set_mode(self.model, False)
        at = self.at
        return FitResult(
            history=at.history, best_score=self.score.rank(at.best) if at.best_epoch else None,
            best_epoch=at.best_epoch,
            epochs_run=at.epoch, bf16=at.bf16, messages=at.messages,
        )  # fmt: skip

    def _lay_out(self) -> None:
        """Lay the weights out as the network is trained fastest, or as it runs at all; and find out that it trains."""
        few = next(on_device(self.train.batches(min(self.batch, 8)), self.device))
        if find_layout(self.model, few):
            channels_last(self.model)
        rehearse(self.model, self.task, few)

    def _stale(self) -> bool:
        patience = self.training.patience
        if self.stopped:
            return True
        return patience is not None and self.at.stale >= patience

    def _epoch(self) -> None:
        at, start = self.at, time.perf_counter()
        base, fresh = at.seconds, at.seen
        set_mode(self.model, True)
        batches = self.train.batches(
            self.batch,
            rng=np.random.default_rng([self.training.seed, at.epoch]),
            augment=self.augment,
            drop_last=True,
            start=at.step,
            part=(self.workers.rank, self.workers.world),
        )
        rate = 0.0
        for batch in on_device(batches, self.device):
            number = at.epoch * self.steps + at.step
            rate = at.lr_scale * learning_rate(number, self.total, self.training.lr, self.training.schedule)
            loss = self._step(batch, rate)
            if self.workers.world > 1:
                # each process has drawn for its own rows; the next draws are the same in all of them again
                seed_generators(self.training.seed + (number + 1) * _STRIDE, self.device)
            if self.after_step is not None:
                self.after_step(number, self.total)
            at.step += 1
            at.loss_sum += loss * self.batch
            at.seen += self.batch
            at.seconds = base + time.perf_counter() - start
            if at.step % self.every == 0 and at.step < self.steps and self.train.order == "position":
                self._check_state()
                self._checkpoint()
            if time.perf_counter() - self.spoken > 1.0:
                self._say(rate, (at.seen - fresh) / (time.perf_counter() - start))
        self._finish_epoch(rate, (at.seen - fresh) / max(1e-9, time.perf_counter() - start))

    def _step(self, batch: Batch, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch, self.at.bf16)
        torch.autograd.backward(loss)
        mean = loss.detach().clone()
        gradients = [p.grad for p in self.trained if p.grad is not None]
        self.workers.average([mean, *gradients], self.workers.weight(self.batch))
        value = float(mean)
        if not math.isfinite(value):
            raise _Diverged
        if self.training.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.trained, self.training.grad_clip)
        self.optimizer.step()
        return value

    def _loss(self, batch: Batch, bf16: bool) -> torch.Tensor:
        soft = None
        with working_precision(self.device, bf16):
            if self.teacher is not None:
                with torch.no_grad():
                    soft = run_batch(self.teacher, batch)
            output = laid_out(self.model, batch)(self.model)
            read = self.task.read(output, batch)
            if read is not output:
                self._note_once(
                    f"in training the network returns {describe_output(output)}: only {self.task.read_words} trained"
                )
        return self.task.training_loss(read, soft, batch, self.objective)

    def _finish_epoch(self, rate: float, speed: float) -> None:
        at = self.at
        self._check_state()
        entry: dict[str, Any] = {
            "epoch": at.epoch + 1,
            "loss": at.loss_sum / at.seen,
            "lr": rate,
            "seconds": at.seconds,
        }
        score = None
        if (at.epoch + 1) % self.training.eval_every == 0 or at.epoch + 1 == self.training.epochs:
            score = self._score()
            entry |= {f"search_{self.score.key}": score[0], "search_loss": score[1]}
            rank = self.score.rank(score[0])
            if not at.best_epoch or (rank, -score[1]) > (at.best, -at.best_loss):
                at.best, at.best_loss, at.best_epoch, at.stale = rank, score[1], at.epoch + 1, 0
                if self.training.keep == "best":
                    self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            else:
                at.stale += 1
        at.history.append(entry)
        self._say(rate, speed, score=score)
        at.epoch, at.step, at.loss_sum, at.seen, at.seconds = at.epoch + 1, 0, 0.0, 0, 0.0
        if self.after_epoch is not None:
            self.stopped = bool(self.after_epoch(self.model, entry))
        self._checkpoint()

    def _score(self) -> tuple[float, float]:
        """Score and loss on the search split, of which each process takes its rows where their scores average."""
        part, workers = self.task.search, self.workers
        shared = workers.world > 1 and len(part) >= workers.world and self.score.share
        if shared:
            part = part.take(slice(workers.rank, None, workers.world))
        found = evaluate(self.model, self.task, part)
        score = torch.tensor([found.score, found.loss], dtype=torch.float64, device=self.device)
        if shared:
            workers.average([score], workers.weight(len(self.task.search)))
        return float(score[0]), float(score[1])

    def _check_state(self) -> None:
        """Make the state fit to be kept: the same in every process, and finite.

        The loss of a step says nothing of the weights that the step made, and bad ones must never be kept.
        """
        layers = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        running = [t for m in layers for t in (m.running_mean, m.running_var) if t is not None]
        self.workers.average(running)
        state = [v for v in self.model.state_dict().values() if v.is_floating_point()]
        bad = torch.tensor(float(not all(bool(torch.isfinite(v).all()) for v in state)), device=self.device)
        self.workers.average([bad])
        if float(bad) > 0:
            raise _Diverged

    def _capture(self) -> files.Checkpoint:
        return capture(self.model, self.optimizer, self.best, self.at, self.settings, self.memory)

    def _restore(self) -> None:
        self.at, self.best = restore(self.good, self.model, self.optimizer)
        self.memory.clear()
        self.memory.update(copy.deepcopy(self.good.meta.get("memory", {})))

    def _checkpoint(self) -> None:
        """Remember this state in memory, for divergence, and on disk; a full disk only costs the file."""
        self.good = self._capture()
        if self.path is None or not self.workers.is_first:
            return
        try:
            files.save(self.path, self.good)
        except InputError as error:
            if not any(m.startswith("checkpoint") for m in self.at.messages):
                self._note(f"checkpoint failed, training goes on without: {error}")

    def _retry(self) -> None:
        scale, retries, messages = self.at.lr_scale / 2, self.at.retries + 1, self.at.messages
        if self.at.bf16:  # numbers of few digits may be the cause, on some processors whatever the rate
            scale, retries = self.at.lr_scale, self.at.retries
        elif retries > _RETRIES:
            raise InputError(
                f"the loss is not finite even at learning rate {self.training.lr * self.at.lr_scale:g} "
                f"(epoch {self.at.epoch + 1}); check the normalisation of the data or lower --lr"
            )
        how = "in float32 instead of bfloat16" if self.at.bf16 else f"with the learning rate times {scale:g}"
        self._restore()
        self.at.lr_scale, self.at.retries, self.at.messages, self.at.bf16 = scale, retries, messages, False
        self._note(f"the loss was not finite: back to epoch {self.at.epoch + 1}, step {self.at.step + 1}, {how}")
        # the checkpoint must know of the retry, or a resumed training would repeat it with a count of one less
        self._checkpoint()

    def _note_once(self, message: str) -> None:
        if message not in self.at.messages:
            self._note(message)

    def _note(self, message: str) -> None:
        self.at.messages.append(message)
        self._say(0.0, 0.0, message=message)

    def _say(
        self, rate: float, speed: float, score: tuple[float, float] | None = None, message: str | None = None
    ) -> None:
        self.spoken = time.perf_counter()
        if self.progress is not None:
            at = self.at
            self.progress(
                Event(
                    epoch=at.epoch + 1, epochs=self.training.epochs, step=at.step, steps=self.steps,
                    loss=at.loss_sum / max(1, at.seen), lr=rate, per_s=speed,
                    score=f"{self.score.name} {self.score.shown(score[0])}" if score else None,
                    message=message,
                )
            )  # fmt: skip

    def _choose_bf16(self, bf16: bool | str) -> bool:
        """Time forward and backward on the first rows; every buffer and the random state are put back."""
        if isinstance(bf16, bool):
            return bf16
        buffers = {k: v.clone() for k, v in self.model.named_buffers()}
        first = next(on_device(self.train.batches(self.batch), self.device))
        set_mode(self.model, True)

        def step(on: bool) -> float:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._loss(first, on)
            torch.autograd.backward(loss)
            return float(loss.detach())

        state = random_state(self.device)
        chosen = choose_bf16(step, bf16, self.device)
        set_random_state(state, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        return chosen
