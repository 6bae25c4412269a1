"""How long `sapwood --help` takes, beside `import torch`: it must stay under half of it.

Each command runs in a process of its own, the two in turn, after one round that is not counted. What counts is the
time the processor worked on it, so that other processes on the machine matter little.
"""

import os
import subprocess
import sys
from statistics import median

ROUNDS = 7
COMMANDS = {
    "sapwood --help": ("-c", "from sapwood.cli import main; main()", "--help"),
    "import torch": ("-c", "import torch"),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """How long the processor works on Python with these arguments, start and end included."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def medians(rounds: int = ROUNDS) -> dict[str, float]:
    """The median seconds of each command over `rounds` rounds."""
    times = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(rounds + 1)][1:]
    return {name: median(each[name] for each in times) for name in COMMANDS}


if __name__ == "__main__":
    found = medians()
    for name, value in found.items():
        print(f"{name:16}{value:8.3f} s")
    ratio = found["sapwood --help"] / found["import torch"]
    print(f"{'ratio':16}{ratio:8.3f}   (median of {ROUNDS}; must be below 0.5)")
    sys.exit(ratio >= 0.5)
