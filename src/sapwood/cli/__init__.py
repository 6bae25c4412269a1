"""The command line. This file starts it, and ends it in one line when something given to it cannot be used."""

import sys

from sapwood.errors import InputError


def main() -> None:
    """What the command `sapwood` runs. Exit status 2: bad input; 1: something failed; 130: stopped by Ctrl-C."""
    try:
        from sapwood.cli.verbs import app

        app(prog_name="sapwood")
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich", "matplotlib", "jinja2", "scipy"):
            raise
        _give_up(f'the command line needs {missing.name}; run: pip install "sapwood[study]"')
    except InputError as error:
        _give_up(str(error))


def _give_up(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
