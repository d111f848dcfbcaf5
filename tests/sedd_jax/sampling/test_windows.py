"""Pieces longer than a window: what is drawn where, and what that does to their law."""

import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.known import make_known
from sedd_jax.sampling.settings import settle
from sedd_jax.sampling.windows import num_windows, plan
from tests.sedd_jax.chain import FIRST_4, Chain, MOVE_4x4
from tests.sedd_jax.toy import NUM_CODES
from tests.sedd_jax.toy_run import make_run


def planned(is_known_T, window=8, overlap=4) -> list[tuple[int, list[int]]]:
    """(start, places in the piece that are taken) of each window."""
    return [
        (start, (start + np.flatnonzero(taken)).tolist())
        for start, taken in plan(np.array(is_known_T, bool), window, overlap)
    ]


def test_a_new_piece_goes_on_window_by_window_and_ends_where_it_is_to():
    assert planned([0] * 14) == [(0, [*range(8)]), (4, [*range(8, 12)]), (6, [12, 13])]
    assert planned([0] * 14, overlap=0) == [(0, [*range(8)]), (6, [*range(8, 14)])]
    assert planned([0] * 5) == [(0, [*range(5)])]
    assert planned([1] * 9) == []
    for length in range(1, 40):
        for overlap in range(8):
            assert len(planned([0] * length, overlap=overlap)) == num_windows(length, 8, overlap)


def test_a_gap_is_drawn_between_what_is_known_at_both_sides():
    gap = np.ones(20, bool)
    gap[9:11] = False
    assert planned(gap) == [(6, [9, 10])]
    assert planned(gap, overlap=1) == [(8, [9, 10])]
    gap[12:15] = False  # its end is beyond the window of the first
    assert planned(gap) == [(6, [9, 10]), (10, [12, 13, 14])]
    gap[9:15] = False
    assert planned(gap) == [(8, [*range(9, 15)])]  # a run that just fits is drawn at once
    gap[15] = False
    assert planned(gap) == [(5, [*range(9, 13)]), (11, [13, 14, 15])]


@pytest.mark.parametrize("seed", range(5))
def test_every_unknown_position_is_taken_once_and_no_known_one(seed):
    rng = np.random.default_rng(seed)
    is_known_T = rng.random(rng.integers(1, 60)) < rng.random()
    taken = [place for _, places in planned(is_known_T) for place in places]
    assert sorted(taken) == np.flatnonzero(~is_known_T).tolist()


@pytest.fixture(scope="module")
def single():
    return make_run()


def samples(run, params, sampling, indices=range(5), known=None, **kwargs) -> np.ndarray:
    tokens_NxT = np.full((5, sampling.length), NUM_CODES)
    for index_b, tokens_bxT in generate(
        run, params, sampling, np.array(indices), known=known, **{"batch_size": 4} | kwargs
    ):
        tokens_NxT[index_b] = tokens_bxT
    return tokens_NxT


@pytest.fixture(scope="module")
def long_pieces(single):
    return samples(*single, settle(single[0], seed=3, steps=4, length=37))


def test_a_long_piece_begins_as_a_short_one_and_goes_on(single, long_pieces):
    run, params = single
    short = samples(run, params, settle(run, seed=3, steps=4))
    np.testing.assert_array_equal(long_pieces[:, :16], short)
    assert long_pieces.max() < NUM_CODES
    # The window after it knows its second half, and has draws of its own.
    known = make_known(np.pad(short[:, 8:], [(0, 0), (0, 8)]), np.arange(16) < 8, 5, NUM_CODES)
    given = samples(run, params, settle(run, seed=3, steps=4), known=known)
    assert (long_pieces[:, 8:24] != given).any()
    np.testing.assert_array_equal(long_pieces[:, 8:16], given[:, :8])


def test_a_long_piece_is_the_same_in_any_company_and_counts_its_steps(single, long_pieces):
    sampling, done = settle(single[0], seed=3, steps=4, length=37), []
    some = samples(*single, sampling, [4, 1], batch_size=64, on_steps=done.append)
    np.testing.assert_array_equal(some[[4, 1]], long_pieces[[4, 1]])
    assert sum(done) == 2 * sampling.evaluations == 2 * 4 * 4
    run, params = make_run(8, mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
    np.testing.assert_array_equal(samples(run, params, sampling), long_pieces)


def test_a_long_piece_depends_on_what_is_known_of_itself_alone(single):
    run, params = single
    sampling = settle(run, seed=3, steps=4, length=37)
    tokens_NxT = np.random.default_rng(0).integers(0, NUM_CODES, (5, 37))
    is_known_NxT = np.zeros((5, 37), bool)
    is_known_NxT[1, :20], is_known_NxT[2, 5:30], is_known_NxT[3] = True, True, True
    known, done = make_known(tokens_NxT, is_known_NxT, 5, NUM_CODES), []
    together = samples(run, params, sampling, known=known, on_steps=done.append)
    np.testing.assert_array_equal(together[is_known_NxT], tokens_NxT[is_known_NxT])
    assert sum(done) == 5 * sampling.evaluations  # though each has windows of its own
    alone = samples(run, params, sampling, [2], known=known)
    np.testing.assert_array_equal(alone[2], together[2])


def test_an_overlap_that_does_not_fit_is_refused(single):
    with pytest.raises(UserError, match="must be from 0 to 15"):
        settle(single[0], seed=0, length=40, overlap=16)
    with pytest.raises(UserError, match="longer than the 16 tokens"):
        settle(single[0], seed=0, length=16, overlap=4)


@pytest.mark.parametrize(("overlap", "is_seamless"), [(8, True), (0, False)])
def test_no_seam_is_seen_in_pairs_of_a_chain(overlap, is_seamless):
    run, params = make_run(graph__num_codes=4)
    chain = Chain.of(run)
    num, sampling = 1500, settle(chain, seed=0, steps=256, length=64, overlap=overlap)
    [(_, x_NxT)] = generate(chain, params, sampling, np.arange(num), batch_size=num)
    seams = np.arange(16, 64, 16 - overlap)

    def distance(places, lag):
        """The largest deviation of pairs (x[place - lag], x[place]), in units of its error."""
        pair_NxP = 4 * x_NxT[:, places - lag].astype(int) + x_NxT[:, places]
        # Neighbouring pairs depend on each other: errors are those between pieces.
        share_Nx16 = (pair_NxP[..., None] == np.arange(16)).mean(1)
        true_16 = (FIRST_4[:, None] * np.linalg.matrix_power(MOVE_4x4, lag)).ravel()
        error_16 = share_Nx16.std(0) / np.sqrt(num)
        return np.abs((share_Nx16.mean(0) - true_16) / error_16).max()

    for lag in (1, 2):
        across = np.unique(seams[:, None] + np.arange(lag))
        inside = np.setdiff1d(np.arange(lag, 64), across)
        assert distance(inside, lag) < 4
        assert (distance(across, lag) < 4) == is_seamless
