"""Mistakes of several processes: the order of sums, shares, segments, exchanges, who does what.

P: what is computed; PW: what is exchanged; PC: what it costs. Mistakes after which processes wait
for each other for ever are left out: the campaign against ranks (tests/durability) is for those.
"""

from tests.mutations.mistake import listed

_DIFFER = "processes:processes_that_differ_are_refused"
_EXCHANGE = "processes:every_element_is_exchanged[2]"

SUMS = listed(
    "parallel/tree_sum.py",
    (
        "P01", "the sums of processes are added one after the other",
        ("    distance = 1\n",
         "    for row in rows[1:]:\n        rows[0] += row\n    distance = len(rows)\n"),
        "tree:the_order_is_a_balanced_tree[4]",
    ),
    (
        "P02", "a sum that waits is added at the wrong level",
        ("level, number = level + 1, number >> 1", "number = number >> 1"),
        "tree:the_order_is_a_balanced_tree[8]",
    ),
    (
        "P03", "an odd factor is not added first",
        ("self._odd = odd_part(self._count)", "self._odd = 1"),
        "tree:an_odd_factor_is_added_first[1]",
    ),
    (
        "P04", "the next sum begins where the last one ended",
        ("            self._done = 0\n", ""), "tree:a_sum_begins_anew_after_the_last_vector",
    ),
)  # fmt: skip

SEGMENTS = listed(
    "parallel/segments.py",
    (
        "P05", "a segment begins in the middle of a chunk",
        ("chunks * part // parts * CHUNK", "size * part // parts"),
        "tree:segments_are_whole_chunks_and_cover_everything[2-81927]",
    ),
    (
        "P06", "a tensor that begins before a segment belongs to it from its beginning",
        ("first, last = max(begin, start),", "first, last = begin,"),
        "tree:pieces_of_tensors_cover_a_segment",
    ),
)  # fmt: skip

WORLD = listed(
    "parallel/world.py",
    (
        "PW1", "micro-batches are dealt out in turn, not in blocks",
        ("range(self.rank * each, (self.rank + 1) * each)", "range(self.rank, count, self.size)"),
        "same_bits:adamw",
    ),
    (
        "PW2", "every process computes the first share",
        ("range(self.rank * each, (self.rank + 1) * each)", "range(each)"), "same_bits:adamw",
    ),
    (
        "PW3", "the last round of an exchange is lost",
        ("range(0, longest, ROUND)", "range(0, longest - ROUND, ROUND)"),
        _EXCHANGE,
    ),
    (
        "PW4", "a process sends the beginning of the other's segment in every round",
        ("first = bounds[other] + offset", "first = bounds[other]"), _EXCHANGE,
    ),
    (
        "PW5", "a process leaves out its own part of the sum",
        ("            received[self.rank, : here.size] = here\n",
         "            received[self.rank, : here.size] = 0\n"), _EXCHANGE,
    ),
    (
        "PW6", "the pieces of a moment are put together at the wrong place",
        ("flat[first - place[0] : last - place[0]]", "flat[: last - first]"), "same_bits:adamw",
    ),
    (
        "PW7", "a number that is not divisible is rounded down",
        ("if count % self.size:", "if count < self.size:"),
        "processes:bad_input_is_reported_once[words0-use a multiple of 2]",
    ),
    (
        "PW8", "the error of another process is not raised",
        ("if theirs != found[0]:", "if False:"),
        f"{_DIFFER}[words1-other1-the settings of process 1]",
    ),
)  # fmt: skip

