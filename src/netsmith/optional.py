"""Optional packages: one place that imports them and says what to install when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from netsmith.errors import InputError


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, which comes with the extra ``extra``.

    Raises:
        InputError: it is not installed, or it is installed but does not import here.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        needs = "is" if missing == package else f"needs {missing}, which is"
        raise InputError(f"{package} {needs} not installed: pip install 'netsmith[{extra}]'") from error
    except Exception as error:  # a broken binary package raises whatever it likes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        # the operators of torchvision's library, absent when it was built for another torch, show up under its name
        culprit = "torchvision" if "torchvision::" in reason else package
        raise InputError(
            f"{package} is installed but does not import ({reason}): install the build of {culprit} that matches this "
            "torch, from the same place"
        ) from error
