"""The cost of one study: processor seconds and peak memory, measured in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from benchmarks.phantom.findings import Section, at_most

SECONDS, MEGABYTES = 1.5, 400.0

PROGRAM = """
import json, re, sys, tempfile, time
from pathlib import Path
from lumbar_kernel.phantom import dataset_study, make_truth, write_study
seconds = {"images": [], "files": [], "geometry": []}
for index in range(int(sys.argv[1])):
    times = [time.process_time()]
    phantom = dataset_study(909, index)
    times.append(time.process_time())
    with tempfile.TemporaryDirectory() as folder:
        write_study(phantom, Path(folder))
    times.append(time.process_time())
    make_truth(index)
    times.append(time.process_time())
    for name, begin, end in zip(seconds, times, times[1:]):
        seconds[name].append(end - begin)
# ru_maxrss would count the parent's memory too: Linux carries it over from before the exec
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(json.dumps({"seconds": seconds, "megabytes": int(peak) / 1024}))
"""


def cost(*, studies: int) -> Section:
    """Median seconds of one core and the peak memory of a process that makes and writes studies one by one."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(studies)], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    seconds = {name: np.array(values) for name, values in measured["seconds"].items()}
    whole, geometry = seconds["images"] + seconds["files"], float(np.median(seconds["geometry"]))
    note = f"{studies} studies; mean {whole.mean():.2f}, of which writing files {seconds['files'].mean():.2f}"
    return Section(
        "Cost of a study",
        (
            at_most("images, truth and files, processor seconds, median", float(np.median(whole)), SECONDS, note),
            at_most("truth alone, processor seconds, median", geometry, SECONDS / 3),
            at_most("peak memory, MB", measured["megabytes"], MEGABYTES),
        ),
    )