OPTIMIZER = (
    *listed(
        "training/optimizer.py",
        (
            "P07", "a process takes the moments of another's segment",
            ("[start - begin : stop - begin]", "[: stop - start]"),
            "no_mpi:a_divided_optimizer_holds_its_segment",
        ),
        (
            "P08", "every process clips by the norm of its own part",
            ("sum_in_order(self.world.numbers(sums))", "sum_in_order(sums)"), "same_bits:adamw",
        ),
        (
            "P09", "a process keeps its updated parameters to itself",
            ("        self.world.hand_on(self.model.params.flat)\n", ""), "same_bits:adamw",
        ),
        (
            "P10", "the stretches of a segment begin where its first tensor does",
            ("max(params.starts[name], first)", "params.starts[name]"), "same_bits:adamw",
        ),
    ),
    *listed(
        "training/muon.py",
        (
            "P11", "the matrices that a process updated stay with it",
            ("            self.world.broadcast(self.model.params[name], owner)\n",
             "            pass\n"), "same_bits:muon",
        ),
        (
            "P12", "matrices are made orthogonal from the gradient of one process",
            ("            self.world.hand_on(self.model.grads.flat)\n", "            pass\n"),
            "same_bits:muon",
        ),
    ),
)  # fmt: skip

TRAINING = (
    *listed(
        "training/loop.py",
        (
            "P13", "the gradient is divided once more by the number of processes",
            ("divisor=divisor)", "divisor=divisor * self.world.size)"),
            "same_bits:adamw",
        ),
        (
            "P14", "every process counts its own targets alone",
            ("counts = self.world.numbers(", "counts = ("), "same_bits:adamw",
        ),
        (
            "P15", "the printed loss is that of process 0",
            ("sum_in_order(self.world.numbers(np.array(losses, np.float64)))",
             "sum_in_order(np.array(losses, np.float64))"), "same_bits:adamw",
        ),
    ),
    *listed(
        "training/evaluation.py",
        (
            "P16", "the losses of an evaluation are added in the order of processes",
            ("result[order] = everyone", "result[...] = everyone"),
            "no_mpi:losses_of_all_processes_come_in_the_order_of_the_batches",
        ),
    ),
    *listed(
        "cli/processes.py",
        (
            "P17", "processes do not compare their data",
            ('                "the data": dataset.fingerprint,\n', ""),
            f"{_DIFFER}[words0-other0-the data of process 1]",
        ),
        (
            "P21", "it is not said that other numbers have other bits",
            ("if world.size & (world.size - 1):", "if False:"),
            "no_mpi:it_is_said_when_the_bits_are_not_those_of_one_process",
        ),
        (
            "P22", "threads are counted in one process alone",
            ("if here * threads > cores:", "if threads > cores:"),
            "no_mpi:it_is_said_when_the_bits_are_not_those_of_one_process",
        ),
    ),
    *listed(
        "cli/commands/train.py",
        (
            "P18", "all processes lock the folder of a run, so all but one fail",
            ("not config.eval_only and world.first:", "not config.eval_only:"), "same_bits:adamw",
        ),
    ),
    *listed(
        "base/mpiexec.py",
        (
            "P19", "without mpi4py every process says so",
            ("        if rank:\n            sys.exit(2)  # process 0 says why\n", ""),
            "no_mpi:without_mpi4py_nobody_trains[1-variables0]",
        ),
        (
            "P20", "every process has as many threads as there are cores",
            ("physical_cores() // sharing()", "physical_cores()"), _EXCHANGE,
        ),
    ),
)  # fmt: skip

COSTS = listed(
    "bench/cost_model.py",
    (
        "PC1", "a process sends itself its own segment, too",
        ("costs.times_sent * others * segment", "costs.times_sent * processes * segment"),
        "costs:gpt2_exchanges_nearly_a_gigabyte[2-1.0]",
    ),
    (
        "PC2", "one message a process, however long a segment is",
        ("2 * others * -(-segment // ROUND)", "2 * others"),
        "costs:gpt2_exchanges_nearly_a_gigabyte[2-1.0]",
    ),
    (
        "PC3", "the optimizer's work is not divided",
        ("costs.optimizer / processes\n    return", "costs.optimizer\n    return"),
        "costs:an_update_is_passes_exchange_and_a_share_of_the_optimizer",
    ),
    (
        "PC4", "one micro-batch too few for a good efficiency",
        ("max(1, -int(-needed // 1))", "max(1, int(needed))"),
        "costs:as_many_micro_batches_as_are_needed_and_none_more",
    ),
)  # fmt: skip

MISTAKES = [*SUMS, *SEGMENTS, *WORLD, *OPTIMIZER, *TRAINING, *COSTS]
