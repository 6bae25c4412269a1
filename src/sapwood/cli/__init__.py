"""The command line. This file starts it, and ends it in one line when something given to it cannot be used."""

import sys
import traceback
from typing import Any, NoReturn

from sapwood.errors import InputError
from sapwood.extras import absent

SWITCH = "--traceback"


def main() -> None:
    """What the command `sapwood` runs.

    Exit status 2: bad input; 1: something failed; 130 and 143: stopped by Ctrl-C and by SIGTERM. With --traceback
    anywhere among the words, an error says where in the code it arose.
    """
    words = [word for word in sys.argv[1:] if word != SWITCH]
    _in_any_letters()
    try:
        sys.exit(_carried_out(words))
    except (Exception, KeyboardInterrupt) as error:
        status, said = _ending(error)
        if SWITCH in sys.argv[1:]:
            traceback.print_exc()
        _give_up(said, status)


def _in_any_letters() -> None:
    """A terminal that cannot show a letter gets a question mark in its place."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _carried_out(words: list[str]) -> Any:
    """The exit status of what was typed, or None."""
    from sapwood.cli import typed, verbs

    typed.verb(words, [info.name or info.callback.__name__ for info in verbs.app.registered_commands if info.callback])
    try:
        return verbs.app(words, prog_name="sapwood", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own are about usage
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return 2
        if words[0] in ("run", "report"):  # an option of a method after its name: the name is what is wrong
            from sapwood.study.study import refuse_method

            refuse_method(next((word for word in words[1:] if not word.startswith("-")), ""))
        raise InputError(typed.in_words(error)) from error


def _ending(error: BaseException) -> tuple[int, str]:
    """The exit status for an error, and the line that says what is wrong."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, ModuleNotFoundError) and isinstance(found := absent(error, "the command line"), InputError):
        return 2, str(found)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # what no reader or writer puts in words
        return 2, f"cannot use {error.filename or 'a file'}: {error.strerror or error}; look after it and try again"
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return 130, "stopped"
    said = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "allocate memory" in said:
        return 2, "there is not enough memory for this; give a smaller example, or free some"
    return 1, f"{type(error).__name__}: {said[:300]} (a fault of sapwood's; with {SWITCH} it says where)"


def _give_up(message: str, status: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
