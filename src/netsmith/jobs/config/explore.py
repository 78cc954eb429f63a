"""The options of explore."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from netsmith.errors import InputError
from netsmith.jobs.config.base import DATA, TASK, Config, seed_field, weights_field
from netsmith.jobs.config.groups import Images
from netsmith.jobs.config.methods import METHODS, HasMethods, Method, Quantize
from netsmith.jobs.config.places import check_data, check_file, check_model
from netsmith.schema import parameter
from netsmith.usercode import FORMS

if TYPE_CHECKING:
    from netsmith.hardware.target import Target


@dataclass(frozen=True)
class ExploreConfig(HasMethods, Config):
    """Price configurations of a hardware family, each with the network that suits it best at equal loss."""

    model: Any = parameter(FORMS, metavar="MODEL")
    data: Any = parameter(DATA)
    family: str = parameter("of simulated hardware: bitfusion, bismo, systolic, roofline, microcontroller")
    vary: str = parameter(
        "fields and their values: rows=8..32 (doubling), rows=8..32:8 (steps), rows=8/16/32; several with commas",
        metavar="FIELD=VALUES,...",
    )
    target: str | None = parameter(
        "configuration whose other fields are taken; default is that of the family's name", default=None
    )
    minimize: Literal["latency", "energy"] = parameter("what is compared", default="latency")
    max_loss: float | None = parameter(
        "summed loss that every network may have; default is that of the best uniform choice that saves half of what "
        "can be saved on the configuration that is varied", "nats", default=None, low=0,
    )  # fmt: skip
    methods: tuple[Method, ...] = parameter(
        "quantize, prune, or both with a comma", default=(Quantize(),), panel="Search"
    )
    weights: str | None = weights_field()
    task: Any = parameter(TASK, default="classification", panel="Data")
    images: Images = dataclasses.field(default_factory=Images)
    seed: int = seed_field()

    def check(self) -> None:
        if not self.methods or any(m.bytes_alone for m in self.methods):
            known = [name for name, method in METHODS.items() if not method.bytes_alone]
            raise InputError(f"--methods of explore must change time or energy; give one or more of {', '.join(known)}")
        self.configurations()
        check_model("MODEL", self.model)
        check_data(self.data, self.task)
        check_file("--weights", self.weights)

    def base(self) -> Target:
        """The configuration that is varied.

        Raises:
            InputError: no such family, or a target that is none of it.
        """
        from netsmith.hardware.simulated.families import family, family_names, packaged_of
        from netsmith.hardware.target import get_target, settings_of

        name = self.family
        if name not in family_names():
            if name.partition(":")[0] in ("cpu", "table", "predictor"):
                raise InputError(
                    f"--family {name}: what was measured is one device, whose parts nobody can vary; name a simulated "
                    f"family, one of {', '.join(family_names())}"
                )
            family(name, "--family")
        given = self.target
        if given is None:
            known = packaged_of(name)
            given = name if name in known or not known else known[0]
            if name not in known and len(known) != 1:
                raise InputError(
                    f"--family {name} has no configuration of that name; say with --target which to vary: "
                    f"{', '.join(known) or 'FILE.toml'}"
                )
        found = get_target(given)
        if found.capabilities.measured or settings_of(found).get("family") != name:
            own = settings_of(found).get("family")
            what = f"of the family {own}" if own else "measured, so that nobody can vary its parts"
            raise InputError(
                f"--target {given} is {what}; give a configuration of {name}: {', '.join(packaged_of(name))}, or a "
                "FILE.toml"
            )
        return found

    def configurations(self) -> list[tuple[dict[str, Any], Target]]:
        """Every configuration, the values that make it by the words of ``--vary``, and the target.

        Raises:
            InputError: a field or a value that is none, or configurations that run other widths than the base.
        """
        from netsmith.hardware.simulated.families import family
        from netsmith.hardware.simulated.vary import field_names, grid, read_vary

        values, base = read_vary(self.vary), self.base()
        config, target_class = family(self.family).classes()
        names = field_names(config, list(values), "--vary")
        found = []
        for changes, made in grid(base.config, {names[word]: several for word, several in values.items()}):  # type: ignore[attr-defined]
            target = target_class(made)
            target.name = ",".join(f"{name}={value}" for name, value in changes.items())
            if set(target.capabilities.bits) != set(base.capabilities.bits):
                raise InputError(
                    f"--vary: with {target.name} other widths have kernels than on {base.name}, and costs at equal "
                    "loss are compared over the same designs; vary other fields, or explore each set of widths alone"
                )
            found.append((changes, target))
        return found
