"""``python -m hubdeploy.hub.simulate [class] [day] [week] [--json]``."""

from __future__ import annotations

import argparse
import json
import sys

from hubdeploy.hub.simulate.report import compare, table
from hubdeploy.hub.simulate.traffic import SCENARIOS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hubdeploy.hub.simulate")
    parser.add_argument("scenario", nargs="*", default=[], help=", ".join(SCENARIOS))
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    options = parser.parse_args(arguments)
    names = options.scenario or list(SCENARIOS)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        parser.error(f"unknown scenario {unknown[0]}; known are {', '.join(SCENARIOS)}")
    answers = {}
    for name in names:
        comparison = compare(SCENARIOS[name]())
        answers[name] = comparison.as_json()
        if not options.json:
            sys.stdout.write(table(comparison) + "\n")
            sys.stdout.write(
                f"simulated in {comparison.fleet.seconds:.1f} s and "
                f"{comparison.tracking.seconds:.1f} s\n\n"
            )
    if options.json:
        sys.stdout.write(json.dumps(answers, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
