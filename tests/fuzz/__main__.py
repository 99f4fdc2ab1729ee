"""Tries command lines and counts what goes wrong: ``python -m tests.fuzz --count 5000 --seed 1``."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .command_lines import command_line
from .oracles import faults, template
from .running import run_as_process, run_in_process
from .trying import describe, prepare


def main() -> int:
    """Try the lines; print each fault and the counts; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="lines, default 500")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="N", help="this line alone, whose outcome is printed")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin at this line")
    parser.add_argument("--processes", action="store_true", help="each line as a command of its own")
    parser.add_argument("--errors", action="store_true", help="print a line for every kind of error")
    parser.add_argument("--limit", type=float, default=30.0, metavar="S", help="seconds for a line")
    options = parser.parse_args()
    run = run_as_process if options.processes else run_in_process
    kinds: Counter[str] = Counter()
    errors: dict[str, tuple[int, str]] = {}
    ended: Counter[str] = Counter()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        prepare(folder)
        numbers = [options.only] if options.only is not None else range(options.first, options.first + options.count)
        for number in numbers:
            line = command_line(options.seed, number)
            outcome = run(line, folder, options.limit)
            ended["accepted" if outcome.status == 0 else "refused" if outcome.status == 1 else "other"] += 1
            if outcome.status == 1:
                key = template(outcome.err)
                errors[key] = (errors.get(key, (0, ""))[0] + 1, outcome.err.strip())
            if options.only is not None:
                print(describe(line, outcome), outcome.out, outcome.err, outcome.raised, sep="\n")
            for kind, details in faults(outcome):
                kinds[kind] += 1
                print(f"{kind}: {details}\n    {describe(line, outcome)}", flush=True)
    if options.errors:
        for count, text in sorted(errors.values(), reverse=True):
            print(f"{count:5d} {text[:400]}")
    print(f"{sum(ended.values())} lines in {time.monotonic() - begin:.0f} s: {dict(ended)}; faults: {dict(kinds)}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
