"""Where a long recording is split: reads and writes the worker's `cuts.json`, which the job's record keeps.

Only workers interpret its contents (`workerproc/checkpoints/split_file.py`). The broker stores them in the
record with writes that it makes anyway, and writes them into the job folder of whichever host resumes the
job, so that the parts of a recording stay the same. If they are lost, the recording is split anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from supervisor.broker.ports.streams import spool_errors
from supervisor.broker.rules.record_rules import Cuts
from supervisor.contract import job_folder
from supervisor.contract.job_folder import SplitPointsFile


def read(folder: Path) -> Optional[Cuts]:
    """Read the split points that a worker left in the job folder; None where there are no valid ones."""
    try:
        with open(folder / job_folder.SPLIT_POINTS, "rb") as file:
            data = file.read(job_folder.SPLIT_POINTS_BYTES_MOST + 1)
    except OSError:
        return None
    found = job_folder.read_split_points(data)
    return None if found is None else Cuts(found.of, found.at)


def write(cuts: Cuts, folder: Path) -> None:
    """Write the record's split points into the folder of a job that is started again. Raises TryLater."""
    path = folder / job_folder.SPLIT_POINTS
    with spool_errors(path):
        path.write_bytes(job_folder.write_split_points(SplitPointsFile(cuts.of, cuts.at)))
