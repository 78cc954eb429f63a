"""The commands. No logic: options in, one call of a job, its result shown.

Jobs are imported inside the commands, so that ``--help`` does not wait for torch.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
import warnings
from typing import Any, NoReturn

import typer

# in the order of the help: importing a module adds its commands
from netsmith.cli import commands, hardware, runs  # noqa: F401
from netsmith.cli.shared import app
from netsmith.cli.words import given_twice, spread, usage_sentence, valued
from netsmith.errors import InfeasibleError, InputError, NetsmithError, one_line
from netsmith.jobs.config.front import USUAL

INTERRUPTED = 130
_MOST = 2000  #: characters of a message
#: typer carries a click of its own or uses the installed one; either way its errors derive from this
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    The code is 0 if all is well, 2 for bad input, 3 for a budget that is infeasible or not met, 70 for a fault of
    netsmith and 130 if it was interrupted.
    """
    arguments = spread(sys.argv[1:] if arguments is None else arguments, "--targets")
    arguments = valued(arguments, "--front", str(USUAL))
    as_json = "--json" in arguments
    if not sys.warnoptions:  # what libraries tell their developers is not for users; python -W brings it back
        for category in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
    if twice := given_twice(arguments, "--targets"):
        _fail(f"{twice} is given twice; give it once", InputError.exit_code, as_json)
    try:
        code = app(args=arguments, prog_name="netsmith", standalone_mode=False)
        _flush()
    except NetsmithError as error:
        reachable = error.reachable if isinstance(error, InfeasibleError) else {}
        _fail(str(error), error.exit_code, as_json, {"reachable": reachable} if reachable else {})
    except _UsageError as error:
        _fail(usage_sentence(error), InputError.exit_code, as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        sys.stderr.close()
        sys.exit(1)
    except (Exception, SystemExit) as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich ends so when what it prints is not read to its end
            sys.stderr.close()
            sys.exit(1)
        from netsmith.cli.fault import FAULT_CODE, sentence

        _fail(sentence(error, arguments), FAULT_CODE, as_json)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code
        _fail(f"interrupted; {_how_to_go_on(arguments)}", INTERRUPTED, as_json, prefix="")
    sys.exit(code if isinstance(code, int) else 0)


def _how_to_go_on(arguments: list[str]) -> str:
    """``--resume`` for the commands that have it."""
    known = [c.callback for c in app.registered_commands if c.callback is not None]
    resumed = {command.__name__ for command in known if "resume" in inspect.signature(command).parameters}
    word = next((a for a in arguments if not a.startswith("-")), "")
    return "continue with --resume" if word in resumed else "repeat the command; layers that were measured are kept"


def _flush() -> None:
    """Write what stands in the buffer now, as an error of the interpreter's own at its end is no sentence."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(
            f"standard output cannot be written ({error.strerror or error}); free some space or choose another file"
        ) from error


def _fail(
    message: str, code: int, as_json: bool, more: dict[str, Any] | None = None, prefix: str = "error: "
) -> NoReturn:
    message = one_line(message, _MOST)  # names of files and layers may hold anything
    if as_json:
        try:
            print(json.dumps({"error": message, "exit_code": code} | (more or {})), flush=True)
        except OSError:  # nothing goes there any more, not what is in the buffer either
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        print(f"{prefix}{message}", file=sys.stderr)
    sys.exit(code)
