"""`python -m atjax.bank info|validate|merge|export`: look at banks, check them, merge them, take them elsewhere."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from atjax.bank import manage
from atjax.bank.store import Bank, load_bank
from atjax.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 for a bank with faults, 2 where the user gave something wrong."""
    parser = argparse.ArgumentParser(prog="python -m atjax.bank", description=(__doc__ or "").replace("`", ""))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help in (("info", "what a bank holds, task by task"), ("validate", "check every record and feature")):
        command = commands.add_parser(name, help=help)
        command.add_argument("bank", nargs="?", default="embedded", help="its folder (default: embedded)")
    command = commands.add_parser("merge", help="add to a bank what others hold and it lacks")
    command.add_argument("target", type=Path, help="folder of the bank that grows; made if absent")
    command.add_argument("sources", nargs="+", help="folders of other banks, or embedded")
    command = commands.add_parser("export", help="write the records into one file")
    command.add_argument("bank", help="its folder, or embedded")
    command.add_argument("file", type=Path, help="a .csv file, or .parquet with the curves")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except UserError as error:
        print(f"atjax: {error}", file=sys.stderr)
    except OSError as error:
        print(f"atjax: {error.filename} cannot be read or written ({error.strerror}).", file=sys.stderr)
    return 2


def _run(options: argparse.Namespace) -> int:
    if options.command == "merge":
        added = manage.merge(options.target, options.sources)
        print(f"{added:,} records and features added to {options.target}.")
        return 0
    bank = load_bank(options.bank)
    if options.command == "info":
        _info(bank)
    elif options.command == "export":
        manage.export(bank, options.file)
        print(f"{len(bank.records):,} records written to {options.file}.")
    else:
        faults = manage.problems(bank)
        for fault in faults:
            print(fault)
        print(f"{len(bank.records):,} records and {len(bank.features):,} features checked; {len(faults)} faults.")
        return 1 if faults else 0
    return 0


def _info(bank: Bank) -> None:
    table = Table()
    rows = manage.describe(bank)
    shown = ["task", "level", "metric", "budget", "records", "designs", "seeds", "complete", "features"]
    for name in shown:
        table.add_column(name, justify="left" if name in shown[:4] else "right")
    for row in rows[shown].itertuples(index=False):
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    size = sum(file.stat().st_size for file in bank.path.rglob("*.parquet")) / 1e6
    console.print(
        f"{len(bank.tasks)} tasks, {len(bank.records):,} records and {len(bank.features):,} features in {size:.1f} MB, "
        f"designs of the space {bank.space.name!r}; {bank.path}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _cell(value: object) -> str:
    """A share in percent, nothing for one that there is not, all else as it is."""
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.0%}"


if __name__ == "__main__":
    sys.exit(main())
