"""The model of what an update costs on several processes."""

import math

import pytest

from gpt_numpy.bench.cost_model import (
    COUNTS,
    NETWORKS,
    Costs,
    Network,
    costs_of,
    each_for,
    efficiency,
    exchange_seconds,
    largest_useful,
    predictions,
    update_seconds,
)
from gpt_numpy.config.presets import PRESETS

SLOW, FAST = NETWORKS
GPT2 = Costs(2.0, 0.1, 124_000_000)


@pytest.mark.parametrize("processes, share", [(2, 1.0), (4, 1.5), (1024, 2 * 1023 / 1024)])
def test_gpt2_exchanges_nearly_a_gigabyte(processes, share):
    without = Network("", SLOW.bandwidth, 0.0)
    moved = exchange_seconds(GPT2, processes, without) * without.bandwidth
    assert moved == pytest.approx(share * 4 * GPT2.parameters, rel=1e-3)
    messages = (exchange_seconds(GPT2, processes, SLOW) - moved / SLOW.bandwidth) / SLOW.latency
    assert messages == pytest.approx({2: 2 * 237, 4: 6 * 119, 1024: 2 * 1023}[processes], abs=0.1)


def test_an_update_is_passes_exchange_and_a_share_of_the_optimizer():
    seconds = update_seconds(GPT2, 3, 4, SLOW)
    assert seconds == pytest.approx(6.0 + 0.025 + exchange_seconds(GPT2, 4, SLOW))
    assert efficiency(GPT2, 3, 4, SLOW) == pytest.approx(6.1 / seconds)


def test_the_largest_useful_number_is_the_last_of_which_each_is_half_as_fast():
    quick = Costs(0.002, 0.0, 800_000)
    count = largest_useful(quick, 1, SLOW)
    assert efficiency(quick, 1, count, SLOW) >= 0.5 > efficiency(quick, 1, 2 * count, SLOW)
    assert largest_useful(GPT2, 1, FAST) == COUNTS[-1] == 1024
    assert largest_useful(Costs(1e-6, 0.0, 10**9), 1, SLOW) == 1


@pytest.mark.parametrize("costs", [GPT2, Costs(0.01, 0.001, 800_000)])
@pytest.mark.parametrize("network", NETWORKS)
def test_as_many_micro_batches_as_are_needed_and_none_more(costs, network):
    each = each_for(0.9, costs, 1024, network)
    assert efficiency(costs, each, 1024, network) >= 0.9
    assert each == 1 or efficiency(costs, each - 1, 1024, network) < 0.9


def test_the_table_has_every_preset_over_both_networks():
    lines = list(predictions(1e11, 1e9))
    for preset in PRESETS:
        assert [line.split()[1] for line in lines if line.split()[0] == preset] == ["10", "100"]
    tiny = costs_of("tiny", 1e11, 1e9)
    assert math.isclose(tiny.optimizer, tiny.parameters / 1e9)
    assert costs_of("tiny-modern", 1e11, 1e9).times_sent == 4
