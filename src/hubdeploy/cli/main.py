"""The ``hubdeploy`` command: builds the application and turns errors into lines and exit codes."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from hubdeploy.cli.help import Group
from hubdeploy.cli.output import show_error
from hubdeploy.errors import HubdeployError, Interrupted

app = typer.Typer(
    cls=Group,
    name="hubdeploy",
    help="An autoscaling JupyterHub on AWS, rehearsed on one machine first.\n\n"
    "Start with: hubdeploy up --sandbox",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    "init",
    "up",
    "plan",
    "status",
    "scale",
    "down",
    "doctor",
    "logs",
    "ssh",
    "run",
    "open_",
    "cookbooks",
    "chef",
    "policy",
    "config",
    "secret",
)
"""Modules of ``hubdeploy.cli.commands`` in the order of the help; each has ``register(app)``."""


def _version(wanted: bool) -> None:
    if not wanted:
        return
    from hubdeploy.config.build import build_info

    typer.echo(build_info())
    raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Version and build."
    ),
    debug: bool = typer.Option(False, "--debug", help="Tracebacks, and every AWS call on stderr."),
) -> None:
    del version
    if debug:
        import logging

        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        logging.getLogger("hubdeploy").setLevel(logging.DEBUG)


for _name in COMMANDS:
    import_module(f"hubdeploy.cli.commands.{_name}").register(app)


def main() -> None:
    """Entry point: exit code 0 done, 1 failed, 2 usage, 130 interrupted."""
    debug = "--debug" in sys.argv[1:]
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        show_error(_usage(error))
        sys.exit(2)
    except HubdeployError as error:
        if debug:
            raise
        show_error(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        show_error(Interrupted())
        sys.exit(130)
    except BrokenPipeError:
        # whoever read our output has seen enough (`hubdeploy logs | head`)
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        show_error(HubdeployError(f"{where}{error.strerror or error}", hint="--debug shows more"))
        sys.exit(1)


def _usage(error: typer.TyperException) -> HubdeployError:
    """A wrong option or argument, in one line as any other mistake."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "hubdeploy"
    message = error.format_message().rstrip(".")
    return HubdeployError(f"{command}: {message}", hint=f"{command} --help")


if __name__ == "__main__":
    main()
