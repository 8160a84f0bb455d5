"""The predictor's parts, each against a closed form, scikit-learn or brute force."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct

from convnas import strategies
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.strategies import predictor
from convnas.strategies.candidates import best_by_sum, candidates
from convnas.strategies.features import Features
from convnas.strategies.gaussian_process import FARTHEST, Evidence, Kernel, Posterior, surprise
from convnas.strategies.gaussian_process import learned as learn

Table = FeasibleSet[dict[str, Any]]
LABELS = ["plain", "wide(n=2)", "wide(n=4)", "wide(n=8)"]


def table(positions: int = 4, limit: int | None = None) -> Table:
    names = [f"op{i}" for i in range(positions)]
    cost = {name: [0, 1, 3, 4] for name in names}
    return FeasibleSet.from_table(dict.fromkeys(names, LABELS), cost, limit=limit)


def drawn(n: int, size: int, rng: np.random.Generator) -> Any:
    return rng.permutation(np.array(list(itertools.product(range(4), repeat=n))))[:size]


def a_kernel(features: Features, rng: np.random.Generator) -> Kernel:
    relevance = features.medians * np.exp(rng.normal(0, 0.5, len(features.medians)))
    return Kernel(relevance, 0.3, features.middle, own=0.05, seed=0.2)


def read(features: Features, points: Any, rng: np.random.Generator) -> tuple[Evidence, Any, Any]:
    """Evidence with their numbers of times, and the single readings with their points."""
    times = rng.integers(1, 4, len(points))
    single = [rng.normal(size=k) for k in times]
    within = sum(float(((each - each.mean()) ** 2).sum()) for each in single)
    means = np.array([each.mean() for each in single])
    known = Evidence(features(points), means, times.astype(float), within)
    return known, np.concatenate(single), np.repeat(np.arange(len(points)), times)


def test_columns_are_labels_words_ordered_numbers_counts_and_the_log_cost() -> None:
    features = Features(table(2))
    columns = features(np.array([[0, 1], [2, 3]]))
    # A factor: four labels, two words, one number; so twice, then their counts, then the cost.
    factors = [[1, 0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1, -0.5]]
    np.testing.assert_allclose(columns[0, :14], np.concatenate(factors))
    np.testing.assert_allclose(columns[0, 14:21], np.sum(factors, axis=0))
    others = [[0, 0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1, 0.5]]
    np.testing.assert_allclose(columns[1, 14:21], np.sum(others, axis=0))
    assert columns.shape == (2, 22)
    assert columns[1, 21] > columns[0, 21]


def test_effects_are_what_changing_an_option_changes_in_the_sum() -> None:
    features, rng = Features(table(3)), np.random.default_rng(0)
    slopes = rng.normal(size=len(features.medians))
    slopes[-1] = 0.0  # the cost, which is no part of it
    effects = features.effects(slopes)
    points = drawn(3, 20, rng)
    sums = [sum(effects[i][option] for i, option in enumerate(row)) for row in points]
    np.testing.assert_allclose(features(points) @ slopes, sums, atol=1e-12)


def test_mean_and_deviation_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    features = Features(table())
    kernel = a_kernel(features, rng)
    points, new = drawn(4, 60, rng)[:40], drawn(4, 100, rng)[60:]
    times = rng.integers(1, 4, 40).astype(float)
    known = Evidence(features(points), rng.normal(3, 2, 40), times)
    posterior = Posterior(kernel, known)

    def embedded(columns: Any) -> Any:
        return (columns - kernel.middle) * np.sqrt(kernel.relevance)

    other = GaussianProcessRegressor(
        RBF(1.0, "fixed") + kernel.additive * DotProduct(0.0, "fixed"),
        alpha=kernel.own + kernel.seed / times,
        optimizer=None,
        normalize_y=True,
    )
    other.fit(embedded(known.columns), known.means)
    mean, deviation = other.predict(embedded(features(new)), return_std=True)
    alike = kernel(features(new), known.columns)
    np.testing.assert_allclose(posterior.mean(alike), mean, rtol=1e-6)
    found = posterior.deviation(features(new), alike)
    np.testing.assert_allclose(found, deviation * np.sqrt(posterior.variance), rtol=1e-6)
    # What is being trained counts as known, whatever it will tell.
    pending = features(drawn(4, 200, rng)[150:153])
    other.alpha = np.append(other.alpha, [kernel.own + kernel.seed] * 3)
    columns = np.concatenate([known.columns, pending])
    other.fit(embedded(columns), np.append(known.means, [9.0, -9.0, 0.0]))
    scale = known.means.std() / np.append(known.means, [9.0, -9.0, 0.0]).std()
    _, deviation = other.predict(embedded(features(new)), return_std=True)
    found = posterior.deviation(features(new), alike, pending)
    np.testing.assert_allclose(found, deviation * scale * np.sqrt(posterior.variance), rtol=1e-6)


def test_surprise_is_the_density_of_all_single_readings() -> None:
    """Evidence of one point share all but the seed noise; scipy's density of all of them, the
    variance at its best value, differs by a constant whatever the kernel."""
    rng = np.random.default_rng(2)
    features = Features(table())
    points = drawn(4, 12, rng)
    known, single, of = read(features, points, rng)
    differences = []
    for _ in range(4):
        kernel = a_kernel(features, rng)
        columns = known.columns[of]
        covariance = kernel(columns, columns) + kernel.own * (of[:, None] == of)
        covariance = covariance + kernel.seed * np.eye(len(of))
        variance = single @ np.linalg.solve(covariance, single) / len(single)
        density = multivariate_normal(cov=variance * covariance).logpdf(single)
        differences.append(surprise(kernel, known)[0] + density)
    np.testing.assert_allclose(differences, differences[0], rtol=1e-8)


def test_surprise_has_the_right_slope_and_stays_finite_as_far_as_it_may_go() -> None:
    rng = np.random.default_rng(3)
    features = Features(table())
    known, _, _ = read(features, drawn(4, 30, rng), rng)
    middle = np.array([*features.medians, 0.3, 0.05, 0.1])

    def at(logs: Any) -> tuple[float, Any]:
        values = middle * np.exp(logs)
        kernel = Kernel(values[:-3], *[values[-3], features.middle], values[-2], values[-1])
        return surprise(kernel, known)

    logs = rng.normal(0, 0.5, len(middle))
    value, slope = at(logs)
    for i, step in enumerate(1e-6 * np.eye(len(middle))):
        assert slope[i] == pytest.approx((at(logs + step)[0] - value) / 1e-6, rel=1e-3, abs=1e-4)
    for corner in itertools.product((-FARTHEST, FARTHEST), repeat=4):
        far = np.concatenate([np.full(len(middle) - 3, corner[0]), corner[1:]])
        value, slope = at(far)
        assert np.isfinite(slope).all()
        assert not np.isnan(value)


def test_the_kernel_learns_which_position_matters_and_how_noisy_seeds_are() -> None:
    rng = np.random.default_rng(4)
    features = Features(table())
    points = drawn(4, 120, rng)
    truth = np.array([0.0, 3.0, -2.0, 1.0])[points[:, 1]]
    for noise in (0.1, 1.0):
        readings = truth[:, None] + rng.normal(0, noise, (120, 2))
        within = float(((readings - readings.mean(axis=1, keepdims=True)) ** 2).sum())
        known = Evidence(features(points), readings.mean(axis=1), np.full(120, 2.0), within)
        kernel = learn(features, known)
        per = kernel.relevance[: features.starts[-1]].reshape(4, -1).sum(axis=1)
        assert per.argmax() == 1
        assert per[1] > 1.5 * np.delete(per, 1).max()
        # The noise is in units of the posterior's variance of standardised scores.
        variance = Posterior(kernel, known).variance * known.means.var()
        assert kernel.seed * variance == pytest.approx(noise**2, rel=0.5)


def test_the_true_scores_of_known_points_are_the_joint_normal_given_their_readings() -> None:
    rng = np.random.default_rng(5)
    features = Features(table())
    known, _, _ = read(features, drawn(4, 9, rng), rng)
    kernel = a_kernel(features, rng)
    posterior = Posterior(kernel, known)
    true = kernel(known.columns, known.columns) + kernel.own * np.eye(9)
    shown = np.linalg.inv(true + np.diag(kernel.seed / known.times))
    y = (known.means - known.means.mean()) / known.means.std()
    mean, covariance = posterior.of_known()
    expected = known.means.mean() + known.means.std() * (true @ shown @ y)
    np.testing.assert_allclose(mean, expected)
    left = true - true @ shown @ true
    np.testing.assert_allclose(
        covariance, left * posterior.variance * known.means.var(), atol=1e-10
    )


def test_the_best_sums_are_those_of_brute_force() -> None:
    feasible, rng = table(5, 9), np.random.default_rng(6)
    effects = [rng.normal(size=4) for _ in range(5)]
    inside = np.array(list(feasible.indices_in_order()))
    sums = np.sum([effects[i][inside[:, i]] for i in range(5)], axis=0)
    found = best_by_sum(feasible, effects, 40)
    expected = inside[np.argsort(-sums)[:40]]
    assert [tuple(row) for row in found.tolist()] == [tuple(row) for row in expected.tolist()]


def test_in_a_set_of_4_to_the_20_the_best_of_a_promise_with_couplings_is_found() -> None:
    feasible, rng = table(20, 40), np.random.default_rng(7)
    effects = [rng.normal(size=4) for _ in range(20)]

    def promise(points: Any) -> Any:
        sums = np.sum([effects[i][points[:, i]] for i in range(20)], axis=0)
        return sums + 0.2 * (points[:, 1:] == points[:, :-1]).sum(axis=1)

    begun = feasible.sample_indices(rng, 20)
    points, scores = candidates(feasible, effects, begun, promise, rng)
    assert feasible.feasible(points).all()
    alone = promise(best_by_sum(feasible, effects, 1)).max()
    sampled = promise(feasible.sample_indices(rng, 20_000)).max()
    assert scores.max() >= alone
    assert scores.max() > sampled + 1


def proposed(feasible: Table, told: list[tuple[tuple[int, ...], float]], **settings: Any) -> Any:
    """What a study that was told of these points proposes next."""
    sampler = strategies.create("predictor", feasible, seed=0, explore=0.0, startup=2, **settings)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    labels = {k: CategoricalDistribution(v) for k, v in feasible.distributions.items()}
    for row, value in told:
        params = feasible.chain.params(row)
        study.add_trial(create_trial(params=params, distributions=labels, value=value))
    return feasible.indices(feasible.suggest(study.ask()))


NAMES = [f"op{i}" for i in range(5)]
FLAT = FeasibleSet.from_table(
    {name: ["a", "b", "c", "d"] for name in NAMES}, {name: [0, 0, 0, 0] for name in NAMES}
)
TOLD = [
    (row, float(sum(row)) + 0.3 * (i % 2))
    for i, row in enumerate(itertools.product((0, 1), repeat=5))
    if sum(row) not in (4, 5)
]


def test_without_optimism_it_goes_where_the_results_point() -> None:
    """Everything known is of labels a and b, the more b the better; c and d nobody has seen."""
    row = proposed(FLAT, TOLD, optimism=0.0)
    assert set(row) <= {0, 1}
    assert sum(row) >= 4


def test_with_all_optimism_it_goes_where_nobody_has_been() -> None:
    row = proposed(FLAT, TOLD, optimism=1e6)
    assert set(row) <= {2, 3}


def test_the_usual_optimism_is_two() -> None:
    assert predictor.PredictorStrategy(FLAT).optimism == 2.0


def test_trials_asked_for_between_two_results_share_one_fit_and_keep_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits = []

    class Counted(Posterior):
        def __init__(self, kernel: Kernel, known: Evidence) -> None:
            fits.append(len(known))
            super().__init__(kernel, known)

    monkeypatch.setattr(predictor, "Posterior", Counted)
    sampler = strategies.create("predictor", FLAT, seed=0, explore=0.0, startup=4, optimism=100.0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(8):
        trial = study.ask()
        study.tell(trial, float(sum(FLAT.indices(FLAT.suggest(trial)))))
    fits.clear()
    rows = np.array([FLAT.indices(FLAT.suggest(study.ask())) for _ in range(4)])
    assert len(fits) == 1
    # Nearly all optimism: each goes far from those that are in training already.
    same = (rows[:, None, :] == rows).sum(axis=2)[np.triu_indices(4, 1)]
    assert same.max() <= 2


def test_a_warped_score_keeps_the_order_and_tells_most_of_the_best() -> None:
    scores = np.array([10.0, 9.0, 8.0, 5.0, -100.0])
    warped = predictor.warped(scores)
    assert (np.diff(warped) < 0).all()
    # The median gap is 2: -log(0.3 + gap / 2).
    np.testing.assert_allclose(warped, -np.log(0.3 + np.array([0, 1, 2, 5, 110]) / 2))


def test_what_the_kernel_was_for_earlier_results_is_not_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 60 results each relearning is at least 6 results after the one before (growth 1.12):
    at most one proposal in 6 asks the kernel for all that is known, the others for the new one."""
    feasible = table()
    asked: list[int] = []
    real = Kernel.__call__

    def counted(self: Kernel, left: Any, right: Any) -> Any:
        if len(left) == 4**4:
            asked.append(len(right))
        return real(self, left, right)

    monkeypatch.setattr(Kernel, "__call__", counted)
    sampler = strategies.create("predictor", feasible, seed=0, explore=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for n in range(80):
        if n == 62:
            asked.clear()
        point = feasible.indices(feasible.suggest(study.ask()))
        study.tell(n, float(sum(point)))
    assert len(asked) >= 18
    assert asked.count(1) >= len(asked) * 5 / 6 - 1
