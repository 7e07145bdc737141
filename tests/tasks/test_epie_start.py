"""What ePIE makes of a start that is nearly right."""

import numpy as np
import pytest

from gpu_kernels.epie_settings import BATCHES, SEQUENTIAL, Epie
from tasks.epie_start import going_on

PHASE = np.ones((4, 4), np.complex64), (0, 0)


def sizes(algorithm, start):
    ready = going_on(algorithm, start).for_electrons(1e5)
    return [ready.batch(round_, 400) for round_ in range(ready.iterations)]


def test_from_a_phase_all_positions_act_together_in_every_round():
    assert set(sizes(BATCHES, PHASE)) == {400}
    flat = sizes(BATCHES, None)
    assert flat[0] == 100
    assert flat[-1] == 400


@pytest.mark.parametrize("asked", [SEQUENTIAL, Epie(batch_size=64)])
def test_batches_that_were_asked_for_stay(asked):
    assert sizes(asked, PHASE) == sizes(asked, None)
