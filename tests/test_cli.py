"""The command line: help, sweeps, and one sentence with exit code 2 for whatever a user can get wrong."""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import tiny
from omegaconf import OmegaConf
from rich.console import Console

from atjax import build_bank, cli
from atjax.errors import UserError, whole
from atjax.report import read

UNIFORM = "search.prior=uniform"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def refused(capsys: pytest.CaptureFixture[str], program: str, *arguments: str) -> str:
    """The sentence on standard error, after a look at all that goes for every refusal."""
    capsys.readouterr()
    assert tiny.run(program, *arguments) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.startswith("atjax: ")
    assert err.count("\n") == 1
    assert err.endswith(".\n")
    return err.removeprefix("atjax: ").strip()


BAD_SEARCHES = [
    (("task=cox",), "There is no task 'cox' (did you mean cox2?); choose from actor, aids, "),
    (("task=zzz",), "There is no task 'zzz'; choose from actor, aids, "),
    (("budget=foo",), "There is no budget 'foo'; choose from paper, quick."),
    (("task=null",), "Config group override must be a string"),
    (("sarch.trials=3",), "There is no setting 'sarch.trials' (did you mean search.trials?); see --help"),
    (("task.cuont=3",), "There is no setting 'task.cuont' (did you mean task.count?); see --help"),
    (("trials=3",), "There is no setting 'trials' (did you mean search.trials?); see --help"),
    (("prior=rank", "prior.topk=3"), "There is no setting 'prior.topk' of this prior (did you mean prior.top_k?); "),
    (("zzzz=3",), "There is no setting 'zzzz'; see --help for what there is."),
    (("cox2",), "The argument 'cox2' is not of the form key=value; for that task, write task=cox2."),
    (("--hlep",), "There is no option --hlep (did you mean --help?); settings are given as SETTING=VALUE, see --help."),
    (("-x",), "There is no option -x; settings are given as SETTING=VALUE, see --help."),
    (("--task=cox2",), "Settings have no dashes before them; write task=cox2."),
    (("+task.cuont=3",), "atjax.sources.builtin.digits does not take name=digits, count=40, cuont=3 ("),
    (("nonsense",), "The argument 'nonsense' is not of the form key=value ("),
    (("search.trials=[",), "The argument 'search.trials=[' is not of the form key=value ("),
    (
        ("task.count=my(1)",),
        "The value of task.count is to be put in quotes, for the signs in it: \"task.count='my(1)'\".",
    ),
    (
        ("task.count=my=dir",),
        "The value of task.count is to be put in quotes, for the signs in it: \"task.count='my=dir'",
    ),
    (
        ("task.count=größe",),
        "The value of task.count is to be put in quotes, for the signs in it: \"task.count='größe'\".",
    ),
    (
        ("task.count=o'b",),
        "The value of task.count is to be put in quotes, for the signs in it: \"task.count='o\\'b'\".",
    ),
    (
        ("seed=0,1",),
        "seed has several values, 0,1; add -m for a run with each of them, or put them in quotes if they are one: "
        "\"seed='0,1'\".",
    ),
    (
        ("task=[mutag,bzr]",),
        "task takes one value, not the list [mutag,bzr]; write task=mutag,bzr and add -m for a run with each.",
    ),
    (("seed=x",), "seed must be a whole number, 0 or more and below 2^63; it is 'x'."),
    (("seed=-1",), "seed must be a whole number"),
    (("seed=1.5",), "seed must be a whole number"),
    (("seed=true",), "seed must be a whole number"),
    (("seed=9223372036854775808",), "seed must be a whole number"),
    (("seed=${oc.env:ATJAX_NO_SUCH}",), "KeyError raised while resolving interpolation: \"Environment variable '"),
    (("search.trials=0",), "search.trials must be a whole number, 1 or more and below 2^63; it is 0."),
    (("search.trials=abc",), "search.trials must be a whole number"),
    (("search.algorithm=foo",), "search.algorithm must be one of random"),
    (("search.prior=foo",), "search.prior must be one of transfer, uniform; it is 'foo'."),
    (("search.resume=maybe",), "search.resume must be true or false; it is 'maybe'."),
    (("task.count=abc",), "digits: count='abc' is out of range; give a whole number, 10 to 1797."),
    (("task.count=5",), "digits: count=5 is out of range"),
    (("budget.batch_size=0",), "budget.batch_size must be a whole number of at least 1; it is 0."),
    (("budget.batch_size=x",), "budget.batch_size must be a whole number of at least 1; it is 'x'."),
    (("budget.epochs_scale=x",), "budget.epochs_scale must be a table, as in budget.epochs_scale.graph=...; it is "),
    (("budget.eval_every.graph=[1]",), "budget.eval_every must hold whole numbers of at least 1; it is "),
    (("budget.epochs_scale.graph=nan",), "budget.epochs_scale must be positive and finite; it is {"),
    (("bank=nowhere", "search.prior=transfer"), "There is no bank at nowhere; build one"),
    (("bank=null", "search.prior=transfer"), "bank must be the path of a folder; it is None."),
    (("bank=5", "search.prior=transfer"), "bank must be the path of a folder; it is 5."),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_SEARCHES)
