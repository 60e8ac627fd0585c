"""The table in Markdown and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from entries import LEVEL

from atjax.atomic import write_text

matplotlib.use("Agg")
import matplotlib.pyplot as plt

KEY = ["feature", "view", "anchors"]
BANKS = {"embedded": "The embedded bank", "graphgym": "GraphGym's grid"}

READING = """The score is the mean over tasks of Kendall's tau-b between the similarities of a task to the others by \
feature and by performance (paper, Figure 4c); ± is the deviation over tasks and draws. *Spread*: deviation of the \
score over 10 draws of what is random (initialisations, drawn with replacement; seeds of the projection; ties; the \
split, where features of several seeds stand). *95%*: bootstrap over tasks within levels. *Within*: the same score \
from pairs of tasks of one level only, so that node against graph says nothing. *Null*: 5 to 95% of the scores with \
the features shuffled among the tasks of one level (projections are trained anew). *p*: one-sided against it. \
*Holm*: for all statistics and views tried on this bank; *max*: by the null of the largest (Westfall and Young), \
where all of them have one. In brackets, what a feature was made with: plans of `features.py` (`few`: two \
initialisations, at most 256 passes for graphs and 48 for nodes, graphs by `exact` and nodes by `sign_sketch`; \
`swapped`: the other way round), or the alphas that the embedded `bank` holds, which are of split 0 as all others but \
those of `other split`, 1, and `first_losses` [alpha], 0 and 1."""


def number(value: float, digits: int = 2) -> str:
    """Empty for NaN; no negative zeros."""
    return "" if np.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def chance(p: float) -> str:
    """A p value, to two digits; empty for NaN."""
    return "" if np.isnan(p) else f"{p:.2g}"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Markdown."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row[name] for name in head) + " |" for row in rows)]) + "\n"


def row(entry: pd.Series) -> dict[str, str]:
    """A scored entry as cells."""
    band = f"{number(entry['null_low'])} to {number(entry['null_high'])}" if not np.isnan(entry["null_low"]) else ""
    return {
        "feature": entry["feature"],
        "compared by": entry["view"],
        "anchors": entry["anchors"],
        "score": f"{number(entry['score'])} ± {number(entry['over_tasks'])}",
        "spread": number(entry["spread"]),
        "95%": f"{number(entry['low'])} to {number(entry['high'])}",
        "within": number(entry["within"]),
        "null": band,
        "p": chance(entry["p"]),
        "Holm": chance(entry["p_holm"]),
        "max": chance(entry["p_max"]),
    }


def by_anchors(frame: pd.DataFrame, count: int = 6) -> str:
    """Scores by number of anchors, of the paper's statistic and of those that do best with all."""
    scored = frame[frame["kind"].isin(["statistic", "anchors"])]
    fewer = scored[scored["kind"] == "anchors"][["feature", "view"]].drop_duplicates()
    whole = scored[scored["kind"] == "statistic"].merge(fewer)
    if not len(whole):
        return ""
    papers = whole[whole["feature"].str.match(r"alpha( |$)")]
    shown = pd.concat([papers, whole.nlargest(count, "score")]).drop_duplicates(["feature", "view"])
    rows = []
    for _, entry in shown.iterrows():
        same = scored[(scored["feature"] == entry["feature"]) & (scored["view"] == entry["view"])]
        cells = {
            name: f"{number(s)} ± {number(d)}" for name, s, d in zip(same["anchors"], same["score"], same["over_tasks"])
        }
        names = [name for n in (3, 6, 9) for name in (f"first {n}", f"any {n}")]
        rows.append(
            {"feature": entry["feature"], "compared by": entry["view"]}
            | {name: cells.get(name, "") for name in names}
            | {"all": cells[entry["anchors"]]}
        )
    return table(rows)


def confirmed(frames: Mapping[str, pd.DataFrame]) -> str:
    """The best statistic of one bank, looked up on the other: a single test, not in need of correction."""
    rows = []
    for chosen, other in ((a, b) for a in frames for b in frames if a != b):
        both = frames[chosen].merge(frames[other], on=KEY, suffixes=("", "_other"))
        both = both[both["kind"] == "statistic"]
        for label, part in (
            ("without projection", both[~both["view"].str.startswith("projection")]),
            ("with", both[both["view"].str.startswith("projection")]),
        ):
            if not len(part):
                continue
            best = part.loc[part["score"].idxmax()]
            rows.append(
                {
                    "chosen on": chosen,
                    "among": f"{len(part)} {label}",
                    "feature": best["feature"],
                    "compared by": best["view"],
                    "score there": number(best["score"]),
                    "confirmed on": other,
                    "score": f"{number(best['score_other'])} ± {number(best['over_tasks_other'])}",
                    "95%": f"{number(best['low_other'])} to {number(best['high_other'])}",
                    "within": number(best["within_other"]),
                    "null": f"{number(best['null_low_other'])} to {number(best['null_high_other'])}",
                    "p": chance(best["p_other"]),
                }
            )
    return table(rows) if rows else "No statistic has features of all tasks of both banks yet.\n"


