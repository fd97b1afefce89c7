"""Mistakes in the optimizers: what the settings decide, Muon, its kernel, the stretches of AdamW.

MU: the optimizers and the schedule; MK: their kernels.
"""

from tests.mutations.mistake import listed

_CALLS = "loop:a_run_is_these_calls"
_CHANGED = "folder:the_settings_of_the_optimizer_can_be_changed_on_resuming"
_LARGE = "durable:arrays_larger_than_a_block_come_back_whole"

OF_AN_OPTIMIZER = (
    *listed(
        "training/optimizers.py",
        (
            "T35", "the settings' grad_clip is ignored",
            ("    optimizer.grad_clip = config.grad_clip\n", ""), _CALLS, _CHANGED,
        ),
        (
            "T52", "the settings' beta1 is ignored",
            ("(config.beta1, config.beta2)", "(optimizer.betas[0], config.beta2)"), _CHANGED,
        ),
        (
            "T53", "the settings' beta2 is ignored",
            ("(config.beta1, config.beta2)", "(config.beta1, optimizer.betas[1])"), _CHANGED,
        ),
        (
            "T55", "the settings' weight_decay is ignored",
            ("    optimizer.weight_decay = config.weight_decay\n", ""), _CHANGED,
        ),
        (
            "MU1", "the settings' muon_momentum is ignored",
            ("        optimizer.muon_momentum = config.muon_momentum\n", "        pass\n"),
            "muon:a_run_takes_its_settings_and_resuming_new_ones",
        ),
        (
            "MU2", "Muon's learning rate follows no schedule",
            ("muon_learning_rate_at(iteration, config)", "config.muon_learning_rate"),
            "muon:a_linear_schedule_and_muons_follows_it",
        ),
        (
            "MU3", "every run has AdamW",
            ("KINDS[config.optimizer](model, world=world)", "AdamW(model, world=world)"),
            "muon:a_run_takes_its_settings_and_resuming_new_ones",
        ),
    ),
    *listed(
        "training/schedule.py",
        (
            "MU4", "a linear decay is a cosine",
            ('if config.lr_schedule == "linear":', "if False:"),
            "muon:a_linear_schedule_and_muons_follows_it",
        ),
        (
            "MU5", "a linear decay goes up",
            ("(1 - share) * (peak - low)", "share * (peak - low)"),
            "muon:a_linear_schedule_and_muons_follows_it",
        ),
        (
            "MU6", "Muon's rate falls to min_lr itself",
            ("peak, peak * share)", "peak, _lowest(config))"),
            "muon:a_linear_schedule_and_muons_follows_it",
        ),
    ),
    *listed(
        "training/optimizer.py",
        *(
            (
                f"T{90 + k}", f"a checkpoint loses {name} of the optimizer",
                (f'        "{name}",\n', ""), _LARGE,
            )
            for k, name in enumerate(("learning_rate", "weight_decay", "grad_clip"))
        ),
        (
            "T77", "the norm of an update forgets weight decay",
            ("        old /= 1 - self.learning_rate * self._decay(name)\n", ""),
            "monitor:norms_of_gradients_and_updates_are_those_of_the_step",
        ),
        (
            "T78", "the norm of an update uses no bias correction",
            ("(1 - beta1**self.steps)", "1"),
            "monitor:norms_of_gradients_and_updates_are_those_of_the_step",
        ),
        (
            "MU7", "stretches are joined over a gap",
            ("(last.start + last.size, last.decays) == (start, new.decays)",
             "last.decays == new.decays"),
            "muon:each_parameter_is_updated_once_and_by_its_own_optimizer",
        ),
        (
            "MU8", "stretches are joined whether they decay or not",
            ("(last.start + last.size, last.decays) == (start, new.decays)",
             "last.start + last.size == start"),
            "loop:matrices_decay_and_vectors_do_not", "adamw",
        ),
    ),
)  # fmt: skip