def test_a_bad_search_ends_with_a_sentence_and_leaves_nothing(
    arguments: tuple[str, ...], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "search", *tiny.TASK, UNIFORM, *arguments).startswith(message)
    assert tiny.files(here) == []


def test_the_package_lists_its_programs_and_runs_them() -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "atjax", *arguments]
        return subprocess.run(command, env=tiny.environment(), capture_output=True, text=True, check=False)

    listed = call()
    assert listed.returncode == 0
    assert set(tiny.PROGRAMS) <= {line.split()[0] for line in listed.stdout.splitlines() if line.strip()}
    wrong = call("serach")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("atjax: There is no program 'serach' (did you mean search?); choose from describe, ")
    ran = call("search", "search.trials=0")
    assert (ran.returncode, ran.stderr[:28]) == (2, "atjax: search.trials must be")


BAD_SETS = [
    ("search", ("task=tu",), "The setting task.name must be given, as task.name=VALUE; see --help for what there is."),
    ("embed", ("task=tu",), "The setting task.name must be given, as task.name=VALUE; see --help for what there is."),
    (
        "embed",
        ("task=custom",),
        "The setting task.path must be given, as task.path=VALUE; see --help for what there is.",
    ),
    ("search", ("task=custom", "task.path=nowhere"), "nowhere: there is no such file or folder; give a folder or zip"),
    ("describe", ("seed=x",), "seed must be a whole number, 0 or more"),
    ("describe", ("picture=5",), "picture must be true or false; it is 5."),
    ("predict", ("path=x",), "The setting model must be given, as model=VALUE; see --help for what there is."),
    ("predict", ("path=x", "model=nowhere"), "There is no model at nowhere; give the run folder of a search"),
    ("predict", ("path=x", "model=y", "output=."), "output must be the path of a file; . is a folder."),
    ("predict", ("path=x", "model=y", "output=new/"), "output must be the path of a file; new/ is a folder."),
    ("predict", ("path=x", "model=y", "output=null"), "output must be the path of a file; it is None."),
    ("predict", ("path=x", "model=y", "output=5"), "output must be the path of a file; it is 5."),
    ("predict", ("path=x", "model=y", "output=/dev/null/x"), "output cannot be /dev/null/x (/dev/null is no folder)"),
    ("predict", ("path=x", "model=y", f"output={'n' * 300}"), f"output cannot be {'n' * 300} (File name too long)"),
    ("embed", ("task=tu", "task.name=../x"), "../x: dataset='../x' is no name of a set; give letters, "),
]


