"""`python -m atjax.report DIR...`: many searches in one table, `summary.csv`, `summary.html` and figures."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from atjax.errors import UserError
from atjax.report.figures import svg, task_figure
from atjax.report.html import write_summary_html
from atjax.report.result import write_text
from atjax.report.summary import Summary, find, summarise, summary_csv, summary_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 where the user gave something wrong."""
    parser = argparse.ArgumentParser(prog="python -m atjax.report", description=(__doc__ or "").replace("`", ""))
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="+", help="folders that hold runs of atjax.search")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write into (default: report)")
    options = parser.parse_args(arguments)
    unreadable: list[str] = []
    try:
        summary = summarise(find(options.folders, unreadable))
        summary = dataclasses.replace(summary, notes=(*unreadable, *summary.notes))
        written = _write(options.out, summary)
    except UserError as error:
        print(f"atjax: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # as of a path that is too long
        print(f"atjax: {error.filename} cannot be read ({error.strerror}); give another folder.", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 120)  # rich takes 80 for a file, too narrow for the table
    console.print(summary_table(summary))
    for note in summary.notes:
        console.print(note, style="yellow", markup=False, highlight=False)
    console.print(f"Written to {options.out}: {', '.join(written)}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _write(folder: Path, summary: Summary) -> list[str]:
    """Write the table, the page, and a figure for each task; returns the names of the files."""
    try:
        files = [write_text(folder / "summary.csv", summary_csv(summary)), write_summary_html(folder, summary)]
        for index, groups in enumerate(summary.by_task().values(), start=1):
            files.append(write_text(folder / f"task{index}.svg", svg(task_figure, groups)))
        for left in (file for file in folder.glob("task*.svg") if file not in files and file.stem[4:].isdecimal()):
            left.unlink()  # of an earlier table with more tasks
    except OSError as error:
        raise UserError(f"Nothing can be written into {folder} ({error.strerror}); choose another --out.") from None
    return [file.name for file in files]


if __name__ == "__main__":
    sys.exit(main())
