"""The checks that a mutant meets: each a few tests of the suite, chosen to take seconds.

A check is written `name` or `name:layer`; the matrix has a column for each name.
"""

SEEDS = (0, 1, 2)
MODELS = (
    "recipe",
    "H = T = D",
    "T = 1",
    "as GPT-2 starts",
    "untied, no biases",
    "Llama",
    "modern",
)
CASES = ("A", "B", "C", "D")

# What stands for {layer}, {seed}, ... is filled in; one node for each combination.
CHECKS: dict[str, tuple[str, dict[str, tuple[object, ...]]]] = {
    # One pair of layer functions, every element of every input, by the complex step.
    "pair": (
        "reference/test_layers.py::test_backward_is_the_exact_derivative_of_forward[{layer}-{seed}]",
        {"seed": SEEDS},
    ),
    # Every parameter of five small models, two micro-batches, by the complex step.
    "model": (
        "model/test_gradients.py::test_every_parameter_gradient_is_exact[{model}-0]",
        {"model": MODELS},
    ),
    # All gradients of four models as PyTorch computed them.
    "torch": (
        "model/test_golden.py::test_every_parameter_gradient_equals_pytorch[reference-{case}]",
        {"case": CASES},
    ),
    # The same of three models of what came after GPT-2.
    "modern": (
        "model/test_golden_modern.py::test_logits_loss_and_every_gradient_equal_pytorch"
        "[reference-{case}]",
        {"case": ("L", "N", "M")},
    ),
    # The encoder-decoder: any test of its file.
    "encoder_decoder": ("model/test_transformer.py::test_{layer}", {}),
    "crossed": ("kernels/test_cross_attention.py::test_{layer}", {}),
    "starts": ("model/test_gradients.py::test_projections_and_head_can_start_at_0", {}),
    "sites": ("model/test_stages.py::test_every_place_has_its_own_site_of_dropout", {}),
    "adamw": ("training/test_loop.py::test_adamw_equals_the_algorithm_in_plain_python", {}),
    "steps": (
        "model/test_golden.py::test_100_training_steps_equal_pytorch[reference-{case}]",
        {"case": ("A", "C")},
    ),
    "schedule": ("training/test_loop.py::test_the_learning_rate_follows_nanogpts_schedule", {}),
    "resume": (
        "training/test_loop.py::test_an_interrupted_run_goes_on_to_the_bit[{forwards}]",
        {"forwards": (4, 16, 37)},
    ),
    "undisturbed": (
        "training/test_loop.py::test_evaluation_does_not_change_what_is_trained_on",
        {},
    ),
    "crashes": ("durability/test_durability.py::test_a_small_campaign_misses_nothing[crashes]", {}),
    "damage": ("durability/test_durability.py::test_a_small_campaign_misses_nothing[damage]", {}),
    "flushed": (
        "training/test_checkpoint.py::test_the_file_is_on_disk_before_it_gets_its_name",
        {},
    ),
    "edges": ("reference/test_edges.py::{layer}", {}),
    # One kernel and its twin in `reference/`: a small example, one of many tasks, float32.
    "kernel": (
        "kernels/test_kernels.py::test_kernels_agree_with_the_reference[{layer}-float64]",
        {},
    ),
    "large": ("kernels/test_kernels.py::test_one_task_does_not_do_all[{layer}]", {}),
    "single": (
        "kernels/test_kernels.py::test_kernels_agree_with_the_reference[{layer}-float32]",
        {},
    ),
    "products": ("kernels/test_kernels.py::test_products_larger_than_one_block[float64]", {}),
    "room": (
        "kernels/test_kernels.py::test_the_head_works_with_a_part_of_the_logits_at_a_time[{room}-float64]",
        {"room": (1, 3)},
    ),
    "parts": (
        "kernels/test_kernels.py::test_few_long_heads_are_cut_into_parts[{rate}-float64]",
        {"rate": ("0.0", "0.3")},
    ),
    # Each alone notices what it is for.
    "pages": ("kernels/test_pages.py::test_no_{layer}", {}),
    "crowded": (
        "kernels/test_kernels.py::test_an_operand_packed_whole_leaves_room_for_the_copied_rows",
        {},
    ),
    "next_to_1": ("kernels/test_kernels.py::test_a_rate_next_to_1_drops_everything", {}),
    "large_logits": (
        "kernels/test_kernels.py::test_gradients_at_large_logits_do_not_feel_the_rounding_of_lse",
        {},
    ),
    "one_thread": (
        "model/test_calls.py::test_one_thread_computes_a_small_batch_and_all_a_large_one",
        {},
    ),
    "muon": ("training/test_muon.py::test_{layer}", {}),
    "muon_reference": ("reference/test_muon.py::test_{layer}", {}),
    "golden_muon": (
        "model/test_golden_muon.py::test_50_steps_of_muon_equal_pytorch[{case}-reference]",
        {"case": ("A", "C")},
    ),
    "muon_kernel": (
        "kernels/test_muon.py::test_the_kernel_agrees_with_the_reference[{layer}-float64]",
        {},
    ),
    "optimizer": ("kernels/test_kernels.py::test_optimizer_kernels[float64]", {}),
    "decode": (
        "generation/test_kv_cache.py::test_the_kernel_agrees_with_its_twin_and_writes_nothing_else"
        "[float64-changes{shape}]",
        {"shape": (0, 2, 4, 5, 7)},
    ),
    # The reference of a decoding step against the forward pass of the whole text.
    "prefix": (
        "generation/test_kv_cache.py::test_every_prefix_gives_the_logits_of_the_whole_text"
        "[reference-float64-changes{shape}]",
        {"shape": (0, 2, 3, 4, 5)},
    ),
    "decode16": (
        "generation/test_bfloat16.py::test_the_kernel_agrees_with_its_twin_and_writes_nothing_else"
        "[changes{shape}]",
        {"shape": (0, 2)},
    ),
    "prefix16": (
        "generation/test_bfloat16.py::test_every_prefix_gives_the_logits_of_the_whole_text"
        "[reference{shape}]",
        {"shape": (0, 2)},
    ),
    "model16": ("model/test_bfloat16.py::test_{layer}", {}),
    "cache16": ("generation/test_bfloat16.py::test_{layer}", {}),
    "repeat": (
        "model/test_calls.py::test_prepared_calls_compute_the_same_bits[keep{case}]",
        {"case": (0, 1, 2)},
    ),
    "key": ("model/test_calls.py::test_the_key_of_dropout_is_read_anew_in_every_pass", {}),
    # The bfloat16 products, bit for bit.
    "pairs": ("kernels/test_bfloat16.py::test_small_products_and_odd_inner_dimensions", {}),
    "many_pairs": (
        "kernels/test_bfloat16.py::test_large_products_on_any_number_of_threads[1]",
        {},
    ),
    "widens": (
        "kernels/test_halves.py::test_attention_reads_16_bits_as_the_numbers_that_they_are",
        {},
    ),
    "halves": ("kernels/test_bfloat16.py::test_stored_operands_and_results", {}),
    "finished": ("kernels/test_bfloat16.py::test_epilogues_follow_the_product[shape1]", {}),
    "rounding": (
        "kernels/test_bfloat16.py::test_all_ways_of_rounding_are_that_of_the_reference",
        {},
    ),
    "stored": ("kernels/test_bfloat16.py::test_denormal_results_are_stored_as_0", {}),
    "emulated": ("kernels/test_bfloat16.py::test_the_emulated_tile_computes_the_same_bits", {}),
    "in_float64": (
        "kernels/test_bfloat16.py::test_where_no_control_word_helps_float64_computes_the_same_bits",
        {},
    ),
    "chosen": (
        "kernels/test_bfloat16.py::test_the_instruction_is_chosen_on_amds_processors_alone_and_amx_"
        "where_it_works",
        {},
    ),
    "obstacles": (
        "kernels/test_bfloat16.py::test_what_stands_in_the_way_of_amx_is_named",
        {},
    ),
    "recorded_tile": (
        "training/test_checkpoint.py::test_a_resume_names_another_way_to_multiply_in_bfloat16",
        {},
    ),
    "selfcheck_bits": (
        "gradients/test_selfcheck.py::test_a_bit_of_a_bfloat16_product_that_is_another_is_a_miss",
        {},
    ),
    "only_linux": ("kernels/test_bfloat16.py::test_only_linux_on_x86_is_asked_for_tiles", {}),
    "trial": (
        "kernels/test_bfloat16.py::test_the_trial_of_amx_knows_the_order_of_the_reference",
        {},
    ),
    "refused": (
        "kernels/test_bfloat16.py::test_amx_is_refused_where_a_bit_of_the_trial_is_another",
        {},
    ),
    "bfloat16": ("reference/test_bfloat16.py::{layer}", {}),
    # What stays float32 in a model of bfloat16 products, and what rounding costs.
    "mixed": ("model/test_mixed_precision.py::test_{layer}", {}),
    "in_bfloat16": ("model/test_bfloat16.py::test_{layer}", {}),
    "rounded": ("gradients/test_rounding.py::test_{layer}", {}),
    "hash": ("kernels/test_kernels.py::test_a_mask_goes_on_beyond_2_to_the_32nd_index", {}),
    "crew": (
        "kernels/test_crew.py::test_{case}",
        {
            "case": (
                "all_threads_while_nobody_else_computes",
                "one_thread_while_others_hold_the_processors_and_all_soon_after",
                "somebody_who_reads_along_is_no_reason_for_fewer_threads",
            )
        },
    ),
    # Outside of the layers: a file of tests, of which the check names one.
    "batches": ("data/test_batches.py::test_{layer}", {}),
    "dataset": ("data/test_dataset.py::test_{layer}", {}),
    "bins": ("data/test_nanogpt_bins.py::test_{layer}", {}),
    "prepare": ("data/test_prepare.py::test_{layer}", {}),
    "texts": ("data/test_texts.py::test_{layer}", {}),
    "tokenizers": ("data/test_tokenizers.py::test_{layer}", {}),
    "durability": ("durability/test_durability.py::test_{layer}", {}),
    "generate": ("generation/test_generate.py::test_{layer}", {}),
    "cache": ("generation/test_kv_cache.py::test_{layer}", {}),
    "interop": ("interop/test_interop.py::test_{layer}", {}),
    "llama": ("interop/test_llama.py::test_{layer}", {}),
    "formats": ("interop/test_formats.py::test_{layer}", {}),
    "hostile": ("hostile/test_hostile.py::test_a_hostile_file_is_refused[{layer}]", {}),
    "downloads": ("files/test_downloads.py::test_{layer}", {}),
    "pickles": ("files/test_pickles.py::test_{layer}", {}),
    "reading": ("files/test_reading.py::test_{layer}", {}),
    "config": ("config/test_config.py::test_{layer}", {}),
    "main": ("cli/test_main.py::test_{layer}", {}),
    "settings": ("cli/test_settings.py::test_{layer}", {}),
    "options": ("cli/test_options.py::test_{layer}", {}),
    "gradcheck": ("gradients/test_model_check.py::test_{layer}", {}),
    "diagnosis": ("gradients/test_diagnosis.py::test_{layer}", {}),
    "measured": ("gradients/test_measured.py::test_{layer}", {}),
    # What is shown: a test of tests/inspection.
    "page": ("inspection/test_page.py::{layer}", {}),
    "computes": ("inspection/test_live.py::test_{layer}", {}),
    "notebook": ("inspection/test_repr_html.py::test_{layer}", {}),
    "trace": ("inspection/test_trace.py::{layer}", {}),
    "inspect": ("inspection/test_inspect.py::{layer}", {}),
    "hooks": ("inspection/test_hooks.py::{layer}", {}),
    "curves": ("inspection/test_curves.py::{layer}", {}),
    # Any test of a file, by its name: training and what it keeps.
    "loop": ("training/test_loop.py::test_{layer}", {}),
    "folder": ("training/test_run_folder.py::test_{layer}", {}),
    "log": ("training/test_log.py::test_{layer}", {}),
    "monitor": ("training/test_monitor.py::test_{layer}", {}),
    "checkpoint": ("training/test_checkpoint.py::test_{layer}", {}),
    "durable": ("files/test_durable.py::test_{layer}", {}),
    "signals": ("base/test_signals.py::test_{layer}", {}),
    # What everything stands on, and the ends of a command.
    "cache_folder": ("base/test_cache_folder.py::test_{layer}", {}),
    "values": ("base/test_checks.py::test_{layer}", {}),
    "copies": ("base/test_copies.py::test_{layer}", {}),
    "limits": ("base/test_limits.py::test_{layer}", {}),
    "progress": ("base/test_progress.py::test_{layer}", {}),
    "commands": ("cli/test_commands.py::test_{layer}", {}),
    "ending": ("cli/test_ending.py::test_{layer}", {}),
    "inputs": ("cli/test_inputs.py::test_{layer}", {}),
    "nanogpt_files": ("cli/test_nanogpt_files.py::test_{layer}", {}),
    "nanogpt_runs": ("interop/test_nanogpt_training.py::test_{layer}", {}),
    # Several processes; these need mpi4py and mpiexec.
    "tree": ("parallel/test_tree_sum.py::test_{layer}", {}),
    "processes": ("parallel/test_processes.py::test_{layer}", {}),
    "same_bits": (
        "parallel/test_processes.py::test_the_bits_are_those_of_one_process[{layer}-2]",
        {},
    ),
    "no_mpi": ("parallel/test_one_process.py::test_{layer}", {}),
    "costs": ("bench/test_cost_model.py::test_{layer}", {}),
    # Pairs, their training and their decoding.
    "translating": ("generation/test_translating.py::test_{layer}", {}),
    "pair_tasks": ("data/test_pair_tasks.py::test_{layer}", {}),
    "pair_files": ("data/test_pair_files.py::test_{layer}", {}),
    "verses": ("data/test_verses.py::test_{layer}", {}),
    "pair_training": ("training/test_pair_training.py::test_{layer}", {}),
    "pair_commands": ("cli/test_pair_commands.py::test_{layer}", {}),
    "pair_trace": ("inspection/test_trace_of_pairs.py::test_{layer}", {}),
    "alignment": ("inspection/test_alignment.py::test_{layer}", {}),
    "rules": ("kernels/test_rules.py::test_kernels_keep_the_rules[{layer}.py]", {}),
}


def column(check: str) -> str:
    """The name of a check without the layer that it is for."""
    return check.split(":")[0]


def nodes(check: str) -> list[str]:
    """The tests of a check, as pytest names them."""
    name, _, layer = check.partition(":")
    pattern, choices = CHECKS[name]
    found = [pattern.replace("{layer}", layer)]
    for key, values in choices.items():
        found = [node.replace(f"{{{key}}}", str(value)) for node in found for value in values]
    return [f"tests/{node}" for node in found]
