"""The DDPG agent of AMC (He et al., ECCV 2018) and HAQ (Wang et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.search.agents.ddpg.network import Learner
from netsmith.search.agents.ddpg.packing import Float32
from netsmith.search.agents.ddpg.replay import Replay

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DdpgConfig:
    """Every figure of the agent; defaults are those of AMC's published code, but for ``updates``.

    Attributes:
        hidden: units of the hidden layers of actor and critic.
        actor_rate: learning rate of the actor's Adam.
        critic_rate: learning rate of the critic's Adam.
        tau: share by which target networks follow after each gradient step.
        discount: of the next state's value; 0 makes each step a bandit and needs no target networks.
        batch: transitions in a gradient step.
        replay: episodes that the memory holds (HAQ's code: 128).
        warmup: episodes of uniformly random actions before any training (HAQ's code: 20).
        sigma: of the truncated normal around the actor's output that actions are drawn from.
        decay: of sigma with each episode after the warm-up (HAQ's code: 0.99).
        baseline: weight of a batch's mean reward in the moving mean that is subtracted from rewards; 0 subtracts
            nothing.
        updates: gradient steps for each transition of an episode, taken together when it ends. Both codes take 1;
            a quarter takes a quarter of the time and found no worse bits in our trials.

    Raises:
        InputError: a figure out of its range.
    """

    hidden: tuple[int, ...] = (300, 300)
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    tau: float = 0.01
    discount: float = 1.0
    batch: int = 64
    replay: int = 100
    warmup: int = 100
    sigma: float = 0.5
    decay: float = 0.95
    baseline: float = 0.5
    updates: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        above = {n: getattr(self, n) for n in ("actor_rate", "critic_rate", "batch", "replay", "sigma", "updates")}
        above |= {f"hidden[{i}]": size for i, size in enumerate(self.hidden)}
        for name, value in above.items():
            if not value > 0:
                raise InputError(f"{name} of the agent is {value}; it must be above 0")
        for name in ("tau", "discount", "decay", "baseline"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} of the agent is {getattr(self, name)}; it must lie in 0..1")
        if self.warmup < 0:
            raise InputError(f"warmup of the agent is {self.warmup}; it must not be negative")


class Agent:
    """Learns one action in 0..1 for each step of an episode from the rewards of whole episodes.

    Args:
        width: numbers in a state.
        steps: steps of an episode at most.
        config: the figures.
        seed: equal seeds and histories, equal actions.
    """

    def __init__(self, width: int, steps: int, config: DdpgConfig | None = None, seed: int = 0) -> None:
        self.config = config or DdpgConfig()
        self.rng = np.random.default_rng(seed)
        self.actor = Learner(width, self.config.hidden, self.config.actor_rate, self.rng)
        self.critic = Learner(width + 1, self.config.hidden, self.config.critic_rate, self.rng)
        self.replay = Replay(self.config.replay * max(steps, 1), width)
        self.episodes = 0  #: episodes observed so far
        self.mean_reward: float | None = None

    def policy(self, states: ArrayLike) -> FloatArray:
        """The actor's actions without noise, states ``(n, W)`` to ``(n,)``."""
        return _sigmoid(self.actor.net.forward(np.asarray(states, dtype=np.float32))[-1])[:, 0].astype(np.float64)

    def act(self, states: ArrayLike) -> FloatArray:
        """Actions to take, ``(n, W)`` to ``(n,)``: row i is a step of the i-th episode from now."""
        states = np.asarray(states, dtype=np.float32)
        after = self.episodes + np.arange(len(states)) - self.config.warmup
        actions = self.rng.random(len(states))
        trained = np.flatnonzero(after >= 0)
        if len(trained):
            sigma = self.config.sigma * self.config.decay ** after[trained].astype(np.float64)
            actions[trained] = truncated_normal(self.rng, self.policy(states[trained]), sigma)
        return actions

    def observe(self, states: ArrayLike, actions: ArrayLike, rewards: ArrayLike) -> None:
        """Remember an episode, states ``(T, W)``, actions ``(T,)`` and rewards ``(T,)``, and train on the memory.

        Nothing is trained before the last episode of the warm-up is in.
        """
        self.replay.add(states, actions, rewards)
        self.episodes += 1
        if self.episodes >= self.config.warmup and len(self.replay):
            for _ in range(max(1, round(self.config.updates * len(np.asarray(actions))))):
                self._update()

    def _update(self) -> None:
        """One gradient step of the critic, one of the actor, and the targets follow."""
        config, actor, critic = self.config, self.actor, self.critic
        states, actions, rewards, following, alive = self.replay.sample(self.rng, config.batch)
        if config.baseline:
            mean = float(rewards.mean())
            known = mean if self.mean_reward is None else self.mean_reward
            self.mean_reward = known + config.baseline * (mean - known)
            rewards = rewards - np.float32(self.mean_reward)
        wanted = rewards
        if config.discount:
            then = _sigmoid(actor.target.forward(following)[-1])
            value = critic.target.forward(np.concatenate([following, then], axis=1))[-1][:, 0]
            wanted = rewards + np.float32(config.discount) * alive * value

        taken = critic.net.forward(np.concatenate([states, actions[:, None]], axis=1))
        slope = (taken[-1] - wanted[:, None]) * np.float32(2.0 / len(states))  # of the mean squared error
        critic.adam.step(critic.net.gradient(taken, slope))

        seen = actor.net.forward(states)
        own = _sigmoid(seen[-1])
        judged = critic.net.forward(np.concatenate([states, own], axis=1))
        slope = np.full_like(own, -1.0 / len(states))  # of the mean value, which is to rise
        slope = critic.net.input_slope(judged, slope)[:, -1:] * own * (1.0 - own)
        actor.adam.step(actor.net.gradient(seen, slope))
        if config.discount:
            actor.follow(config.tau)
            critic.follow(config.tau)

    def state_dict(self) -> dict[str, Any]:
        """JSON values from which an agent of the same shape and figures goes on bit for bit."""
        return {
            "rng": self.rng.bit_generator.state, "episodes": self.episodes, "mean_reward": self.mean_reward,
            "actor": self.actor.state_dict(), "critic": self.critic.state_dict(), "replay": self.replay.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.episodes, self.mean_reward = int(state["episodes"]), state["mean_reward"]
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        self.replay.load_state_dict(state["replay"])


def truncated_normal(rng: np.random.Generator, mean: FloatArray, sigma: FloatArray) -> FloatArray:
    """Normal draws restricted to 0..1, one for each ``mean`` in 0..1: redrawn until inside (two draws on average)."""
    drawn = rng.normal(mean, sigma)
    outside = np.flatnonzero((drawn < 0) | (drawn > 1))
    while len(outside):
        drawn[outside] = again = rng.normal(mean[outside], sigma[outside])
        outside = outside[(again < 0) | (again > 1)]
    return drawn


def _sigmoid(x: Float32) -> Float32:
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1.0), dtype=np.float32)