def markdown(
    frames: Mapping[str, pd.DataFrame],
    ceilings: Mapping[str, pd.DataFrame],
    sizes: Mapping[str, str],
    lacks: Mapping[str, Sequence[str]],
    command: str,
) -> str:
    """The whole page."""
    parts = [f"# Which statistic says which tasks like the same designs?\n\nMade by `{command}`.\n\n{READING}\n"]
    parts.append(f"\n## Chosen on one bank, confirmed on the other\n\n{confirmed(frames)}")
    for name, frame in frames.items():
        parts.append(f"\n## {BANKS.get(name, name)}\n\n{sizes[name]}\n")
        parts.append("\nWhat the noise of the performances allows:\n\n")
        parts.append(
            table(
                [
                    {
                        "second look": entry["name"],
                        "score": f"{number(entry['score'])} ± {number(entry['over_tasks'])}",
                        "spread": number(entry["spread"]),
                        "within": number(entry["within"]),
                        "a feature that knows the truth": number(entry["ceiling"]),
                    }
                    for _, entry in ceilings[name].iterrows()
                ]
            )
        )
        for kind, title in (("baseline", "Baselines"), ("statistic", "Statistics, best first")):
            part = frame[frame["kind"] == kind]
            if kind == "statistic":
                part = part.sort_values("score", ascending=False, kind="stable")
            body = table([row(entry) for _, entry in part.iterrows()]) if len(part) else "None yet.\n"
            parts.append(f"\n{title}:\n\n{body}")
        if anchors := by_anchors(frame):
            parts.append(f"\nBy number of anchors (the first, or any: mean over 20 random subsets):\n\n{anchors}")
        if lacks[name]:
            parts.append("\nNot scored, for features of some tasks are missing: " + "; ".join(lacks[name]) + ".\n")
    return "".join(parts)


COLOURS = {
    "ties at random": "black",
    "tau-b with ties": "#999933",
    "cosine of norm 1": "#aa3377",
    "cosine": "#4477aa",
    "euclid": "#66ccee",
    "projection": "#ee6677",
    "projection, paper's inputs": "#ccbb44",
}


def figure(frames: Mapping[str, pd.DataFrame], ceilings: Mapping[str, pd.DataFrame], files: Sequence[Path]) -> None:
    """Scores with intervals; behind each the null's 5 to 95%; the ceiling dashed, the same-level baseline dotted."""
    shown = {name: frame[frame["kind"].isin(["baseline", "statistic"])] for name, frame in frames.items()}
    whole = pd.concat(shown.values())
    best = whole.groupby("feature")["score"].max().sort_values()
    base = [n for n in best.index if (whole.loc[whole["feature"] == n, "kind"] == "baseline").all()]
    features = [*(n for n in best.index if n not in base), *base]
    views = [view for view in reversed(COLOURS) if view in set(whole["view"])]
    height = 1.8 + 0.42 * len(features)
    drawing, axes = plt.subplots(
        1, len(shown), figsize=(4 + 4.4 * len(shown), height), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (name, frame) in zip(axes[0], shown.items()):
        for _, entry in frame.iterrows():
            place = features.index(entry["feature"])
            place += 0.7 * ((views.index(entry["view"]) + 0.5) / len(views) - 0.5)
            if not np.isnan(entry["null_low"]):
                axis.plot(
                    [entry["null_low"], entry["null_high"]],
                    [place] * 2,
                    color="0.85",
                    lw=4,
                    solid_capstyle="butt",
                    zorder=0,
                )
            axis.plot([entry["low"], entry["high"]], [place] * 2, color=COLOURS[entry["view"]], lw=1)
            axis.plot(entry["score"], place, "o", color=COLOURS[entry["view"]], ms=3.5)
        ceiling = ceilings[name]["ceiling"].iloc[0]
        axis.axvline(ceiling, color="black", ls="--", lw=1)
        level = frame[(frame["feature"] == LEVEL)]["score"].iloc[0]
        axis.axvline(level, color="black", ls=":", lw=1)
        axis.axvline(0, color="0.6", lw=0.6)
        axis.set_title(BANKS.get(name, name), fontsize=10)
        axis.set_xlabel("score: rank correlation of similarities")
        axis.set_xlim(-0.6, 1)
        axis.set_ylim(-0.7, len(features) - 0.3)
        axis.set_yticks(range(len(features)), features, fontsize=8)
    marks = [plt.Line2D([], [], color=COLOURS[view], marker="o", ms=3.5, lw=1, label=view) for view in reversed(views)]
    marks += [
        plt.Line2D([], [], color="0.85", lw=4, label="shuffled within levels, 5 to 95%"),
        plt.Line2D([], [], color="black", ls="--", lw=1, label="ceiling"),
        plt.Line2D([], [], color="black", ls=":", lw=1, label="same level, ties at random"),
    ]
    drawing.legend(handles=marks, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    matplotlib.rcParams["svg.hashsalt"] = "atjax"
    for file in files:
        temporary = file.with_name(f".{file.name}")
        drawing.savefig(
            temporary, format=file.suffix[1:], dpi=130, metadata={"Date": None} if file.suffix == ".svg" else {}
        )
        temporary.replace(file)
    plt.close(drawing)


def write(folder: Path, text: str, frames: Mapping[str, pd.DataFrame], ceilings: Mapping[str, pd.DataFrame]) -> None:
    """Write table.md, scores.csv, ceilings.csv, scores.svg and scores.png."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", text)
    write_text(folder / "scores.csv", pd.concat(frames.values()).round(4).to_csv(index=False))
    write_text(folder / "ceilings.csv", pd.concat(ceilings.values()).round(4).to_csv(index=False))
    figure(frames, ceilings, [folder / "scores.svg", folder / "scores.png"])
