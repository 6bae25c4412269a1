"""The command line. This file starts it, and ends it in one line when something given to it cannot be used."""

import sys

from sapwood.errors import InputError
from sapwood.extras import absent, installs


def main() -> None:
    """What the command `sapwood` runs.

    Exit status 2: bad input; 1: something failed; 130 and 143: stopped by Ctrl-C and by SIGTERM.
    """
    try:
        from sapwood.cli.verbs import app

        app(prog_name="sapwood")
    except ModuleNotFoundError as missing:
        if installs(missing.name or "") is None:
            raise
        _give_up(str(absent(missing, "the command line")))
    except InputError as error:
        _give_up(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:  # whatever no reader or writer has put in words
        _give_up(f"cannot use {error.filename or 'a file'}: {error.strerror or error}; look after it and try again")


def _give_up(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
