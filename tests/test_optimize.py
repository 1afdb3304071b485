from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cloak.eye import Eye
from cloak.methods import MODES, Method
from cloak.objectives import identity, similarity_to_self
from cloak.optimize import cloak_patches
from cloak.patches import FacePatch, cut_patch, stack_patches
from cloak.recognizers import Recognizer
from cloak.views import NO_JITTER, Degradation
from cloak.visibility import dssim_map, face_mean, regions_of
from tests.helpers import made_up_face, smooth_noise, tiny_recognizer

pytestmark = pytest.mark.usefixtures("one_thread")

METHOD = replace(MODES["mid"], steps=30, turns=15)


def patch_of(seed: int, *, grey: bool = False, width: int = 70) -> FacePatch:
    return cut_patch(smooth_noise(160, 160, seed, grey=grey), made_up_face(40, 30, width), grey=grey)


def cloak(patches: list[FacePatch], recognizers: list[Recognizer]) -> Tensor:
    return cloak_patches(stack_patches(patches), recognizers, METHOD)


def test_the_face_moves_away_from_itself_within_its_budget(tiny: Recognizer) -> None:
    patches = [patch_of(1), patch_of(2)]
    batch = stack_patches(patches)
    delta = cloak(patches, [tiny])
    maps = dssim_map(batch.pixels, batch.pixels + delta)
    regions = regions_of(batch.boxes, (patches[0].side, patches[0].side))
    assert (face_mean(maps, regions) <= METHOD.dssim * 1.001).all()
    assert (face_mean(maps, regions) > 0.9 * METHOD.dssim).all()
    assert delta.abs().max() <= METHOD.linf + 1e-6
    assert (batch.pixels + delta).min() >= -1e-6
    assert (batch.pixels + delta).max() <= 1 + 1e-6

    eye = Eye.of(batch, tiny, METHOD)
    plain = torch.tensor(NO_JITTER).expand(2, 1, -1)
    own = eye.embed(batch.pixels, plain)[:, 0]
    noise = delta.abs() * (2 * torch.randint(2, delta.shape, generator=torch.Generator().manual_seed(0)) - 1)
    cloaked, noisy = (similarity_to_self(eye.embed(batch.pixels + d, plain), own) for d in (delta, noise))
    assert (1 - cloaked > 20 * (1 - noisy)).all()  # against noise of the same size


@pytest.mark.parametrize(("lossy", "width", "room"), [(True, 70, METHOD.room), (False, 70, 1.0), (True, 200, 1.0)])
def test_the_loop_leaves_room_for_what_saving_takes_of_a_small_face(
    lossy: bool, width: int, room: float, tiny: Recognizer
) -> None:
    patch = cut_patch(smooth_noise(400, 400, 1), made_up_face(40, 30, width), lossy=lossy)
    batch = stack_patches([patch])
    delta = cloak([patch], [tiny])
    maps = dssim_map(batch.pixels, batch.pixels + delta)
    used = float(face_mean(maps, regions_of(batch.boxes, (patch.side, patch.side)))) / METHOD.dssim
    assert 0.9 * room < used <= 1.001 * room


def test_nothing_changes_outside_the_mask(tiny: Recognizer) -> None:
    patch = patch_of(1)
    delta = cloak([patch], [tiny])
    outside = stack_patches([patch]).masks == 0
    assert outside.any()
    assert (delta[outside.expand_as(delta)] == 0).all()


def test_a_faces_result_depends_on_nothing_else_in_the_batch(tiny: Recognizer) -> None:
    alone = cloak([patch_of(1), patch_of(1)], [tiny])
    in_company = cloak([patch_of(2), patch_of(1)], [tiny])
    torch.testing.assert_close(in_company[1], alone[0], atol=1e-4, rtol=0)


def test_the_same_seed_gives_the_same_bits(tiny: Recognizer) -> None:
    assert torch.equal(cloak([patch_of(1)], [tiny]), cloak([patch_of(1)], [tiny]))


def test_a_photo_without_colour_gets_a_cloak_without_colour(tiny: Recognizer) -> None:
    delta = cloak([patch_of(1, grey=True)], [tiny])
    assert delta.abs().max() > 0
    torch.testing.assert_close(delta, delta.mean(dim=1, keepdim=True).expand_as(delta), atol=1e-7, rtol=0)


def test_every_surrogate_counts() -> None:
    both = [tiny_recognizer(48), tiny_recognizer(32, dimension=8)]
    assert not torch.equal(cloak([patch_of(1)], both), cloak([patch_of(1)], both[:1]))


def test_jpeg_views_can_be_mixed_in(tiny: Recognizer) -> None:
    method = replace(METHOD, steps=4, views=replace(METHOD.views, jpeg=1.0))
    delta = cloak_patches(stack_patches([patch_of(1)]), [tiny], method)
    assert delta.isfinite().all()
    assert delta.abs().max() > 0