MUON = (
    *listed(
        "reference/muon.py",
        (
            "MU10", "a coefficient of the polynomial is wrong in its third digit",
            ("-4.7750", "-4.7650"), "golden_muon",
        ),
        (
            "MU11", "four iterations instead of five",
            ("iterations=5", "iterations=4"), "golden_muon",
            "muon_reference:only_the_singular_values_change_and_by_the_polynomial",
        ),
        (
            "MU12", "the mean without Nesterov's look ahead",
            ("orthogonal(beta * momentum + (1 - beta) * g)", "orthogonal(momentum)"),
            "golden_muon", "muon_reference:an_update_is_these_formulas",
        ),
        (
            "MU13", "the scale of a wide weight is that of a tall one",
            ("max(1.0, n_out / n_in)", "max(1.0, n_in / n_out)"),
            "golden_muon", "muon_reference:an_update_is_these_formulas",
        ),
        (
            "MU14", "weight decay is not scaled by the learning rate",
            ("learning_rate * (weight_decay * param + scale * step)",
             "weight_decay * param + learning_rate * scale * step"),
            "golden_muon", "muon_reference:an_update_is_these_formulas",
        ),
        (
            "MU15", "a tall matrix is not transposed back",
            ("    return wide if x.shape[0] <= x.shape[1] else wide.T",
             "    return wide.reshape(x.shape)"),
            "muon_reference:only_the_singular_values_change_and_by_the_polynomial",
        ),
        (
            "MU16", "a part of an array begins at its first column",
            ("return whole[:, self.first : self.first + self.columns]",
             "return whole[:, : self.columns]"),
            "muon_reference:parts_of_an_array_are_updated_where_they_lie", "golden_muon",
        ),
        (
            "MU17", "the mean is of gradients before clipping",
            ("    g = grad * grad_scale\n", "    g = grad\n"), "golden_muon",
        ),
    ),
    *listed(
        "training/muon.py",
        (
            "MU18", "queries, keys and values are one matrix",
            ("if not name.endswith((ATTENTION, CROSS)):", "if True:"), "golden_muon",
            "muon:each_parameter_is_updated_once_and_by_its_own_optimizer",
        ),
        (
            "MU19", "the position embedding is Muon's",
            ('within.startswith("h.") and len(shape) == 2',
             'within.startswith(("h.", "wpe")) and len(shape) == 2'),
            "muon:each_parameter_is_updated_once_and_by_its_own_optimizer",
        ),
        (
            "MU20", "weight decay is AdamW's alone",
            ("self.muon_momentum, self.weight_decay)", "self.muon_momentum, 0.0)"), "golden_muon",
        ),
        (
            "MU21", "the momentum may be 1",
            ("lambda x: 0 <= x < 1", "lambda x: 0 <= x <= 1"),
            "muon:a_wrong_setting_is_refused_and_changes_nothing",
        ),
        (
            "MU22", "a prediction moves the running mean",
            ("self.momentum[name].copy()", "self.momentum[name]"),
            "inspect:test_the_update_is_that_of_the_next_step[0.0-Muon]",
        ),
        (
            "MU23", "the change of a parameter is that of its first part",
            ("[self._places[name]].sum(axis=0)", "[self._places[name][0]]"),
            "monitor:norms_of_gradients_and_updates_are_those_of_the_step",
        ),
    ),
    *listed(
        "training/run_folder.py",
        (
            "MU24", "a run may change its optimizer",
            (', "optimizer": run.optimizer.KIND}', "}"), "muon:a_run_keeps_its_optimizer",
        ),
    ),
    *listed(
        "interop/nanogpt_training.py",
        (
            "MU25", "nanoGPT's file gets moments of a part of the parameters",
            ("if optimizer is not None and optimizer.KIND != AdamW.KIND:", "if False:"),
            "muon:nanogpts_file_has_the_model_without_moments",
        ),
    ),
)  # fmt: skip

KERNELS = (
    *listed(
        "kernels/engine/pool.py",
        (
            "MK10", "a large call runs on one thread, too",
            ("launch(self._launches, alone=self._alone)", "launch(self._launches, alone=True)"),
            "one_thread",
        ),
        (
            "MK11", "a small call wakes all threads",
            ("tuple(kwargs.values()))) <= SMALL", "tuple(kwargs.values()))) <= 0"), "one_thread",
        ),
    ),
    *listed(
        "kernels/adamw.py",
        (
            "MK0", "AdamW: the moments of all stretches begin where the parameters do",
            ("stretches[i + 1] + at", "stretches[i] + at"), "optimizer",
        ),
        (
            "MK1", "AdamW: all stretches decay",
            ("decay if decays else 0.0", "decay"), "optimizer",
        ),
    ),
    *listed(
        "kernels/products/alone.py",
        (
            "MK2", "Muon: what is missing of a symmetric matrix stays missing",
            ("for c in range(r0, r):", "for c in range(r0, r - 1):"), "muon_kernel:odd",
        ),
        (
            "MK3", "Muon: a later block of the inner dimension replaces the sum so far",
            ("True, j0, k0 > 0, edge)", "True, j0, False, edge)"), "muon_kernel:blocks",
        ),
        (
            "MK4", "Muon: the lower half ends a tile too early",
            ("-(-(i + height - column) // width)", "(i + height - column) // width"),
            "muon_kernel:odd",
        ),
        (
            "MK5", "Muon: the last rows of a tall matrix are not transposed",
            ("across if r < down else 0, columns", "across, columns"), "muon_kernel:odd",
        ),
    ),
    *listed(
        "kernels/muon.py",
        (
            "MK6", "Muon: the parts of an array have the width of the array",
            ("math.sqrt(max(1.0, columns / rows))", "math.sqrt(max(1.0, width / rows))"),
            "muon_kernel:odd",
        ),
        (
            "MK8", "Muon: a wide matrix is multiplied by the last factor alone",
            ("symmetric(factor, total, rows, total,", "symmetric(factor, total, rows, factor,"),
            "muon_kernel:odd",
        ),
        (
            "MK9", "Muon: a wide matrix's next product has only one factor",
            ("        if late and not last:\n"
             "            symmetric(into, gram_matrix, rows, gram_matrix, panels, edge)\n",
             "        if late and not last:\n"), "muon_kernel:odd",
        ),
        (
            "MK7", "Muon: the identity is missing from the polynomial's first element",
            ("        s[r] += a\n", "        s[r] += a if r else 0\n"), "muon_kernel:tiny",
        ),
    ),
)  # fmt: skip

MISTAKES = [*OF_AN_OPTIMIZER, *MUON, *KERNELS]
