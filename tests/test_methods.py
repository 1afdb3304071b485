"""The invariants of every method in the table, on a small analytic recogniser."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cloak.constraint import Constraint
from cloak.errors import UsageError
from cloak.eye import Eye
from cloak.methods import APART, METHODS, MODES, Method, find_method, find_mode
from cloak.objectives import closeness_to_self, similarity_to_self
from cloak.optimize import cloak_patches
from cloak.patches import PatchBatch, cut_patch, stack_patches
from cloak.recognizers import Recognizer
from cloak.steps import AdadeltaSteps, SignSteps, TanhSpace
from cloak.views import NO_JITTER
from cloak.visibility import dssim_map, face_mean, regions_of
from tests.helpers import made_up_face, smooth_noise

pytestmark = pytest.mark.usefixtures("one_thread")

LEARNING = [name for name in METHODS if find_method(name, 0.009).steps]


def batch_of(*, grey: bool = False) -> PatchBatch:
    patch = cut_patch(smooth_noise(160, 160, 5, grey=grey), made_up_face(40, 30, 70), grey=grey)
    return stack_patches([patch, patch])


def run(name: str, tiny: Recognizer, *, grey: bool = False) -> tuple[Method, PatchBatch, Tensor]:
    method, batch = find_method(name, 0.009), batch_of(grey=grey)
    return method, batch, cloak_patches(batch, [tiny], replace(method, steps=min(method.steps, 12)))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_its_bounds_and_the_mask(name: str, tiny: Recognizer) -> None:
    method, batch, delta = run(name, tiny)
    assert delta.shape == batch.pixels.shape
    assert delta.abs().max() <= method.linf + 1e-5
    assert (batch.pixels + delta).min() >= -1e-5
    assert (batch.pixels + delta).max() <= 1 + 1e-5
    assert delta[(batch.masks == 0).expand_as(delta)].abs().max() < 1e-5
    if method.projected and method.steps:  # pure noise is scaled into its budget at the end
        maps = dssim_map(batch.pixels, batch.pixels + delta)
        side = delta.shape[2]
        assert (face_mean(maps, regions_of(batch.boxes, (side, side))) <= 1.02 * method.dssim).all()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_same_result_again(name: str, tiny: Recognizer) -> None:
    assert torch.equal(run(name, tiny)[2], run(name, tiny)[2])


@pytest.mark.parametrize("name", LEARNING)
def test_every_method_that_learns_moves_the_face_further_than_noise_of_its_size(name: str, tiny: Recognizer) -> None:
    method, batch, delta = run(name, tiny)
    eye, plain = Eye.of(batch, tiny, method), torch.tensor(NO_JITTER).expand(2, 1, -1)
    own = eye.embed(batch.pixels, plain)[:, 0]
    signs = 2 * torch.randint(2, delta.shape, generator=torch.Generator().manual_seed(0)) - 1
    moved, noisy = (
        1 - similarity_to_self(eye.embed(batch.pixels + d, plain), own) for d in (delta, delta.abs() * signs)
    )
    assert (moved > 5 * noisy).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_photo_without_colour_stays_without(name: str, tiny: Recognizer) -> None:
    _, _, delta = run(name, tiny, grey=True)
    assert (delta - delta.mean(dim=1, keepdim=True)).abs().max() < 1e-6


def test_methods_without_a_budget_or_steps_change_nothing(tiny: Recognizer) -> None:
    for name in ("none", "jpeg"):
        assert not run(name, tiny)[2].any()
        assert find_method(name, 0.009).title == name
    assert not find_method("none", 0.009).saved


def test_titles_name_the_budget_and_modes_are_the_method_at_theirs() -> None:
    assert find_method("pgd", 0.012).title == "pgd@0.012"
    for name, dssim in (("low", 0.004), ("mid", 0.009), ("high", 0.017)):
        assert replace(MODES[name], name="cloak") == find_method("cloak", dssim)


def test_fawkes_takes_the_mode_whose_budget_is_nearest() -> None:
    steps = {dssim: find_method("fawkes-style", dssim).steps for dssim in (0.004, 0.009, 0.012, 0.017)}
    assert steps == {0.004: 40, 0.009: 75, 0.012: 75, 0.017: 150}


def test_unknown_methods_and_impossible_budgets_are_refused() -> None:
    with pytest.raises(UsageError, match=r"expected a method, one of none, jpeg, noise, pgd.*; got 'lowkee'"):
        find_method("lowkee", 0.009)
    with pytest.raises(UsageError, match=r"expected a face DSSIM between 0 and .5, got 1.0"):
        find_method("pgd", 1.0)


def test_a_change_costs_what_the_metric_s_weights_say_on_both_sides_of_an_edge() -> None:
    pixels = smooth_noise(160, 160, 5)
    pixels[:, 75:] = 128  # flat from the middle of the face
    patch = cut_patch(pixels, made_up_face(40, 30, 70))
    constraint = Constraint.of(stack_patches([patch]), find_method("cloak", 0.009))
    clean = constraint.batch.pixels
    texture = constraint.texture(torch.zeros_like(clean))
    ratios = []
    for column in range(50, 100, 3):
        changed = clean.clone()
        changed[..., 80, column] += 0.004
        ratios.append(dssim_map(clean, changed).double().sum() * 2 * texture[0, 0, 80, column] / 0.004**2)
    assert max(ratios) < 1.2 * min(ratios)
    assert texture.max() > 10 * texture.min()


def test_a_change_makes_room_for_more_where_it_adds_contrast() -> None:
    constraint = Constraint.of(batch_of(), find_method("cloak", 0.009))
    clean = constraint.batch.pixels
    stronger = 0.2 * (clean - clean.mean())
    assert (constraint.texture(stronger) > constraint.texture(torch.zeros_like(clean))).all()


def test_adadelta_is_that_of_pytorch() -> None:
    constraint = Constraint.of(batch_of(), find_method("fawkes-style", 0.009))
    rule = AdadeltaSteps(replace(constraint.method, step_size=2.0), constraint)
    ours = torch.zeros_like(constraint.batch.pixels)
    theirs = torch.zeros_like(ours, requires_grad=True)
    optimizer = torch.optim.Adadelta([theirs], lr=2.0, rho=rule.DECAY, eps=rule.EPSILON)
    for step in range(4):
        gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(step))
        ours = ours + rule.displacement(gradient, ours, step)
        theirs.grad = gradient
        optimizer.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_sign_steps_have_one_length_and_gather_normalised_gradients() -> None:
    constraint = Constraint.of(batch_of(), find_method("mifgsm-di", 0.009))
    rule = SignSteps(replace(constraint.method, step_size=0.5, momentum=1.0), constraint)
    up, down = torch.ones_like(constraint.batch.pixels), -torch.ones_like(constraint.batch.pixels)
    assert (rule.displacement(1024.0 * up, up, 0) == -0.5).all()
    assert (rule.displacement(0.125 * down, up, 1) == 0.0).all()  # as large as the first, once normalised
    assert (rule.displacement(0.125 * down, up, 2) == 0.5).all()


def test_tanh_space_is_undone_and_cannot_leave_the_range() -> None:
    clean = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    space = TanhSpace(clean)
    delta = (0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).clamp(-clean, 1 - clean)
    torch.testing.assert_close(space.delta(space.variable(delta)), delta, atol=1e-5, rtol=0)
    far = clean + space.delta(space.variable(delta) + 50.0)
    assert far.max() <= 1.0 + 1e-5


def test_closeness_is_minus_the_euclidean_distance_and_has_a_gradient_at_rest() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(2, 3, 5), dim=2) for _ in range(2))
    expected = -(a - b[:, :1]).norm(dim=2).mean(dim=1)
    torch.testing.assert_close(closeness_to_self(a, b[:, 0]), expected)
    still = b[:, :1].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(closeness_to_self(still, b[:, 0]).sum(), still)
    assert torch.isfinite(gradient).all()


def test_the_penalty_is_free_within_the_budget_for_excess_and_never_for_whole() -> None:
    batch = batch_of()
    seen = (batch.pixels + 0.002 * torch.randn(batch.pixels.shape)).clamp(0, 1)
    excess = Constraint.of(batch, find_method("fawkes-style", 0.017))
    assert float(excess.penalty(seen)) == 0.0
    assert float(excess.penalty((seen + 0.2 * torch.randn(seen.shape)).clamp(0, 1))) > 0.0
    whole = Constraint.of(batch, find_method("lowkey-style", 0.017))
    assert float(whole.penalty(seen)) > 0.0
    assert math.isinf(find_method("pgd", 0.009).peak_dssim)


def test_a_mode_may_have_other_steps_and_each_surrogate_its_share_of_them() -> None:
    usual, longer = find_mode("mid"), find_mode("mid", steps=160)
    shares = (4, 2, 4, 1, 1)
    assert find_mode("mid", steps=60) == usual
    assert (usual.for_surrogates(shares).steps, longer.for_surrogates(shares).steps) == (60, 160)
    assert find_mode("mid", steps=30).for_surrogates(shares).steps == 30
    assert longer.for_surrogates((*shares, 3)).steps == 200
    assert (usual.apart, find_mode("mid", apart=True).apart) == (0.0, APART)


@pytest.mark.parametrize("steps", [1, 19, 1001, -5])
def test_too_few_and_too_many_steps_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match=f"expected 20 to 1000 steps, got {steps}"):
        find_mode("mid", steps=steps)