@pytest.mark.parametrize(("program", "arguments", "message"), BAD_SETS)
def test_sets_that_cannot_be(
    program: str, arguments: tuple[str, ...], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, program, *arguments).startswith(message)
    assert tiny.files(here) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("fisher.hidden=-1", "fisher.hidden must be a whole number of at least 1; it is -1."),
        ("fisher.hidden=x", "fisher.hidden must be a whole number of at least 1; it is 'x'."),
        ("prior=product prior.epsilon=7", "prior.epsilon must lie between 0 and 1; it is 7."),
        ("prior=product prior.epsilon=x", "atjax.prior.PriorConfig does not take "),
        ("prior=product prior.top_k=0", "prior.top_k must be a whole number of at least 1; it is 0."),
        (
            "prior.epsilon=0.2",
            "There is no setting 'prior.epsilon' of this prior; name one that has it, as in prior=pro",
        ),
        ("prior=frugal prior.price=-1", "prior.price must not be negative; it is -1."),
        ("prior=rank prior.coverage=2", "prior.coverage must lie between 0 and 1; it is 2"),
        (
            "prior.by_level.node=calibated",
            "prior.by_level.node: there is no prior 'calibated' (did you mean calibrated?)",
        ),
        (
            "prior.by_level.graph=auto",
            "prior.by_level.graph: there is no prior 'auto'; choose from calibrated, frugal, pro",
        ),
        ("projection.inputs=foo", "projection.inputs must be one of log, paper, plain; it is 'foo'."),
        ("prior.name=rank", "prior.name=rank would only name the prior; to take it, write prior=rank."),
        ("fisher.statistic=[alhpa]", "There is no statistic 'alhpa'"),
        ("fisher.statistic=[nowhere.alpha]", "The statistic 'nowhere.alpha' cannot be imported"),
        ("fisher.estimator.node=nowhere.sketch", "The estimator 'nowhere.sketch' cannot be imported"),
    ],
)
@pytest.mark.parametrize("program", ["search", "embed"])
def test_bad_settings_of_the_transfer_are_told_before_the_data_are_loaded(
    program: str, argument: str, message: str, tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.fill_bank(tmp_path / "bank", designs=2)
    nowhere = f"data.root={tmp_path / 'nowhere'}"
    sentence = refused(capsys, program, "task=mutag", nowhere, f"bank={tmp_path / 'bank'}", *argument.split())
    assert sentence.startswith(message)
    assert tiny.files(here) == []
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("designs=-1",), "designs must be a whole number, 0 or more"),
        (("designs=99999",), "The space 'paper' has 29952 designs; designs=99999 asks for more."),
        (("feature=maybe",), "feature must be true or false; it is 'maybe'."),
        (("compact=2",), "compact must be true or false; it is 2."),
        (("task=cox",), "There is no task 'cox'"),
        (("task.count=5",), "digits: count=5 is out of range"),
        (("bank=null",), "bank must be the path of a folder; it is None."),
    ],
)
def test_a_bad_build_leaves_no_bank(
    arguments: tuple[str, ...], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "build_bank", *tiny.TASK, *arguments).startswith(message)
    assert tiny.files(here) == []


