"""`gpurun`: the command table, and errors to exit codes. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.exceptions import TyperException

    from launcher.errors import GpurunError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("launcher.commands.init", "Write a commented gpurun.yaml."),
    "launch": ("launcher.commands.launch", "Run a spec or a script on the cheapest machine that fits."),
    "sync": ("launcher.commands.sync", "List what a launch would send, and warn of surprises."),
    "status": ("launcher.commands.status", "Show runs, and the truth about their machines."),
    "logs": ("launcher.commands.logs", "Print a run's log; -f follows it."),
    "ssh": ("launcher.commands.ssh", "Open a shell on a run's machine."),
    "stop": ("launcher.commands.stop", "Stop a run's job gently, fetch its results, end its machine."),
    "down": ("launcher.commands.down", "End a run's machine now."),
    "resume": ("launcher.commands.resume", "Go on with a run that lost its launcher, or was detached."),
    "fetch-weights": (
        "launcher.commands.fetch_weights",
        "Bring weights home: during a run, after it, or again.",
    ),
    "compare-cpu-gpu": (
        "launcher.commands.compare_cpu_gpu",
        "Run a job on CPU and GPU: what does the GPU buy?",
    ),
    "weights": (
        "launcher.commands.weights",
        "Keep weights as versions: list, add, promote, roll back, compare, export.",
    ),
    "offers": ("launcher.commands.offers", "List machines that fit, with live prices."),
    "cost": ("launcher.commands.cost", "Sum up what runs have cost."),
    "gc": ("launcher.commands.gc", "Find and remove what no run owns, from tags alone."),
    "doctor": ("launcher.commands.doctor", "Check credentials, permissions, quotas, keys and clock."),
    "schedule": ("launcher.commands.schedule", "Train again by the clock, or when data is new."),
    "ami": ("launcher.commands.ami", "Bake, share and prune machine images that boot ready."),
    "sandbox": ("launcher.commands.sandbox", "Start, stop and torment the cloud on this machine."),
}
GROUPS = {"ami", "sandbox", "schedule", "weights"}

_HEAD = "gpurun takes a training script from a laptop to the cheapest AWS spot GPU and brings verified weights back."


def main() -> None:
    """The console script; never returns."""
    arguments = sys.argv[1:]
    _open_standard_files()
    completing = "_GPURUN_COMPLETE" in os.environ
    if not completing and (not arguments or arguments in (["--help"], ["-h"])):
        sys.stdout.write(root_help())
        raise SystemExit(0)
    raise SystemExit(run(arguments))


def _open_standard_files() -> None:
    """A caller may have closed them (`>&-`): whatever is written then goes nowhere."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115


def root_help() -> str:
    """The text of `gpurun --help`, from the table alone."""
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:<{width}}{text}" for name, (_, text) in COMMANDS.items())
    return (
        f"Usage: gpurun COMMAND [OPTIONS]\n\n{_HEAD}\n\nCommands:\n{rows}\n\n"
        "Options:\n"
        "  --version             Print the version.\n"
        "  --install-completion  Install completion for the current shell.\n"
        "  --show-completion     Print the completion script of the current shell.\n"
        "  --help                This text; gpurun COMMAND --help for a command's own.\n\n"
        "Start here: gpurun launch --sandbox jobs/digits.yaml, or gpurun doctor with an AWS account.\n"
    )


def run(arguments: list[str]) -> int:
    """Run a command line; errors become one clear message and the exit code of their kind."""
    from launcher.errors import GpurunError

    try:
        return _dispatch(arguments)
    except GpurunError as error:
        _tell(error, arguments)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except BrokenPipeError:
        # The reader of our pipe left, as `head` does: not an error, but stdout must not be flushed at exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - a bug of ours: a user gets a file to send, not a traceback
        from launcher.crash import report

        sys.stderr.write(report(error, arguments))
        return 1


def _dispatch(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from launcher import __version__

        sys.stdout.write(f"gpurun {__version__}\n")
        return 0
    if arguments[:1] == ["status"] and set(arguments[1:]) <= {"--json", "--all"}:
        # The one command that scripts and prompts call all day: typer alone costs it 80 ms.
        from launcher.commands import standing

        return standing.show(None, as_json="--json" in arguments, everything="--all" in arguments)
    return _click(arguments)


def _click(arguments: list[str]) -> int:
    import typer
    from typer.exceptions import TyperException

    from launcher.commandline import root

    try:
        result = root(COMMANDS, GROUPS, _HEAD)(arguments, prog_name="gpurun", standalone_mode=False)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        sys.stderr.write("aborted: nothing was done\n")
        return 130
    except TyperException as error:
        return _usage(error)
    return result if isinstance(result, int) else 0


def _usage(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "gpurun"
    sys.stderr.write(f"error: {error.format_message()}\n  next: {path} --help\n")
    return 2


def _tell(error: GpurunError, arguments: list[str]) -> None:
    if "--json" in arguments:
        import json

        problems = list(getattr(error, "problems", ()))
        told = {
            "type": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "problems": problems,
        }
        sys.stdout.write(json.dumps({"event": "error", "exit_code": error.exit_code, **told}) + "\n")
        return
    for problem in getattr(error, "problems", ()):
        if problem != error.message:
            sys.stderr.write(f"{problem}\n")
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"  next: {error.hint}\n")


def load(name: str) -> object:
    """The module of a command."""
    return import_module(COMMANDS[name][0])


if __name__ == "__main__":
    main()
