"""What the files of a set say, before a task is made of it: the form in which it is verified and cached."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from atjax.sources.cache import Entry
from atjax.task import Graphs


@dataclass(frozen=True)
class Parsed:
    """A parsed set.

    Attributes:
        graphs: Its graphs, with the features that its files give.
        arrays: What else there is for nodes or graphs, such as labels, by name.
        notes: What was dropped, and where features come from.
        content: Hash over all but the notes, by which a set is recognised.
    """

    graphs: Graphs
    arrays: Mapping[str, np.ndarray]
    notes: tuple[str, ...]
    content: str

    def entry(self) -> Entry:
        """The same as plain arrays, for `atjax.sources.cache`."""
        arrays = {f"arrays.{key}": array for key, array in self.arrays.items()}
        facts: dict[str, object] = {"notes": self.notes, "content": self.content}
        for field in dataclasses.fields(self.graphs):
            value = getattr(self.graphs, field.name)
            if sparse.issparse(value):
                facts[f"shape of {field.name}"] = value.shape
                arrays |= {f"csr.{field.name}.{part}": getattr(value, part) for part in ("data", "indices", "indptr")}
            elif value is not None:
                arrays[f"graphs.{field.name}"] = value
        return Entry(arrays, facts)

    @classmethod
    def from_entry(cls, entry: Entry) -> Parsed:
        """Undo `entry`."""
        fields, extra = _group(entry.arrays, "graphs."), _group(entry.arrays, "arrays.")
        matrices = _group(entry.arrays, "csr.")
        for name in {key.partition(".")[0] for key in matrices}:
            parts = tuple(matrices[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
            fields[name] = sparse.csr_matrix(parts, shape=tuple(entry.facts[f"shape of {name}"]))
        return cls(Graphs(**fields), extra, tuple(entry.facts["notes"]), entry.facts["content"])


def _group(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