@pytest.mark.parametrize(
    ("program", "name"), [("search", "search.append"), ("build_bank", "bank")], ids=["search", "build_bank"]
)
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("embedded", "is embedded, the bank that atjax ships, which is only read; give one of your own."),
        ("file", "cannot be file (file is no folder); give another folder."),
        ("file/bank", "cannot be file/bank (file is no folder); give another folder."),
        ("half", "cannot be half (half/records is no folder); give another folder."),
        ("n" * 300, "cannot be " + "n" * 300 + " (File name too long); give another folder."),
    ],
)
def test_a_bank_that_cannot_be_written_is_told_before_the_data_are_loaded(
    program: str, name: str, folder: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("")
    (here / "half").mkdir()
    (here / "half" / "records").write_text("")
    before = tiny.files(here)
    arguments = (UNIFORM,) if program == "search" else ()
    sentence = refused(capsys, program, "task=mutag", "data.root=nowhere", *arguments, f"{name}={folder}")
    assert sentence == f"{name} {message}"
    assert tiny.files(here) == before


@pytest.mark.parametrize(("program", "name"), [("search", "search.append"), ("build_bank", "bank")])
def test_a_damaged_bank_is_told_before_the_data_are_loaded(
    program: str, name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = here / "own" / "records" / "a.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PAR1 and no more")
    before = tiny.files(here)
    arguments = (UNIFORM,) if program == "search" else ()
    sentence = refused(capsys, program, "task=mutag", "data.root=nowhere", *arguments, f"{name}=own")
    assert "a.parquet" in sentence
    assert tiny.files(here) == before


def test_no_data_and_no_network(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("ATJAX_DATA", str(tmp_path / "empty"))
    sentence = refused(capsys, "search", "task=mutag", UNIFORM)
    assert sentence.startswith(f"mutag: tu-original/MUTAG.zip not found under {tmp_path / 'empty'}, and no download")
    assert "take a task that needs no files (digits, digits_knn, synthetic)" in sentence
    assert tiny.files(here) == []
    assert not [path for path in (tmp_path / "empty").rglob("*") if path.is_file()]


def test_a_truncated_archive(data: Path, tmp_path: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "data" / "tu-original" / "MUTAG.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes((data / "tu-original" / "MUTAG.zip").read_bytes()[:-100])
    sentence = refused(capsys, "search", "task=mutag", UNIFORM, f"data.root={tmp_path / 'data'}")
    assert sentence.startswith("mutag: this is no zip archive, or a truncated or damaged one (")
    assert f"mend or delete {archive}" in sentence
    assert tiny.files(here) == []
    assert tiny.files(tmp_path / "data") == ["tu-original", "tu-original/MUTAG.zip"]


def test_a_run_directory_that_cannot_be_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    sentence = refused(capsys, "search", *tiny.TASK, UNIFORM, "hydra.run.dir=file/run")
    assert sentence == "file/run cannot be read or written (Not a directory); mend that first."
    assert tiny.files(here) == ["file"]


def test_a_refusal_leaves_an_earlier_run_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)
    run = here / "run"
    common = (*tiny.SMALL, UNIFORM, "hydra.run.dir=run", "search.trials=1")
    assert tiny.run("search", *common) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused(capsys, "search", *common, "task.count=5")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert OmegaConf.load(run / "config.yaml").task.count == 40


def test_a_fault_of_ours_is_not_dressed_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a user can mend becomes a sentence; the rest keeps its traceback."""
    monkeypatch.setattr("sys.argv", ["x", *tiny.TASK])
    monkeypatch.setattr("atjax.compilation.keep_compiled", lambda folder: None)

    def faulty(cfg: object) -> None:
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        cli.run(faulty, "embed")


FISHER = "fisher:\n  _target_: atjax.fisher.FisherConfig\n  hidden: 64\n"
HELP = [
    *((program, ("task=NAME", "task: actor, aids, amazon_computers, ", FISHER)) for program in ("search", "embed")),
    ("build_bank", ("task=NAME", "task: actor, aids, amazon_computers, ", FISHER)),
    ("describe", ("task=NAME", "Tasks: actor, aids, amazon_computers, ", "picture: true\n")),
    ("predict", ("model=FOLDER path=PATH", "output: predictions.csv\n")),
]


@pytest.mark.parametrize(("program", "said"), HELP)
def test_help(program: str, said: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny.run(program, "--help") == 0
    out, err = capsys.readouterr()
    assert f"Usage: python -m atjax.{program} {said[0]}" in out
    assert "Example" in out
    assert all(words in out for words in said)
    assert "$" not in out.replace("${data.root}", "")
    assert err == ""
    assert tiny.files(here) == []


def test_a_sweep_has_a_run_directory_for_each_job(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)
    assert tiny.run("search", "-m", *tiny.SMALL, UNIFORM, "search.trials=2", "seed=0,1") == 0
    for seed in (0, 1):
        assert read(here / "runs" / "digits" / f"random-uniform-{tiny.BUDGET.name}-seed{seed}")["seed"] == seed
    capsys.readouterr()
    assert tiny.run("search", "-m", *tiny.SMALL, UNIFORM, "search.trials=2", "seed=2,x") == 2
    err = capsys.readouterr().err
    told = "seed must be a whole number, 0 or more and below 2^63; it is 'x'."
    assert err == f"atjax: Job 2 of 2 (seed=x): {told}\n"
    sweep = ("search.trials=1,2", "seed=2,x,3")
    assert tiny.run("search", "-m", *tiny.SMALL, UNIFORM, *sweep, "hydra.sweep.dir=other") == 2
    err = capsys.readouterr().err
    assert err == f"atjax: Job 2 of 6 (search.trials=1, seed=x), after which 4 were not run: {told}\n"
    names = {path.name for path in (here / "runs" / "digits").iterdir()}
    assert names == {f"random-uniform-{tiny.BUDGET.name}-seed{seed}" for seed in (0, 1, 2)}


def test_exit_codes_of_the_process(here: Path) -> None:
    """As the shell sees it: the sentence, alone on standard error, and 2."""
    done = subprocess.run(
        [sys.executable, "-m", "atjax.search", "task=cox"], capture_output=True, text=True, env=tiny.environment()
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("atjax: There is no task 'cox' (did you mean cox2?); choose from ")
    assert done.stderr.count("\n") == 1
    assert tiny.files(here) == []


def test_a_folder_that_cannot_be_removed_hides_no_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """As one where a disk is mounted."""

    def full(*args: object, **kwargs: object) -> None:
        (here / "run").mkdir(exist_ok=True)
        raise OSError(28, "No space left on device", "run")

    def busy(folder: Path) -> None:
        raise OSError(16, "Device or resource busy", str(folder))

    monkeypatch.setattr("atjax.config.build_task", full)
    monkeypatch.setattr(Path, "rmdir", busy)
    sentence = refused(capsys, "search", *tiny.TASK, UNIFORM, "hydra.run.dir=run")
    assert sentence == "run cannot be read or written (No space left on device); mend that first."


def test_ctrl_c_before_there_is_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("atjax.config.build_task", interrupted)
    assert tiny.run("search", *tiny.TASK, UNIFORM) == 130
    assert capsys.readouterr().err == "atjax: stopped.\n"


def test_ctrl_c_leaves_without_the_end_of_python(here: Path) -> None:
    """Threads of XLA may crash there."""
    code = (
        "import atexit, os, runpy; from atjax import config; atexit.register(os.abort);"
        "config.build_task = lambda cfg: (print('begun', end=''), exec('raise KeyboardInterrupt'));"
        "runpy.run_module('atjax.search', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *tiny.TASK, UNIFORM]
    done = subprocess.run(command, capture_output=True, text=True, env=tiny.environment())
    assert (done.returncode, done.stdout, done.stderr) == (130, "begun", "atjax: stopped.\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_drops_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As what is raised while garbage is collected, where XLA has callbacks."""
    steps: list[int] = []
    collected: list[str] = []

    def press(phase: str, _: object) -> None:
        if not collected:
            collected.append(phase)
            os.kill(os.getpid(), signal.SIGINT)

    def job(cfg: object) -> None:
        with cli.progress(Console(quiet=True)) as bar:
            row = bar.add_task("steps", total=2)
            bar.update(row, completed=1)
            steps.append(1)
            gc.callbacks.append(press)
            gc.collect()
            gc.callbacks.remove(press)
            steps.append(2)
            bar.update(row, completed=2)
            steps.append(3)

    monkeypatch.setitem(tiny.PROGRAMS, "embed", types.SimpleNamespace(main=job))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert tiny.run("embed") == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == [1, 2]


def test_names_with_brackets_are_shown_as_they_are() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with cli.progress(console) as bar:
        bar.update(bar.add_task("a[/b] [red]: trials", total=2), completed=1, refresh=True)
    assert "a[/b] [red]: trials" in console.file.getvalue()  # type: ignore[attr-defined]


# The values of settings


@pytest.mark.parametrize("value", [0, 5, 2**63 - 1])
def test_whole_numbers(value: int) -> None:
    assert whole("x", value, 0) == value


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, "1", None, True])
def test_no_whole_numbers(value: object) -> None:
    with pytest.raises(UserError, match="x must be a whole number, 0 or more"):
        whole("x", value, 0)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_no_flags(value: object) -> None:
    assert cli.flag(True, "x") is True
    assert cli.flag(False, "x") is False
    with pytest.raises(UserError, match="x must be true or false"):
        cli.flag(value, "x")