def test_each_step_is_told(tiny: Recognizer) -> None:
    told: list[float] = []
    cloak_patches(stack_patches([patch_of(1)]), [tiny], METHOD, told.append)
    assert told == [step / METHOD.steps for step in range(1, METHOD.steps + 1)]


def looks(
    patch: FacePatch, recognizers: list[Recognizer], method: Method, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Which of the recognisers looks at the patch in each step of the loop."""
    looking: list[int] = []

    def embed(self: Eye, patches: Tensor, jitters: Tensor, *rest: object) -> Tensor:
        if rest:  # not for the identity
            looking.append(recognizers.index(self.recognizer))
        return original(self, patches, jitters, *rest)  # type: ignore[arg-type]

    original = Eye.embed
    with monkeypatch.context() as patched:
        patched.setattr(Eye, "embed", embed)
        cloak_patches(stack_patches([patch]), recognizers, method)
    return looking


def test_surrogates_take_turns_and_each_gets_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    method = replace(METHOD, steps=4, turns=3)
    recognizers = [tiny_recognizer(), tiny_recognizer(40), tiny_recognizer(32)]
    assert Counter(looks(patch_of(1), recognizers, method, monkeypatch)) == {0: 3, 1: 3, 2: 3}
    assert looks(patch_of(1), recognizers[:1], method, monkeypatch) == [0] * 4
    assert looks(patch_of(1), recognizers, replace(method, turns=0), monkeypatch) == [0, 1, 2] * 4


def test_a_surrogate_of_a_larger_share_looks_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizers = [tiny_recognizer(), tiny_recognizer(40)]
    recognizers[1].spec = replace(recognizers[1].spec, share=6)
    looking = looks(patch_of(1), recognizers, replace(METHOD, steps=4, turns=3), monkeypatch)
    assert Counter(looking) == {0: 3, 1: 6}


def test_all_faces_have_the_same_turns_and_each_its_own_degradations(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizers = [tiny_recognizer(), tiny_recognizer(40), tiny_recognizer(32)]
    orders = [looks(patch_of(seed), recognizers, METHOD, monkeypatch) for seed in (1, 2)]
    assert orders[0] == orders[1]
    shown: list[tuple[Degradation, ...]] = []

    def gradients(watchers: object, patches: Tensor, step: int, degradations: tuple[Degradation, ...]) -> list[Tensor]:
        shown.append(degradations)
        return [torch.ones_like(patches)]

    monkeypatch.setattr("cloak.optimize.gradients_of", gradients)
    cloak([patch_of(1), patch_of(2)], recognizers)
    first, second = zip(*shown, strict=True)
    assert first != second
    assert Counter(first) == Counter(second)


def test_patches_of_different_sizes_come_out_of_a_batch_as_alone() -> None:
    patches, recognizers = [patch_of(1, width=50), patch_of(2, width=80)], [tiny_recognizer(), tiny_recognizer(40)]
    together = cloak(patches, recognizers)
    assert together.shape[2] == patches[1].side > patches[0].side
    for found, patch in zip(together, patches, strict=True):
        (alone,) = cloak([patch], recognizers)
        assert alone.abs().max() > 2 / 255
        assert not found[:, patch.side :].any()
        assert not found[:, :, patch.side :].any()
        assert (found[:, : patch.side, : patch.side] - alone).abs().mean() < 0.02 * alone.abs().mean()


def test_identity_is_what_views_agree_on() -> None:
    views = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(identity(views), torch.tensor([[2**-0.5, 2**-0.5]]))
    assert similarity_to_self(views, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.5)


def test_a_face_that_the_photos_edge_cuts_off_is_never_mirrored(
    tiny: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = patch_of(1)
    cut_off = replace(whole, mask_box=(whole.mask_box[0] - 20, *whole.mask_box[1:]))
    seen: list[Tensor] = []

    def embed(self: Eye, patches: Tensor, jitters: Tensor, *rest: object) -> Tensor:
        seen.append(jitters[..., 4] < METHOD.views.mirror)
        return original(self, patches, jitters, *rest)  # type: ignore[arg-type]

    original = Eye.embed
    monkeypatch.setattr(Eye, "embed", embed)
    cloak([whole, cut_off], [tiny])
    mirrored = torch.cat(seen, dim=1)
    assert mirrored[0].any()
    assert not mirrored[1].any()


def test_what_a_surrogate_of_a_small_share_sees_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizers = [tiny_recognizer(), tiny_recognizer(40)]
    batch = stack_patches([patch_of(1)])

    def with_and_without_weights() -> tuple[Tensor, Tensor]:
        weighted = cloak_patches(batch, recognizers, METHOD)
        with monkeypatch.context() as patched:
            patched.setattr("cloak.optimize.turn_weights", lambda shares: [1.0] * len(shares))
            return weighted, cloak_patches(batch, recognizers, METHOD)

    assert torch.equal(*with_and_without_weights())  # equal shares
    recognizers[1].spec = replace(recognizers[1].spec, share=1)
    assert not torch.equal(*with_and_without_weights())
