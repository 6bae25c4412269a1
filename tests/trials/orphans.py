"""A pool whose parent can be killed: `python orphans.py FOLDER [ray]` starts two workers, which say who they are."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy import saved_in, small

from sapwood.trials.on_ray import on_ray
from sapwood.trials.pool import processes


def job(mark, tell):
    """Writes its process down; the busy one in the middle of a trial that was saved, and is never over."""
    mark = Path(mark)

    def telling(news):
        if news.text.startswith("epoch 1"):
            mark.write_text(str(os.getpid()))
            time.sleep(300)

    if mark.name == "busy":
        saved_in(mark.with_name("trial"), small(), telling)
    mark.write_text(str(os.getpid()))
    tell(mark)
    mark.with_suffix(".over").write_text("")


if __name__ == "__main__":
    folder = sys.argv[1]
    pool = on_ray(2) if sys.argv[2:] == ["ray"] else processes(2)
    for mark, _ in pool(job, [f"{folder}/idle", f"{folder}/busy"], print):
        Path(f"{mark}.seen").write_text("")