# Embed


def test_embed_prints_feature_and_neighbours(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    alphas = tiny.np.linspace(2, 9, 12)[:, None] + tiny.np.array([-0.5, 0.5])
    monkeypatch.setattr("atjax.feature.task_statistics", tiny.fisher_stage(alphas))
    bank = tiny.fill_bank(tmp_path / "bank")
    assert tiny.run("embed", *tiny.TASK, f"bank={bank}", "projection.iterations=20") == 0
    first = capsys.readouterr().out
    rows = [line.split() for line in first.splitlines() if "skip_" in line]
    assert len(rows) == 12
    assert rows[0] == ["1", "sum", "skip_sum", "1.8.2", "2.00", "0.71"]  # alpha: mean over initialisations, deviation
    assert rows[-1] == ["12", "mean", "skip_concat", "1.2.3", "9.00", "0.71"]
    for name in "abcd":
        assert sum(line.startswith(f" {name} ") for line in first.splitlines()) == 1
    assert "tasks of the bank lie within distance" in first or "No task of the bank lies within" in first
    assert "computed in" in first
    assert tiny.run("embed", *tiny.TASK, f"bank={bank}", "projection.iterations=20") == 0
    second = capsys.readouterr().out
    assert "read from the cache" in second
    assert second.split("Feature read")[0] == first.split("Feature computed")[0]
    assert tiny.files(here) == []
    shutil.rmtree(bank / "features")
    (tmp_path / "other").mkdir()
    assert tiny.run("embed", *tiny.TASK, f"bank={tiny.fill_bank(tmp_path / 'other', 'ab', designs=9)}") == 0
    assert "and 3 are needed. The prior is uniform." in capsys.readouterr().out.replace("\n", " ")


def test_embed_names_the_entries_of_every_statistic(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One an anchor, several, of which the first and the last are shown, and as many as an anchor has layers."""
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    numbers = tiny.np.arange(1, 13)[:, None, None] * tiny.np.ones((12, 1, 3)) + tiny.np.array([0.25, 0.5, 0.75])
    layers = [tiny.np.ones((1, 1 + anchor)) for anchor in range(12)]
    found = {
        "alpha": tiny.Values(numbers[..., 0], numbers[..., 0]),
        "first_losses": tiny.Values(numbers, numbers),
        "layer_alpha": tiny.Values(layers, layers),
    }
    monkeypatch.setattr(
        "atjax.feature.task_statistics", lambda _, __, names, **___: {name: found[name] for name in names}
    )
    settings = ("fisher.statistic=[alpha,first_losses,layer_alpha]", "fisher.seeds=1")
    assert tiny.run("embed", *tiny.TASK, f"bank={tiny.fill_bank(tmp_path / 'bank')}", *settings) == 0
    shown = capsys.readouterr().out
    (heading,) = (line.split() for line in shown.splitlines() if "anchor " in line and "alpha" in line)
    assert heading == ["anchor", "alpha", "first_losses", "1", "first_losses", "3", "layer_alpha", "(78", "entries)"]
    rows = [line.split() for line in shown.splitlines() if "skip_" in line]
    assert rows[0] == ["1", "sum", "skip_sum", "1.8.2", "1.25", "1.25", "1.75"]
    assert rows[-1] == ["12", "mean", "skip_concat", "1.2.3", "12.25", "12.25", "12.75"]


def test_provenance_leaves_out_folders() -> None:
    overrides = ["task=cox2", "designs=5", "bank=/x/y", "data.root=/z", "seed=1", "+budget.more=2", "++bank=q"]
    assert build_bank.command([*overrides, "task.root=/t"]) == [
        *("python -m atjax.build_bank", "+budget.more=2", "designs=5", "seed=1", "task=cox2")
    ]
