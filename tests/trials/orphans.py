"""A pool whose parent can be killed: `python orphans.py FOLDER [ray]` starts two workers, which say who they are."""

import os
import sys
import time
from pathlib import Path

from sapwood.trials.on_ray import on_ray
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
    pool = on_ray(2) if sys.argv[2:] == ["ray"] else processes(2)
    for (_, mark), _ in pool(job, [(0, f"{folder}/idle"), (300, f"{folder}/busy")], print):
        Path(f"{mark}.seen").write_text("")
