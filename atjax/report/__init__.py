"""From the result of a search to tables, figures and pages."""

from atjax.report.html import write_html
from atjax.report.result import Result, best_so_far, read, write
from atjax.report.tables import print_summary, write_trials_csv

__all__ = ["Result", "best_so_far", "print_summary", "read", "write", "write_html", "write_trials_csv"]
