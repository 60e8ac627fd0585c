"""Results of searches made by hand."""

import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from rich.console import Console

from atjax.report.tables import print_summary
from atjax.space import ANCHORS, paper_space

HOSTILE = '--><script>alert(1)</script><img src="http://evil.example/x"> $\\frac{1 id="figure_1" {{ 7*7 }}'
ODD = "\x01$\\frac{$"
DESIGNS = [design for _, design in zip(range(40), paper_space())]


def trial(number: int, validation: float | None, test: float | None = None, **changes: Any) -> dict[str, Any]:
    """A trial; without a validation score it has failed."""
    complete = validation is not None
    curve = {"epoch": [20, 40], "train_loss": [0.7, 0.6], "validation": [0.5, validation], "test": [0.5, test]}
    return {
        "number": number,
        "design": DESIGNS[number].as_dict(),
        "state": "complete" if complete else "failed",
        "reason": None if complete else "the device ran out of memory.",
        "validation": validation,
        "validation_loss": None,
        "test": test,
        "epoch": 40 if complete else None,
        "parameters": 1234 + number,
        "seconds": 1.5 + number,
        "compile_seconds": 0.5,
        "curve": curve if complete else None,
    } | changes


def result(*trials: dict[str, Any], best: int | None = 0, **changes: Any) -> Any:
    """A result with these trials, the best being that number."""
    chosen = next((t for t in trials if t["number"] == best), None)
    fields = ("number", "design", "validation", "test", "epoch", "parameters")
    space = paper_space()
    return {
        "task": {
            "name": "cox2",
            "level": "graph",
            "metric": "accuracy",
            "loss": "cross_entropy",
            "content_hash": "ab" * 32,
            "graphs": 467,
            "nodes": 19252,
            "edges": 40578,
            "features": 35,
            "classes": 2,
            "examples": {"train": 373, "validation": 47, "test": 47},
            "notes": ["Node labels are one-hot features."],
        },
        "seed": 0,
        "algorithm": "random",
        "prior_source": "transfer",
        "prior_reason": "2 tasks are within distance 0.2.",
        "space": "paper",
        "budget": {"name": "quick", "hidden": {"64": 16, "256": 64}, "epochs_scale": {"graph": 0.05}},
        "best": None if chosen is None else {field: chosen[field] for field in fields},
        "trials": list(trials),
        "embedding": {
            "anchors": [anchor.key for anchor in ANCHORS],
            "values": {"alpha": [[2.0 + index, 4.0 + index] for index in range(12)]},
            "feature": [12**-0.5] * 12,
            "vector": [0.25] * 16,
            "nearest": [
                {"task": "bzr", "distance": 0.05, "weight": 0.75},
                {"task": "dd", "distance": 0.15, "weight": 0.25},
                {"task": "cora", "distance": 0.9, "weight": 0.0},
            ],
        },
        "prior": {name: {str(c): p for c, p in choices.items()} for name, choices in space.uniform().items()},
        "seconds": {"data": 0.2, "feature": 12.0, "prior": 0.01, "search": 30.0, "total": 42.21},
        "versions": {"jax": "0.10.0", "atjax": "0.1.0"},
        "device": "cpu",
        "state": "complete",
    } | changes


THREE = (trial(0, 0.80, 0.70), trial(1, 0.85, 0.60), trial(2, 0.82, 0.95))


def printed(console_result: Any, folder: Path, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_summary(console, console_result, folder)
    return console.file.getvalue()  # type: ignore[attr-defined]


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.words += data
