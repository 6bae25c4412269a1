"""A pool whose parent can be killed: `python orphans.py FOLDER` starts two workers, which write down who they are."""

import os
import sys
import time
from pathlib import Path

from sapwood.trials.pool import processes


def job(item, tell):
    """Writes its process down, then works for some seconds; the last file would be half of something."""
    seconds, mark = item
    Path(mark).write_text(str(os.getpid()))
    time.sleep(seconds)
    tell(mark)
    Path(f"{mark}.over").write_text("")


if __name__ == "__main__":
    folder = sys.argv[1]
    for (_, mark), _ in processes(2)(job, [(0, f"{folder}/idle"), (300, f"{folder}/busy")], print):
        Path(f"{mark}.seen").write_text("")
