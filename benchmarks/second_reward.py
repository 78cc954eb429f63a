"""Accuracy-guaranteed search by AMC's second reward, by HAQ's agent under it, and by the exact search, CIFAR-10.

All run as many designs without training on the same images of the search split: weights and input of every layer at 2
to 8 bits. The agents have no budget and are rewarded by ``-error * ln(cost)``; the exact search asks at twelve budgets,
from the least cost to that at 8 bits, for the eight designs that are best by summed sensitivities and what was told. Of
all designs that one ran, the cheapest counts that loses no more points on the search split than are allowed, which is
how ``--max-drop`` takes its candidates; it is scored on the test split once. Some minutes.
"""

from __future__ import annotations

import time
from typing import Any

import contest
import numpy as np
from common import Store, percent, table
from contest import Case

STRATEGIES = ("exact:96", "haq:96", "amc:96")  #: and how many designs each may run
LIMITS, DROPS = 12, (0.005, 0.01, 0.02, 0.04)


def searched(case: Case, strategy: str, target: str, cost: str, loss: Any, evaluations: int) -> Any:
    """What a strategy ran."""
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target
    from netsmith.search.registry import get_strategy, strategy_spec
    from netsmith.search.strategy import Problem
    from netsmith.study.cheapest import cheapest
    from netsmith.study.facts import Facts
    from netsmith.study.guaranteed import Weighed, accuracy_guaranteed
    from netsmith.study.study import minimize

    space, traits = case.subject.space, strategy_spec(strategy).traits
    pricing = Pricing(space, get_target(target))
    facts = Facts(space).options(traits.needs)
    if traits.guarantees:

        def make(problem: Problem, **reward: Any) -> Any:
            return get_strategy(strategy, problem, space.decisions, case.seed, **facts, **reward)

        return accuracy_guaranteed(pricing, loss, cost, case.evaluator, make, traits, evaluations, name=strategy)
    prices = pricing.table(cost)
    least, most = cheapest(pricing, loss, cost, np.inf).cost, float(pricing.predict(space.reference, cost)[0])
    ran = []
    for limit in np.geomspace(most, least, LIMITS + 2)[1:-1]:
        problem = Problem(loss, {cost: prices}, {cost: float(limit)}, space.decisions.tied, given=space.reference)

        def losses(designs: Any) -> Any:
            return np.array([o.loss for o in case.evaluator.outcomes(designs)])

        ran.append(
            minimize(problem, strategy, losses, evaluations // LIMITS, batch=traits.batch, seed=case.seed).designs
        )
    designs = space.canonical(np.concatenate(ran))
    error = np.array([1 - o.figures["accuracy"] for o in case.evaluator.outcomes(designs)])
    return Weighed(designs, error, pricing.predict(designs, cost))


def cell(case: Case, strategy: str, args: Any, loss: Any) -> dict[str, Any]:
    start = time.perf_counter()
    name, _, count = strategy.partition(":")
    found = searched(case, name, args.target, args.cost, loss, int(count))
    seconds = time.perf_counter() - start
    given = 1 - case.evaluator.outcomes(case.subject.space.reference[None])[0].figures["accuracy"]
    best, rows, tested = found.candidates, {}, {}
    for drop in DROPS:
        at = np.flatnonzero(best.error <= given + drop + 1e-12)
        if not len(at):
            rows[f"{drop:g}"] = None
            continue
        i = int(at[-1])  # from the most accurate to the cheapest
        design = tuple(best.designs[i].tolist())
        if design not in tested:
            tested[design] = case.test_accuracy(case.built(best.designs[i]))
        rows[f"{drop:g}"] = {
            "cost": best.cost[i], "search_error": best.error[i], "test_accuracy": tested[design], "design": design,
        }  # fmt: skip
    return {"rows": rows, "seconds": seconds, "designs": len(found), "candidates": len(best), "given_error": given}


def main() -> None:
    options = contest.parser(__doc__ or "", ["cifar_resnet20"], STRATEGIES, images=512, lr=0.01)
    options.add_argument("--target", default="bismo-edge")
    options.add_argument("--cost", default="energy", choices=("energy", "latency"))
    args = options.parse_args()
    store = Store(args.results, "second_reward")
    lines: list[str] = []
    for network in args.networks:
        case = Case(args, network, args.seeds[0])
        loss = case.sensitivity(store).loss
        settings = {"images": args.images, "test": args.test_images, "target": args.target, "cost": args.cost}
        given = store.cell(f"given {network}", settings, lambda c=case: given_of(c, args))
        lines += ["", f"### {network}, {args.target}, {args.cost}", ""]
        rows = []
        for drop in DROPS:
            for strategy in args.strategies:
                key = f"{network} {strategy} s{args.seeds[0]}"
                one = store.cell(key, settings, lambda c=case, s=strategy, t=loss: cell(c, s, args, t))
                row = one["rows"][f"{drop:g}"]
                head = [f"{100 * drop:g} points", *strategy.split(":"), one["designs"], f"{one['seconds']:.0f}"]
                if row is None:
                    rows.append([*head, "none", "", ""])
                else:
                    lost = 100 * (row["search_error"] - one["given_error"])
                    share = f"{row['cost'] / given['cost']:.3f}x"
                    rows.append([*head, share, f"{lost:.2f}", percent(row["test_accuracy"])])
        head = [
            "allowed",
            "strategy",
            "evaluations",
            "designs",
            "seconds",
            args.cost,
            "points lost, search split",
            "test accuracy",
        ]
        lines += table(head, rows)
        lines += ["", f"At 8 bits on the test split: {percent(given['test_accuracy'])}."]
    notes = [
        f"{args.images} images of the search split for every evaluation, one seed, nothing trained; {args.cost} as a "
        "share of that at 8 bits, simulated. Designs are those that differ: agents repeat some. Sensitivities, which "
        "the exact search starts from and the agents do not read, are not in the seconds.",
        "AMC's agent acts at random in its first hundred episodes, HAQ's in its first twenty.",
        "HAQ publishes no reward without a budget: its agent has AMC's here, with its own cost.",
    ]  # fmt: skip
    store.fragment("Accuracy-guaranteed: the exact search and two agents", lines, args.threads, notes)


def given_of(case: Case, args: Any) -> dict[str, Any]:
    """The network at 8 bits."""
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target

    space = case.subject.space
    cost = float(Pricing(space, get_target(args.target)).predict(space.reference, args.cost)[0])
    return {"cost": cost, "test_accuracy": case.test_accuracy(case.built(space.reference))}


if __name__ == "__main__":
    main()
