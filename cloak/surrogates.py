"""Which recognisers cloaks are made against: those that are named, or all that are on disk."""

from collections.abc import Sequence

import torch

from cloak.errors import CloakError, UsageError
from cloak.methods import Method, find_mode
from cloak.models import Model, find_model
from cloak.recognizers import EMBEDDED, SURROGATES, Recognizer, Source, find_source, load_recognizer, load_source
from cloak.recognizers.source import copies, known_names, twins

AUTO = "auto"


def load_surrogates(
    references: Sequence[str] = (AUTO,), device: torch.device | str = "cpu", *, gradients: bool = True
) -> tuple[tuple[Recognizer, ...], tuple[str, ...]]:
    """Load what a user named.

    Args:
        references: as in ``cloak.recognizers.source``; "auto" stands for every recogniser whose
            file is on disk, embedded, fetched or the user's own, that can be loaded.
        device: where they run.
        gradients: whether they must have them, as surrogates must.

    Returns:
        The recognisers, at least one, and what a user should know of them, a sentence each.

    Raises:
        UsageError: nothing was named, something twice, something unknown or that cannot be loaded.
        WeightsError: weights are absent or damaged.
    """
    named = [find_source(reference) for reference in references if reference != AUTO]
    found, hints = _on_disk(device, gradients) if AUTO in references else ([], [])
    names = [*(recognizer.spec.name for recognizer, _ in found), *(source.name for source in named)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise UsageError(f"expected surrogates, each once; got {', '.join(twice) or 'none'}{' twice' * bool(twice)}")
    found += [(load_source(source, device, gradients=gradients), source) for source in named]
    terms = [
        f"{source.name}: its licence ({source.licence}) does not allow commercial use"
        for _, source in found
        if not source.commercial
    ]
    notes = (f"surrogates: {', '.join(names)}", *terms, *hints)
    return tuple(recognizer for recognizer, _ in found), notes


def _on_disk(device: torch.device | str, gradients: bool) -> tuple[list[tuple[Recognizer, Source]], list[str]]:
    """What "auto" stands for, and a word about what it leaves out."""
    found, hints = [], []
    for name in _without_twins(gradients):
        try:
            model = find_model(name)
            if model.present or name in EMBEDDED:
                source = find_source(name)
                found.append((_load(model, source, device, gradients), source))
        except CloakError as error:
            if name in EMBEDDED:
                raise
            hints.append(f"{name} is on disk but left out: {error}")
    return found, hints


def _without_twins(gradients: bool) -> list[str]:
    """The known names, no copies; of a recogniser and its robust twin, the twin as a surrogate, else the other."""
    left_out = copies() | set(twins().values() if gradients else twins().keys())
    return [name for name in known_names() if name not in left_out]


def _load(model: Model, source: Source, device: torch.device | str, gradients: bool) -> Recognizer:
    if gradients and model.needs:
        raise UsageError(f"it needs {', '.join(model.needs)} (pip install 'cloak[models]')")
    return load_source(source, device, gradients=gradients)


def judges_of(surrogates: Sequence[Recognizer], device: torch.device) -> tuple[Recognizer, ...]:
    """Who measures the result: the surrogates, for a twin its original, and in any case one that has a threshold."""
    own = {recognizer.spec.name: recognizer for recognizer in surrogates}
    names = dict.fromkeys([twins().get(name, name) for name in own])
    judges = tuple(own.get(name) or load_recognizer(name, device) for name in names)
    if any(judge.spec.threshold is not None for judge in judges):
        return judges
    return (*judges, load_recognizer("dlib", device))


def measured_mode(method: Method, surrogates: Sequence[Recognizer]) -> str:
    """The mode whose benchmark says what such a cloak lets one expect; empty for one that is made otherwise.

    It was made with all the surrogates that ship, and nothing was kept apart; more steps or surrogates do not
    harm.
    """
    usual = method.steps >= find_mode(method.name).steps and not method.apart
    return method.name if usual and {one.spec.name for one in surrogates} >= set(SURROGATES) else ""
