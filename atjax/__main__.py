"""``python -m atjax``: which programs there are; ``python -m atjax search ...`` is ``python -m atjax.search ...``."""

from __future__ import annotations

import difflib
import runpy
import sys

PROGRAMS = {
    "describe": "what is understood of a task, with a picture of its graphs",
    "search": "search a good GNN for a task, and save it",
    "predict": "what the model that was found says of new graphs",
    "report": "one table of many searches",
    "embed": "a task's Fisher feature, and the tasks like it",
    "build_bank": "train designs into a bank of your own",
    "bank": "look at banks, check, merge and export them",
}
"""The programs and what they are for, in the order in which one meets them."""


def main() -> int:
    """List the programs, or run the one that is named; returns the exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in PROGRAMS:
        del sys.argv[1]
        runpy.run_module(f"atjax.{name}", run_name="__main__", alter_sys=True)
        return 0
    if name not in ("-h", "--help"):
        near = difflib.get_close_matches(name, PROGRAMS, n=1)
        question = f" (did you mean {near[0]}?)" if near else ""
        print(f"atjax: There is no program {name!r}{question}; choose from {', '.join(PROGRAMS)}.", file=sys.stderr)
        return 2
    print("AutoML for graph neural networks that learns from earlier tasks.\n\nUsage: python -m atjax.PROGRAM ...\n")
    for program, purpose in PROGRAMS.items():
        print(f"  {program:<12}{purpose}")
    print("\npython -m atjax.PROGRAM --help says more; to begin with, try python -m atjax.search.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
