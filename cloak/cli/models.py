"""``cloak models``: list, fetch, verify, path, check."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn

from cloak import CloakError, UsageError
from cloak.cli.common import DONE, NOT_DONE, RECOGNISERS, add_device, add_quiet, table_console, tell
from cloak.lines import to_json

if TYPE_CHECKING:
    from cloak.cli.common import Subparsers
    from cloak.models import Model


def add_parser(commands: "Subparsers") -> None:
    models = commands.add_parser(
        "models", help="the recognisers that cloak knows", description="List, fetch, verify and check recognisers."
    )
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what each is, and whether its weights are on disk")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=list_models)

    fetch = actions.add_parser(
        "fetch",
        help="download weights from their authors; the only command that uses the network",
        description="Download weights from their authors' addresses into the folder that 'cloak models path' names. "
        "A download that broke off goes on where it was. HTTPS_PROXY and the like, HF_ENDPOINT and CLOAK_MIRROR hold.",
    )
    fetch.add_argument("names", nargs="*", metavar="NAME", help="as 'cloak models list' has it")
    fetch.add_argument("--recommended", action="store_true", help="those that protect best as further surrogates")
    add_quiet(fetch)
    fetch.set_defaults(run=fetch_models, interrupted="run it again to go on where it was")

    verify = actions.add_parser("verify", help="compare the weights on disk with the hashes that are known")
    verify.add_argument("names", nargs="*", metavar="NAME", help="only these, which must be there (default: all)")
    verify.set_defaults(run=verify_models)
    where = actions.add_parser("path", help="the folder of fetched weights, $CLOAK_WEIGHTS if that is set")
    where.set_defaults(run=print_path)

    check = actions.add_parser(
        "check",
        help="measure a recogniser on photos, and whether its preprocessing is right",
        description="Embed a folder-per-person tree and print the true-accept rate for the stated preprocessing and "
        "for the usual alternatives (channel order, scaling).",
    )
    check.add_argument("recognizer", metavar="SPEC", help=RECOGNISERS.removesuffix(", or auto"))
    check.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder of photos for each person")
    check.add_argument("--people", type=int, default=60, metavar="N", help="at most so many (default: 60)")
    check.add_argument("--photos", type=int, default=4, metavar="N", help="of each person (default: 4)")
    check.add_argument("--distractors", type=int, default=0, metavar="N", help="strangers besides (default: 0)")
    check.add_argument("--json", action="store_true", help="print JSON")
    add_device(check)
    add_quiet(check)
    check.set_defaults(run=check_model)


def list_models(options: argparse.Namespace) -> int:
    from cloak.models import known_models

    models = known_models(tell)
    if options.json:
        print(to_json([model.to_dict() for model in models], indent=1))
        return DONE
    from cloak.report import models_table

    table_console().print(models_table(models))
    return DONE


def fetch_models(options: argparse.Namespace) -> int:
    """Download each; one that fails does not keep the others."""
    from cloak.models import find_model, known_models

    recommended = [model for model in known_models(tell) if model.recommended] if options.recommended else []
    models = [*(find_model(name) for name in options.names), *recommended]
    if not models:
        raise UsageError("expected names of recognisers or --recommended, got none; cloak models list has the names")
    failed = False
    for model in dict.fromkeys(models):
        try:
            _fetch(model, quiet=options.quiet)
        except CloakError as error:
            failed = True
            tell(error)
    return NOT_DONE if failed else DONE


def _fetch(model: "Model", *, quiet: bool) -> None:
    from cloak.fetch import Download, fetch
    from cloak.folders import own_weights
    from cloak.weights import read_manifest

    say = Console(quiet=quiet, soft_wrap=True, highlight=False, markup=False).print
    if model.embedded:
        say(f"{model.name}: ships with cloak")
        return
    if not model.addresses:
        raise UsageError(f"{model.name}: is not fetched by cloak; {model.advice}: {model.path}")
    assert model.path is not None
    terms = "" if model.commercial else ", which does not allow commercial use"
    say(f"{model.name}: licence {model.licence}{terms}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True, quiet=quiet)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(model.name, total=model.bytes or None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        published = read_manifest()[model.name].get("sha256", "")  # fetch itself knows what is pinned
        download = Download(model.path.name, model.addresses, published, model.bytes)
        fetched = fetch(download, own_weights(), show)
    how = "nobody published its hash: pinned as it is now" if fetched.pinned else "as expected"
    say(f"{model.name}: {fetched.path}{'' if fetched.fresh else ' (there already)'}, sha256 {fetched.sha256}, {how}")


def verify_models(options: argparse.Namespace) -> int:
    """Check every file that is there; a named one must be there."""
    from cloak.models import ABSENT, DAMAGED, SOUND, UNKNOWN, find_model, known_models

    words = {SOUND: "sha256 as expected", UNKNOWN: "there, but nobody published its hash and it was not fetched here"}
    wrong_ones: list[str] = []
    models = [find_model(name) for name in options.names] or known_models(wrong_ones.append)
    for sentence in wrong_ones:
        tell(sentence)
    failed = bool(wrong_ones)
    wrong = (DAMAGED, ABSENT) if options.names else (DAMAGED,)
    for model in models:
        state = model.state()
        failed |= state in wrong or (state == ABSENT and model.embedded)
        advice = f"; {model.advice}" if state in (DAMAGED, ABSENT) else ""
        print(f"{model.name}: {model.path or 'Python'}: {words.get(state, state)}{advice}")
    return NOT_DONE if failed else DONE


def print_path(options: argparse.Namespace) -> int:
    from cloak.folders import own_weights

    print(own_weights())
    return DONE


def check_model(options: argparse.Namespace) -> int:
    """Measure one; exit code 1 where another preprocessing fits better than the stated one."""
    for name in ("people", "photos"):
        if getattr(options, name) < 2:
            raise UsageError(f"expected at least 2 {name}, got {getattr(options, name)}")
    from cloak.bench.check import check_recognizer
    from cloak.bench.datasets import read_dataset
    from cloak.examine import find_device
    from cloak.recognizers import find_source
    from cloak.report import check_table, check_verdict

    source = find_source(options.recognizer)
    data = read_dataset(
        options.data, people=options.people, cloaked=options.photos // 2, distractors=max(0, options.distractors)
    )
    console = Console(stderr=True, quiet=options.quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("embedding", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        device = find_device(options.device)
        check = check_recognizer(source, data, photos=options.photos, device=device, tell=show)
    if options.json:
        print(check.to_json())
    else:
        table_console().print(check_table(check))
        print(check_verdict(check))
    return DONE if check.best is check.stated else NOT_DONE
