import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from glacierseg.inventory.paths import drain, walk

KNIGHT = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if np.gcd(i, j) == 1]


def graph_of(inside: NDArray[np.bool_], width_m: float, height_m: float) -> csr_matrix:
    """The graph that `walk` walks on, built pixel by pixel."""
    rows, columns = inside.shape
    left, right, weights = [], [], []
    for y, x in np.argwhere(inside):
        for i, j in KNIGHT:
            v, u = y + i, x + j
            if not (0 <= v < rows and 0 <= u < columns and inside[v, u]):
                continue
            between = []
            if abs(i) == 2:
                between = [(y + i // 2, x), (y + i // 2, u)]
            elif abs(j) == 2:
                between = [(y, x + j // 2), (v, x + j // 2)]
            if between and not any(inside[p] for p in between):
                continue
            left.append(y * columns + x)
            right.append(v * columns + u)
            weights.append(np.hypot(i * height_m, j * width_m))
    return csr_matrix((weights, (left, right)), shape=(inside.size, inside.size))


@given(st.integers(0, 10_000), st.floats(0.3, 1), st.sampled_from([(1.0, 1.0), (10.0, 20.0)]))
def test_distances_are_those_of_scipys_dijkstra(seed: int, share: float, size_m: tuple[float, float]) -> None:
    random = np.random.default_rng(seed)
    inside = random.random((9, 11)) < share
    seeds = np.where(random.random(inside.shape) < 0.05, random.integers(1, 4, inside.shape), 0).astype(
        np.int32
    )
    sources = np.flatnonzero(inside & (seeds > 0))
    distance_m, nearest = walk(inside, seeds, *size_m)
    expected = np.full(inside.size, np.inf)
    if len(sources):
        expected = dijkstra(graph_of(inside, *size_m), indices=sources).min(axis=0)
    np.testing.assert_allclose(distance_m.ravel(), np.where(inside.ravel(), expected, np.inf))
    assert ((nearest > 0) == np.isfinite(distance_m)).all()


def test_straight_ways_are_at_most_three_percent_too_long() -> None:
    inside = np.ones((101, 101), bool)
    seeds = np.zeros(inside.shape, np.int32)
    seeds[50, 50] = 1
    distance_m, _ = walk(inside, seeds, 1.0, 1.0)
    true_m = np.hypot(*(np.indices(inside.shape) - 50))
    excess = distance_m[true_m > 0] / true_m[true_m > 0]
    assert excess.min() > 1 - 1e-12
    assert 1.02 < excess.max() < 1.028


@given(st.integers(0, 10_000))
def test_water_never_climbs_above_the_lowest_way_out(seed: int) -> None:
    """Each pixel's outlet can be reached without passing above its filled level, found by brute force."""
    random = np.random.default_rng(seed)
    level_m = random.integers(0, 9, (8, 9)).astype(float)
    domain = random.random(level_m.shape) < 0.9
    outlet = drain(level_m, domain, 1.0, 1.0)
    assert ((outlet >= 0) == domain).all()
    near = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]

    def reached_from(start: tuple[int, int], ceiling: int) -> set[tuple[int, int]]:
        seen, stack = {start}, [start]
        while stack:
            y, x = stack.pop()
            for i, j in near:
                v, u = y + i, x + j
                inner = 0 <= v < domain.shape[0] and 0 <= u < domain.shape[1]
                if inner and (v, u) not in seen and domain[v, u] and level_m[v, u] <= ceiling:
                    seen.add((v, u))
                    stack.append((v, u))
        return seen

    padded = np.pad(domain, 1)
    rim = domain & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    exits = {tuple(p) for p in np.argwhere(rim).tolist()}
    for row, column in np.argwhere(domain).tolist():
        pixel = row, column
        end = tuple(int(k) for k in np.unravel_index(outlet[pixel], domain.shape))
        assert end in exits
        level = next(c for c in range(10) if level_m[pixel] <= c and reached_from(pixel, c) & exits)
        assert end in reached_from(pixel, level)


def test_water_runs_down_both_sides_of_a_ridge() -> None:
    level_m = -np.abs(np.arange(21) - 10.0)[None] * np.ones((15, 1))
    outlet = drain(level_m, np.ones_like(level_m, bool), 1.0, 1.0)
    columns = outlet % 21
    assert (columns[:, :10] == 0).all()
    assert (columns[:, 11:] == 20).all()
