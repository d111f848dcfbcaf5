import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.sampling import editing
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.settings import settle
from tests.sedd_jax.toy import NUM_CODES
from tests.sedd_jax.toy_run import make_run

SONG = np.arange(40, dtype=np.uint16)


def test_what_is_new_lies_where_it_was_asked_for():
    assert editing.continued(SONG, 20).stretches == [(40, 60)]
    assert editing.replaced(SONG, [(0, 3), (20, 31), (39, 40)]).stretches == [
        (0, 3), (20, 31), (39, 40),
    ]  # fmt: skip
    assert editing.thinned(SONG[:7], 3).stretches == [(1, 3), (4, 6)]


def test_a_share_is_kept_that_depends_on_seed_and_sample_alone():
    song = np.zeros(5000, np.uint16)
    edit = editing.varied(song, 0.4, 3, seed=1)
    np.testing.assert_allclose(edit.is_kept_NxT.mean(axis=1), 0.4, atol=0.03)
    assert (edit.is_kept_NxT[0] != edit.is_kept_NxT[1]).any()
    more = editing.varied(song, 0.4, 5, seed=1)
    np.testing.assert_array_equal(more.is_kept_NxT[:3], edit.is_kept_NxT)
    assert (editing.varied(song, 0.4, 3, seed=2).is_kept_NxT != edit.is_kept_NxT).any()


def test_seconds_become_the_tokens_that_they_reach_into():
    assert editing.token_stretches([(12.5, 18.0), (0, 0.01)], 40.0, 1000) == [(0, 1), (500, 720)]
    assert editing.token_stretches([(24.99, 25.0)], 40.0, 1000) == [(999, 1000)]
    assert editing.num_tokens(20, 75.0) == 1500


@pytest.mark.parametrize(
    ("stretches", "message"),
    [
        ([], "no stretch"),
        ([(3, 2)], "the stretch 3:2 s does not end after it begins"),
        ([(3, 3)], "does not end after it begins"),
        ([(-1, 2)], "begins before the song"),
        ([(20, 26)], r"the stretch 20:26 s ends after the song, 25.00 s"),
        ([(5, 9), (2, 6)], "the stretches 2:6 and 5:9 s overlap"),
        ([(float("nan"), 2)], "is no stretch"),
        ([(26, 25.0)], "from 26 s on begins after the song's end, 25.00 s"),
        ((1.0, 2.0), r"are pairs \(start, stop\) in seconds"),
        ([(1.0, 2.0, 3.0)], "are pairs"),
        ([(1.0, None)], "are pairs"),
    ],
)
def test_stretches_that_make_no_sense_are_refused(stretches, message):
    with pytest.raises(UserError, match=message):
        editing.token_stretches(stretches, 40.0, 1000)


def test_other_nonsense_is_refused():
    for make in (
        lambda: editing.continued(SONG, 0),
        lambda: editing.varied(SONG, 1.0, 1, 0),
        lambda: editing.thinned(SONG, 1),
        lambda: editing.thinned(SONG, 10**30),
        lambda: editing.num_tokens(0, 40.0),
        lambda: editing.num_tokens(float("inf"), 40.0),
        lambda: editing.num_tokens(1e300, 40.0),
        lambda: editing.num_tokens(1e308, 40.0),
    ):
        with pytest.raises(UserError):
            make()


def test_no_variations_and_more_than_there_are_tokens():
    assert editing.varied(SONG, 0.5, 0, 0).is_kept_NxT.shape == (0, 40)
    kept_T = editing.thinned(SONG, 10**6).is_kept_NxT[0]
    np.testing.assert_array_equal(np.flatnonzero(kept_T), [0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(length=10**12), "length is 1000000000000: it must be at most"),
        (dict(steps=10**30), "steps is 10+: it must be at most"),
        (dict(temperature=1e-300), r"temperature is 1e-300: it must be from 1e-30 to 1e\+30"),
        (dict(temperature=1e300), r"temperature is 1e\+300: it must be"),
    ],
)
def test_what_no_computer_could_do_is_refused(run, options, message):
    with pytest.raises(UserError, match=message):
        settle(run[0], seed=0, **options)


CODES = (np.arange(40) % NUM_CODES).astype(np.uint16)
EDITS = {
    "continued": lambda n: editing.continued(CODES, 20),
    "replaced": lambda n: editing.replaced(CODES, [(2, 5), (30, 36)]),
    "varied": lambda n: editing.varied(CODES, 0.5, n, seed=3),
    "thinned": lambda n: editing.thinned(CODES, 3),
}


@pytest.fixture(scope="module")
def run():
    return make_run()


def drawn(run, edit, num_samples, indices, batch_size=2) -> np.ndarray:
    definition, params = run
    sampling = settle(definition, seed=3, steps=4, length=len(edit.tokens_T))
    known = edit.known(num_samples, NUM_CODES)
    batches = generate(
        definition, params, sampling, np.asarray(indices), batch_size=batch_size, known=known
    )
    rows = {int(i): row for index_b, rows in batches for i, row in zip(index_b, rows, strict=True)}
    return np.stack([rows[i] for i in indices])


@pytest.mark.parametrize("name", EDITS)
def test_what_is_kept_comes_back_and_the_rest_is_drawn_for_each_sample(run, name):
    edit = EDITS[name](3)
    rows = drawn(run, edit, 3, [0, 1, 2])
    kept = np.broadcast_to(edit.is_kept_NxT, rows.shape)
    np.testing.assert_array_equal(rows[kept], np.tile(edit.tokens_T, (3, 1))[kept])
    assert rows.max() < NUM_CODES and len({row.tobytes() for row in rows}) == 3
    # A sample depends on neither its batch nor how many others there are.
    np.testing.assert_array_equal(drawn(run, EDITS[name](5), 5, [4, 2])[1], rows[2])
